"""The config tree: every refusal by the field that it names, and the way to JSON and back."""

import json
import math

import pytest

from mgr_jax import config as config_lib
from mgr_jax import validation
from mgr_jax.errors import UserError

CHOICES = {
    "data.name": config_lib.DATA_NAMES,
    "data.protocol": config_lib.PROTOCOLS,
    "features.kind": config_lib.FEATURE_KINDS,
    "features.colormap": config_lib.COLORMAPS,
    "features.time_axis": config_lib.TIME_AXES,
    "features.normalize": config_lib.NORMALIZERS,
    "model.name": config_lib.MODEL_NAMES,
    "model.scan_axis": ("frequency", "time"),
    "model.cell": ("simple", "gru", "lstm"),
    "model.dtype": ("float32", "bfloat16"),
    "model.kernel": ("rbf", "linear"),
    "optim.name": config_lib.OPTIMIZERS,
    "optim.schedule": config_lib.SCHEDULES,
}
POSITIVE = [
    "data.clip_seconds",
    "data.num_folds",
    "data.num_grooves",
    "data.clips_per_groove",
    "features.sample_rate",
    "features.n_fft",
    "features.hop_length",
    "features.n_mels",
    "features.n_mfcc",
    "features.top_db",
    "features.image_height",
    "features.image_width",
    "model.width",
    "model.num_modules",
    "model.width_multiplier",
    "model.hidden_size",
    "model.num_layers",
    "model.num_components",
    "optim.learning_rate",
    "optim.plateau_patience",
    "train.num_epochs",
    "train.batch_size",
]
NOT_NEGATIVE = [
    "data.fold",
    "data.seed",
    "data.clip_samples",
    "data.window_seconds",
    "data.num_workers",
    "features.fmin",
    "features.fmax",
    "optim.weight_decay",
    "optim.early_stop_patience",
    "optim.early_stop_min_delta",
    "train.seed",
]


def _config(**fields):
    """The default config with dotted fields replaced: `_config(**{"data.seed": 3})`."""
    config = config_lib.Config()
    for name, value in fields.items():
        section, field = name.split(".")
        setattr(getattr(config, section), field, value)
    return config


def _refused(**fields):
    with pytest.raises(UserError) as caught:
        validation.validate(_config(**fields))
    message = str(caught.value)
    assert "\n" not in message
    return message


def _refused_json(values):
    with pytest.raises(UserError) as caught:
        config_lib.from_json(values)
    return str(caught.value)


def test_validate_accepts_the_defaults():
    config = config_lib.Config()
    assert validation.validate(config) is config
    assert config.data.name == "band"


@pytest.mark.parametrize("field", CHOICES)
def test_validate_lists_what_a_field_may_be(field):
    message = _refused(**{field: "nonsense"})
    assert message.startswith(f"{field} is 'nonsense'; it must be one of ")
    assert all(choice in message for choice in CHOICES[field])


@pytest.mark.parametrize("field", POSITIVE)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_validate_refuses_what_is_not_positive(field, value):
    message = _refused(**{field: value})
    assert message == f"{field} is {value}; it must be greater than 0 and finite"


@pytest.mark.parametrize("field", NOT_NEGATIVE)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_validate_refuses_what_is_negative(field, value):
    message = _refused(**{field: value})
    assert message == f"{field} is {value}; it must be 0 or more and finite"


@pytest.mark.parametrize("field", ["model.batch_norm_momentum", "optim.plateau_factor"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, math.nan])
def test_validate_refuses_what_is_no_fraction(field, value):
    assert _refused(**{field: value}) == f"{field} is {value}; it must lie between 0 and 1"


@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_validate_refuses_a_dropout_of_one(value):
    assert _refused(**{"model.dropout": value}).startswith(f"model.dropout is {value}; ")
    validation.validate(_config(**{"model.dropout": 0.0}))


@pytest.mark.parametrize("value", [(), (-1.0,), (1.0, math.inf), (math.nan,)])
@pytest.mark.parametrize("field", ["model.l2", "model.c", "model.gamma"])
def test_validate_refuses_penalties_that_cannot_be(field, value):
    assert _refused(**{field: value}).startswith(f"{field} is {value}; give one or more ")


def test_validate_takes_no_penalty_for_the_logistic_regression_alone():
    validation.validate(_config(**{"model.l2": (0.0,)}))
    assert _refused(**{"model.c": (0.0,)}).startswith("model.c is (0.0,)")


@pytest.mark.parametrize("field", ["data.seed", "train.seed"])
def test_validate_refuses_seeds_that_jax_would_cut(field):
    assert _refused(**{field: 2**32}) == f"{field} is 4294967296; it must be below 2**32"
    validation.validate(_config(**{field: 2**32 - 1}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data.clip_seconds", 1e-9),
        ("data.clip_seconds", 1e308),
        ("data.clip_samples", 2**31),
        ("data.window_seconds", 1e-9),
    ],
)
def test_validate_refuses_lengths_of_no_sample_or_of_too_many(field, value):
    assert _refused(**{field: value}).startswith(f"{field} gives ")


def test_validate_refuses_a_window_longer_than_the_clip():
    message = _refused(**{"data.clip_seconds": 5.0, "data.window_seconds": 5.001})
    assert message == (
        "data.window_seconds is 5.001 s, longer than a clip of 5 s; shorten the window"
    )
    validation.validate(_config(**{"data.clip_seconds": 5.0, "data.window_seconds": 5.0}))
    # The exact length counts, not the nominal one.
    message = _refused(**{"data.clip_samples": 22050, "data.window_seconds": 2.0})
    assert "longer than a clip of 1 s" in message


def test_validate_refuses_bands_that_cannot_be():
    assert _refused(**{"features.fmin": 500.0, "features.fmax": 500.0}) == (
        "features.fmin is 500.0; it must be below features.fmax"
    )
    assert _refused(**{"features.fmax": 11026.0}).startswith(
        "features.fmax is 11026.0 Hz; it must not exceed half of features.sample_rate (11025 Hz)"
    )
    validation.validate(_config(**{"features.fmax": 11025.0}))
    assert _refused(**{"features.n_mfcc": 129}) == (
        "features.n_mfcc is 129; it must not exceed features.n_mels (128)"
    )


@pytest.mark.parametrize(
    ("model", "kind", "fits"),
    [
        ("bbnn", "logmel", True),
        ("bbnn", "mel_image", True),
        ("bbnn", "mfcc_stats", False),
        ("cnn", "mel_image", True),
        ("rnn", "mfcc", True),
        ("rnn", "mel_image", False),
        ("logistic", "mfcc_stats", True),
        ("logistic", "logmel", False),
        ("svm", "flattened", True),
        ("svm", "mel_image", False),
    ],
)
def test_validate_pairs_front_ends_with_systems(model, kind, fits):
    fields = {"model.name": model, "features.kind": kind}
    if fits:
        validation.validate(_config(**fields))
    else:
        message = _refused(**fields)
        assert message.startswith(f"features.kind is {kind!r}, which model.name {model!r} cannot")


def test_validate_refuses_a_grey_flattened_image():
    fields = {"model.name": "svm", "features.kind": "flattened", "features.colormap": "grey"}
    assert _refused(**fields).startswith("features.colormap is 'grey'")


@pytest.mark.parametrize("name", ["gtzan", "folder", "manifest"])
def test_validate_asks_for_the_root(name):
    assert _refused(**{"data.name": name}) == f"data.root is empty; data.name {name!r} needs a path"
    validation.validate(_config(**{"data.name": name, "data.root": "somewhere"}))


def test_clip_length_counts_samples():
    config = _config(**{"data.clip_seconds": 30.0})
    assert config_lib.clip_length(config) == 661500
    config = _config(**{"data.clip_seconds": 1.0, "data.clip_samples": 661794})
    assert config_lib.clip_length(config) == 661794
    config = _config(**{"data.clip_seconds": 0.1, "features.sample_rate": 11025})
    assert config_lib.clip_length(config) == 1102


def test_window_length_is_the_clip_unless_it_is_given():
    assert config_lib.window_length(_config(**{"data.clip_samples": 661794})) == 661794
    config = _config(**{"data.window_seconds": 3.0, "features.sample_rate": 16000})
    assert config_lib.window_length(config) == 48000


def test_from_json_gives_back_what_to_json_took():
    config = _config(
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
    assert config == _config(**{"data.clip_seconds": 3.0, "model.l2": (1.0,)})
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


def test_validate_refuses_an_unknown_parallelism():
    assert _refused(**{"train.parallelism": "nonsense"}).startswith("train.parallelism is ")


def test_differences_names_the_fields():
    left = config_lib.to_json(_config(**{"data.seed": 1, "model.l2": (1.0,)}))
    right = config_lib.to_json(_config())
    assert config_lib.differences(left, left) == []
    assert config_lib.differences(left, right) == ["data.seed", "model.l2"]
    del right["train"]["seed"]
    assert config_lib.differences(left, right) == ["data.seed", "model.l2", "train.seed"]
