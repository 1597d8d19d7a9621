"""Every config file gives a valid config of the system that it is named after."""

import pytest

from experiments.configs import (
    bbnn,
    cnn,
    cnn_lstm,
    embeddings,
    logistic,
    musicnn,
    quickstart,
    rnn,
    svm,
)
from mgr_jax import config as config_lib
from mgr_jax import named_configs
from mgr_jax.errors import UserError
from mgr_jax.training import network

WITH_FAST = (cnn, cnn_lstm, rnn)


@pytest.mark.parametrize(
    ("module", "system"),
    [
        (quickstart, "bbnn"),
        (bbnn, "bbnn"),
        (cnn, "cnn"),
        (cnn_lstm, "cnn_lstm"),
        (rnn, "rnn"),
        (svm, "svm"),
        (logistic, "logistic"),
    ],
)
def test_get_config_is_valid_and_of_its_system(module, system):
    config = module.get_config()
    assert config_lib.validate(config).model.name == system
    assert config_lib.from_json(config_lib.to_json(config)) == config


@pytest.mark.parametrize("module", [*WITH_FAST, svm])
def test_get_config_refuses_an_unknown_variant(module):
    with pytest.raises(UserError, match="variant 'quick' is unknown"):
        module.get_config("quick")


def test_get_config_of_embeddings_needs_a_file():
    for name in ("logistic", "svm", "lda"):
        config = embeddings.get_config(name)
        config.data.root = "file.npz"
        assert config_lib.validate(config).model.name == name
    with pytest.raises(UserError, match="variant 'knn' is unknown"):
        embeddings.get_config("knn")


def test_get_config_of_musicnn_is_a_classical_system():
    for name in ("logistic", "svm", "lda"):
        assert config_lib.validate(musicnn.get_config(name)).model.name == name
    with pytest.raises(UserError, match="variant 'cnn' is unknown; use logistic, svm or lda"):
        musicnn.get_config("cnn")


def test_named_configs_are_those_of_the_files():
    assert named_configs.get("logistic") == logistic.get_config()
    assert named_configs.get("svm") == svm.get_config()
    for name in ("musicnn", "musicnn:svm", "musicnn:lda"):
        assert named_configs.get(name) == musicnn.get_config(*name.split(":")[1:])


@pytest.mark.parametrize("module", WITH_FAST)
def test_get_config_fast_is_valid(module):
    config_lib.validate(module.get_config("fast"))


@pytest.mark.parametrize(
    ("module", "shape", "parameters"),
    [
        (bbnn, "(None, 647, 128, 32)", 185_642),
        (cnn, "(None, 480, 640, 32)", 15_762_770),
        (cnn_lstm, "(None, 480, 640, 32)", 27_013_436),
    ],
)
def test_get_config_gives_the_network_of_the_source(module, shape, parameters):
    text = network.describe(module.get_config(), num_classes=10)
    assert shape in text.splitlines()[2]
    assert f"Trainable params: {parameters:,}" in text


def test_get_config_gives_the_rnn_2584_frames_of_14_mfccs():
    config = rnn.get_config()
    assert config_lib.window_length(config) == 661_500
    # 14 x 128 + 128 x 128 + 128 for the cell: the sequence has 14 values a frame.
    assert f"{14 * 128 + 128 * 128 + 128:,}" in network.describe(config, num_classes=10)
