"""Every config file gives a valid config of the system that it is named after."""

import pathlib
import re

import pytest

from experiments.configs import (
    bbnn,
    cnn,
    cnn_lstm,
    embeddings,
    gtzan_arrays,
    gtzan_facts,
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


@pytest.mark.parametrize("module", [*WITH_FAST, svm, bbnn])
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


def test_get_config_of_tuned_networks_on_arrays_is_valid():
    for name in ("bbnn", "cnn", "cnn_lstm", "rnn"):
        config = gtzan_arrays.get_config(f"{name}_tuned")
        config.data.root = "file.npz"
        assert config_lib.validate(config).model.name == name
    with pytest.raises(UserError, match="'lda_tuned' is unknown"):
        gtzan_arrays.get_config("lda_tuned")


def test_get_config_small_differs_from_bbnn_in_the_training_alone():
    config, full = bbnn.get_config("small"), bbnn.get_config()
    full.model.batch_norm_momentum = 0.9
    assert config_lib.validate(config).model == full.model
    assert config.features == full.features and config.data.window_seconds == 3.0


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
    ("config", "shape", "parameters"),
    [
        (bbnn.get_config(), "(None, 647, 128, 32)", 185_642),
        (bbnn.get_config("image"), "(None, 288, 432, 32)", 186_218),
        (cnn.get_config(), "(None, 480, 640, 32)", 15_762_770),
        (cnn_lstm.get_config(), "(None, 480, 640, 32)", 27_013_436),
        # The LSTM reads 57 x 64 values for 77 x 64; scale and bias of each channel after a pooling.
        (
            cnn_lstm.get_config("trained"),
            "(None, 480, 640, 32)",
            27_013_436 - 20 * 64 * 4000 + 2 * (32 + 64 + 64),
        ),
    ],
    ids=["bbnn", "bbnn_image", "cnn", "cnn_lstm", "cnn_lstm_trained"],
)
def test_get_config_gives_the_network_of_the_source(config, shape, parameters):
    text = network.describe(config, num_classes=10)
    assert shape in text.splitlines()[2]
    assert f"Trainable params: {parameters:,}" in text


def test_get_config_gives_the_rnn_2584_frames_of_14_mfccs():
    config = rnn.get_config()
    assert config_lib.window_length(config) == 661_500
    # 14 x 128 + 128 x 128 + 128 for the cell: the sequence has 14 values a frame.
    assert f"{14 * 128 + 128 * 128 + 128:,}" in network.describe(config, num_classes=10)


RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "results"
FIGURE = re.compile(r"\d+\.\d %\s\[\d+\.\d, \d+\.\d\]|\d+\.\d s an epoch")


@pytest.mark.parametrize(
    ("module", "page", "row"),
    [
        (quickstart, "systems.md", "BBNN"),
        (cnn, "systems.md", "CNN"),
        (cnn_lstm, "systems.md", "CNN-LSTM"),
        (rnn, "systems.md", "RNN (GRU)"),
        (svm, "systems.md", "SVM on PCA"),
        (logistic, "systems.md", "logistic regression"),
        (musicnn, "transfer.md", ""),
        (gtzan_arrays, "gtzan_arrays.md", ""),
    ],
)
def test_docstrings_state_the_measured_results(module, page, row):
    lines = (RESULTS / page).read_text(encoding="utf-8").splitlines()
    measured = "\n".join(line for line in lines if line.startswith(f"| {row}{' |' * bool(row)}"))
    figures = [" ".join(figure.split()) for figure in FIGURE.findall(module.__doc__)]
    assert figures
    for figure in figures:
        assert figure.removesuffix(" an epoch") in measured


def test_docstrings_without_a_results_page_state_no_results():
    for module in (bbnn, embeddings, gtzan_facts):
        assert not FIGURE.search(module.__doc__ or "")
