"""The config tree: the way to JSON and back, lengths in samples, differences."""

import json

import pytest

from mgr_jax import config as config_lib
from mgr_jax.errors import UserError
from tests.config_with import config_with


def _refused_json(values):
    with pytest.raises(UserError) as caught:
        config_lib.from_json(values)
    return str(caught.value)


def test_clip_length_counts_samples():
    config = config_with(**{"data.clip_seconds": 30.0})
    assert config_lib.clip_length(config) == 661500
    config = config_with(**{"data.clip_seconds": 1.0, "data.clip_samples": 661794})
    assert config_lib.clip_length(config) == 661794
    config = config_with(**{"data.clip_seconds": 0.1, "features.sample_rate": 11025})
    assert config_lib.clip_length(config) == 1102


def test_window_length_is_the_clip_unless_it_is_given():
    assert config_lib.window_length(config_with(**{"data.clip_samples": 661794})) == 661794
    config = config_with(**{"data.window_seconds": 3.0, "features.sample_rate": 16000})
    assert config_lib.window_length(config) == 48000


def test_from_json_gives_back_what_to_json_took():
    config = config_with(
        **{
            "data.root": "/ä b",
            "data.clip_seconds": 0.1,
            "model.l2": (0.5, 1.0),
            "model.bidirectional": True,
            "train.seed": 2**32 - 1,
        }
    )
    values = json.loads(json.dumps(config_lib.to_json(config)))
    assert config_lib.from_json(values) == config
    assert isinstance(config_lib.from_json(values).model.l2, tuple)


def test_from_json_fills_in_defaults_and_takes_whole_numbers_for_real_ones():
    config = config_lib.from_json({"data": {"clip_seconds": 3}, "model": {"l2": [1]}})
    assert config == config_with(**{"data.clip_seconds": 3.0, "model.l2": (1.0,)})
    assert type(config.data.clip_seconds) is float
    assert type(config.model.l2[0]) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "config field config must be a mapping"),
        ({"data": None}, "config field data must be a mapping"),
        ({"trian": {}}, "config field trian is unknown; remove it or correct its name"),
        ({"data": {"rot": ""}}, "config field data.rot is unknown; "),
        ({"data": {"seed": 1.5}}, "config field data.seed is 1.5; it must be int"),
        ({"data": {"seed": True}}, "config field data.seed is True; it must be int"),
        ({"data": {"seed": "1"}}, "config field data.seed is '1'; it must be int"),
        ({"data": {"seed": 2**63}}, f"config field data.seed is {2**63}; it must be int"),
        ({"data": {"root": None}}, "config field data.root is None; it must be str"),
        ({"data": {"clip_seconds": True}}, "config field data.clip_seconds is True; it must be"),
        ({"model": {"bidirectional": 1}}, "config field model.bidirectional is 1; it must be bool"),
        ({"optim": {"learning_rate": 10**400}}, "config field optim.learning_rate is 1000"),
        ({"model": {"l2": 1.0}}, "config field model.l2 must be a list of numbers"),
        ({"model": {"l2": ["1"]}}, "config field model.l2 must be a list of numbers"),
        ({"model": {"l2": [True]}}, "config field model.l2 must be a list of numbers"),
    ],
)
def test_from_json_refuses_unknown_fields_and_wrong_types(values, message):
    assert _refused_json(values).startswith(message)


def test_differences_names_the_fields():
    left = config_lib.to_json(config_with(**{"data.seed": 1, "model.l2": (1.0,)}))
    right = config_lib.to_json(config_with())
    assert config_lib.differences(left, left) == []
    assert config_lib.differences(left, right) == ["data.seed", "model.l2"]
    del right["train"]["seed"]
    assert config_lib.differences(left, right) == ["data.seed", "model.l2", "train.seed"]
