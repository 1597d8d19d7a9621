"""The values that a field takes on its own: every refusal names the field."""

import math

import pytest

from mgr_jax import config as config_lib
from mgr_jax import config_sections
from mgr_jax.errors import UserError
from tests.config_with import config_with

CHOICES = {
    "data.name": config_sections.DATA_NAMES,
    "data.subset": config_sections.FMA_SUBSETS,
    "data.protocol": config_sections.PROTOCOLS,
    "features.kind": config_sections.FEATURE_KINDS,
    "features.bands": ("linear", "mel", "log"),
    "features.colormap": config_sections.COLORMAPS,
    "features.time_axis": config_sections.TIME_AXES,
    "features.normalize": config_sections.NORMALIZERS,
    "model.name": config_sections.MODEL_NAMES,
    "model.scan_axis": ("frequency", "time"),
    "model.cell": ("simple", "gru", "lstm"),
    "model.dtype": ("float32", "bfloat16"),
    "model.implementation": ("auto", "reference"),
    "model.kernel": ("rbf", "linear"),
    "model.members": ("chosen", "listed"),
    "optim.name": config_sections.OPTIMIZERS,
    "optim.schedule": ("constant", "cosine", "step", "plateau"),
    "train.parallelism": ("jit", "pmap"),
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
    "features.num_bins",
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
    "train.keep_checkpoints",
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
    "train.checkpoint_every_steps",
    "train.mixup_alpha",
    "train.seed",
    "train.folds_at_once",
    "augment.shift",
    "augment.lowpass",
]


def _refused(**fields):
    with pytest.raises(UserError) as caught:
        config_lib.validate(config_with(**fields))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_validate_accepts_the_defaults():
    config = config_lib.Config()
    assert config_lib.validate(config) is config
    assert config.data.name == "band"


@pytest.mark.parametrize("field", CHOICES)
def test_validate_lists_the_choices_of_a_field(field):
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


@pytest.mark.parametrize("field", ["optim.plateau_factor", "optim.step_factor"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, math.nan])
def test_validate_refuses_what_is_no_fraction(field, value):
    assert _refused(**{field: value}) == f"{field} is {value}; it must lie between 0 and 1"


@pytest.mark.parametrize(
    "field",
    [
        "model.batch_norm_momentum",
        "model.dropout",
        "optim.label_smoothing",
        "optim.momentum",
        "optim.ema_decay",
    ],
)
@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_validate_refuses_a_share_of_one(field, value):
    assert _refused(**{field: value}) == f"{field} is {value}; it must be 0 or more and below 1"
    config_lib.validate(config_with(**{field: 0.0}))


@pytest.mark.parametrize("value", [(), (-1.0,), (1.0, math.inf), (math.nan,)])
@pytest.mark.parametrize("field", ["model.l2", "model.c", "model.gamma"])
def test_validate_refuses_penalties_out_of_range(field, value):
    assert _refused(**{field: value}).startswith(f"{field} is {value}; give one or more ")


def test_validate_takes_no_penalty_for_the_logistic_regression_alone():
    config_lib.validate(config_with(**{"model.l2": (0.0,)}))
    assert _refused(**{"model.c": (0.0,)}).startswith("model.c is (0.0,)")


@pytest.mark.parametrize("field", ["data.seed", "train.seed"])
def test_validate_refuses_seeds_that_jax_would_cut(field):
    assert _refused(**{field: 2**32}) == f"{field} is 4294967296; it must be below 2**32"
    config_lib.validate(config_with(**{field: 2**32 - 1}))


@pytest.mark.parametrize(
    "field,most", [("crop", 99), ("tempo", 50), ("pitch", 12), ("noise", 1000)]
)
def test_validate_refuses_a_deformation_out_of_range(field, most):
    for value in (-1.0, most + 1.0, math.nan):
        assert _refused(**{f"augment.{field}": value}).endswith(f"; it must be 0 to {most}")
    assert "it must be from 0 to 1" in _refused(**{"augment.probability": 1.5})
