"""The values of a config: every refusal by the field that it names."""

import math

import pytest

from mgr_jax import config as config_lib
from mgr_jax import validation
from mgr_jax.errors import UserError
from tests.config_with import config_with

CHOICES = {
    "data.name": config_lib.DATA_NAMES,
    "data.subset": config_lib.FMA_SUBSETS,
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
    "train.parallelism": config_lib.PARALLELISMS,
}
POSITIVE = [
    "data.clip_seconds",
    "data.read_threads",
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
    "optim.step_epochs",
    "optim.accumulate_steps",
    "optim.plateau_patience",
    "train.num_epochs",
    "train.batch_size",
]
NOT_NEGATIVE = [
    "data.fold",
    "data.seed",
    "data.repeat",
    "data.clip_samples",
    "data.window_seconds",
    "data.num_workers",
    "data.read_processes",
    "features.fmin",
    "features.fmax",
    "optim.warmup_epochs",
    "optim.weight_decay",
    "optim.clip_norm",
    "optim.early_stop_patience",
    "optim.early_stop_min_delta",
    "train.mixup_alpha",
    "train.seed",
    "train.folds_at_once",
]


def _refused(**fields):
    with pytest.raises(UserError) as caught:
        validation.validate(config_with(**fields))
    message = str(caught.value)
    assert "\n" not in message
    return message


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


@pytest.mark.parametrize(
    "field", ["model.batch_norm_momentum", "optim.plateau_factor", "optim.step_factor"]
)
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, math.nan])
def test_validate_refuses_what_is_no_fraction(field, value):
    assert _refused(**{field: value}) == f"{field} is {value}; it must lie between 0 and 1"


@pytest.mark.parametrize(
    "field", ["model.dropout", "optim.label_smoothing", "optim.momentum", "optim.ema_decay"]
)
@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_validate_refuses_a_share_of_one(field, value):
    assert _refused(**{field: value}) == f"{field} is {value}; it must be 0 or more and below 1"
    validation.validate(config_with(**{field: 0.0}))


@pytest.mark.parametrize("value", [(), (-1.0,), (1.0, math.inf), (math.nan,)])
@pytest.mark.parametrize("field", ["model.l2", "model.c", "model.gamma"])
def test_validate_refuses_penalties_that_cannot_be(field, value):
    assert _refused(**{field: value}).startswith(f"{field} is {value}; give one or more ")


def test_validate_takes_no_penalty_for_the_logistic_regression_alone():
    validation.validate(config_with(**{"model.l2": (0.0,)}))
    assert _refused(**{"model.c": (0.0,)}).startswith("model.c is (0.0,)")


@pytest.mark.parametrize("field", ["data.seed", "train.seed"])
def test_validate_refuses_seeds_that_jax_would_cut(field):
    assert _refused(**{field: 2**32}) == f"{field} is 4294967296; it must be below 2**32"
    validation.validate(config_with(**{field: 2**32 - 1}))


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
    validation.validate(config_with(**{"data.clip_seconds": 5.0, "data.window_seconds": 5.0}))
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
    validation.validate(config_with(**{"features.fmax": 11025.0}))
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
        validation.validate(config_with(**fields))
    else:
        message = _refused(**fields)
        assert message.startswith(f"features.kind is {kind!r}, which model.name {model!r} cannot")


def test_validate_refuses_a_grey_flattened_image():
    fields = {"model.name": "svm", "features.kind": "flattened", "features.colormap": "grey"}
    assert _refused(**fields).startswith("features.colormap is 'grey'")


@pytest.mark.parametrize("name", ["gtzan", "folder", "manifest"])
def test_validate_asks_for_the_root(name):
    assert _refused(**{"data.name": name}) == f"data.root is empty; data.name {name!r} needs a path"
    validation.validate(config_with(**{"data.name": name, "data.root": "somewhere"}))


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("optim.momentum", ("sgd", "rmsprop")),
        ("optim.weight_decay", ("adamw", "lamb", "lion")),
    ],
)
def test_validate_refuses_what_an_optimizer_does_not_have(field, names):
    for name in config_lib.OPTIMIZERS:
        fields = {"optim.name": name, field: 0.5}
        if name in names:
            validation.validate(config_with(**fields))
        else:
            assert _refused(**fields) == (
                f"{field} is 0.5, which optim.name {name!r} does not have; set it to 0, or use"
                f" {', '.join(names)}"
            )


def test_validate_refuses_a_warmup_as_long_as_the_run():
    fields = {"optim.warmup_epochs": 3.0, "train.num_epochs": 3}
    assert _refused(**fields) == (
        "optim.warmup_epochs is 3.0; it must be below train.num_epochs (3)"
    )
    validation.validate(config_with(**fields | {"train.num_epochs": 4}))
