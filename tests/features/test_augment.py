"""Laws of augmentation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mgr_jax.features import augment

KEY = jax.random.key(0)
WAVES = np.random.default_rng(0).normal(size=(8, 2048)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(8, 60, 20)).astype(np.float32)
BAND = {"sample_rate": 22050, "min_hz": 500.0, "max_hz": 4000.0}
MASKS = {"max_warp": 10, "bins": 8, "frames": 15, "bin_masks": 2, "frame_masks": 2}
# Each function with its input, its options, and the options that change nothing.
FUNCTIONS = {
    "gain": (augment.gain, WAVES, {"max_db": 6.0}, {"max_db": 0.0}),
    "polarity": (augment.polarity, WAVES, {"probability": 0.5}, {"probability": 0.0}),
    "time_shift": (augment.time_shift, WAVES, {"max_shift": 100}, {"max_shift": 0}),
    "noise": (
        augment.noise,
        WAVES,
        {"min_snr_db": 0.0, "max_snr_db": 20.0},
        {"min_snr_db": 0.0, "max_snr_db": 20.0, "probability": 0.0},
    ),
    "low_pass": (augment.low_pass, WAVES, BAND, {**BAND, "probability": 0.0}),
    "high_pass": (augment.high_pass, WAVES, BAND, {**BAND, "probability": 0.0}),
    "spec_augment": (
        augment.spec_augment,
        IMAGES,
        MASKS,
        {"max_warp": 0, "bins": 0, "frames": 0},
    ),
    "random_crop": (augment.random_crop, WAVES, {"length": 2000}, {"length": 2048}),
}
each = pytest.mark.parametrize("function,x,options,none", FUNCTIONS.values(), ids=FUNCTIONS)


@functools.cache
def jitted(function, options):
    return jax.jit(functools.partial(function, **dict(options)))


def run(function, x, options, key=KEY, **more):
    return jitted(function, tuple(options.items()))(key, x, **more)


@each
@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.e2e)])
def test_shape_and_type_are_kept_and_strength_0_is_the_identity(function, x, options, none, dtype):
    x = jnp.asarray(x, dtype)
    changed = run(function, x, options)
    expected = (8, options["length"]) if "length" in options else x.shape
    assert changed.shape == expected and changed.dtype == dtype
    np.testing.assert_array_equal(run(function, x, none), x)


@each
def test_draws_depend_on_key_and_row_alone(function, x, options, none):
    once = run(function, x, options)
    np.testing.assert_array_equal(once, run(function, x, options))
    assert not np.array_equal(once, run(function, x, options, key=jax.random.key(1)))
    part = run(function, x[5:], options, rows=jnp.arange(5, 8))
    np.testing.assert_allclose(part, once[5:], atol=1e-4)
    same = np.repeat(x[:1], 8, axis=0)
    assert len(np.unique(np.asarray(run(function, same, options)).reshape(8, -1), axis=0)) > 1


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "noise" else pytest.mark.e2e) for name in FUNCTIONS],
)
def test_draws_on_four_devices_equal_those_on_one(name):
    function, x, options, _ = FUNCTIONS[name]
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    one = run(function, x, options)
    np.testing.assert_allclose(run(function, sharded, options), one, atol=1e-4)


@pytest.mark.parametrize("name", ["gain", "low_pass"])
def test_jit_changes_nothing(name):
    function, x, options, _ = FUNCTIONS[name]
    np.testing.assert_allclose(function(KEY, x, **options), run(function, x, options), atol=1e-5)


def test_gain_stays_within_its_limits():
    louder = np.asarray(run(augment.gain, WAVES, {"max_db": 6.0}))
    decibels = 20 * np.log10(louder / WAVES)[:, 0]
    assert np.abs(decibels).max() <= 6 and np.ptp(decibels) > 1


def test_polarity_flips_about_half():
    ones = np.ones((2000, 1), np.float32)
    signs = np.asarray(run(augment.polarity, ones, {}))
    assert set(np.unique(signs)) == {-1.0, 1.0} and abs(signs.mean()) < 0.1


def test_time_shift_rotates():
    ramp = np.tile(np.arange(50, dtype=np.float32), (8, 1))
    shifts = np.asarray(run(augment.time_shift, ramp, {"max_shift": 7}))
    offsets = (shifts[:, 1] - 1 + 25) % 50 - 25
    assert np.abs(offsets).max() <= 7
    for row, offset in zip(shifts, offsets, strict=True):
        np.testing.assert_array_equal(row, np.roll(ramp[0], -int(offset)))


def test_random_crop_is_a_piece_of_the_clip():
    ramp = np.tile(np.arange(50, dtype=np.float32), (64, 1))
    crops = np.asarray(run(augment.random_crop, ramp, {"length": 20}))
    assert (np.diff(crops, axis=1) == 1).all()
    assert crops.min() == 0 and crops.max() == 49


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_requested_snr(snr):
    options = {"min_snr_db": snr, "max_snr_db": snr}
    added = np.asarray(run(augment.noise, WAVES, options)) - WAVES
    measured = 10 * np.log10((WAVES**2).mean(1) / (added**2).mean(1))
    np.testing.assert_allclose(measured, snr, atol=1e-2)
    np.testing.assert_array_equal(run(augment.noise, np.zeros_like(WAVES), options), 0)


@pytest.mark.parametrize("function,side", [(augment.low_pass, 1), (augment.high_pass, -1)])
def test_filter_has_the_magnitude_of_a_butterworth(function, side):
    options = {"sample_rate": 22050, "min_hz": 2000.0, "max_hz": 2000.0}
    filtered = np.fft.rfft(np.asarray(run(function, WAVES, options)))
    frequencies = np.fft.rfftfreq(2048, 1 / 22050)[1:]
    expected = 1 / np.sqrt(1 + (frequencies / 2000) ** (4 * side))
    gain = (filtered / np.fft.rfft(WAVES))[:, 1:]
    np.testing.assert_allclose(gain.real, np.tile(expected, (8, 1)), atol=1e-3)
    np.testing.assert_allclose(gain.imag, 0, atol=1e-3)


def test_spec_augment_masks_stripes_up_to_the_given_width():
    out = np.asarray(run(augment.spec_augment, IMAGES, {"bins": 5, "frames": 40, "max_share": 0.2}))
    fill = IMAGES.mean(axis=(1, 2), keepdims=True)
    masked = np.isclose(out, fill, atol=1e-6)
    np.testing.assert_array_equal(out[~masked], IMAGES[~masked])
    bins, frames = masked.all(axis=1).sum(axis=1), masked.all(axis=2).sum(axis=1)
    assert bins.max() <= 5 and frames.max() <= 12 and bins.max() > 0 and frames.max() > 0


def test_spec_augment_warps_time_alone():
    ramp = np.broadcast_to(np.arange(60, dtype=np.float32)[None, :, None], (8, 60, 3))
    out = np.asarray(run(augment.spec_augment, ramp, {"max_warp": 10, "bins": 0, "frames": 0}))
    assert (out == out[..., :1]).all() and (np.diff(out[..., 0], axis=1) >= 0).all()
    np.testing.assert_allclose(out[:, [0, -1], 0], [[0, 59]] * 8, atol=1e-4)
    assert 0 < np.abs(out - ramp).max() <= 10


@pytest.mark.parametrize("name", ["LB", pytest.param("SM", marks=pytest.mark.e2e)])
def test_spec_augment_takes_the_papers_policies(name):
    policy = augment.SPEC_AUGMENT[name]
    out = run(augment.spec_augment, np.ones((2, 300, 80), np.float32), policy)
    np.testing.assert_allclose(out, 1, rtol=1e-5)


def test_mixup_mixes_inputs_and_targets_alike():
    targets = np.eye(8, dtype=np.float32)
    x, y = jitted(augment.mixup, (("alpha", 0.4),))(KEY, WAVES, targets)
    share = np.diag(np.asarray(y))[:, None]
    np.testing.assert_allclose(x, share * WAVES + (1 - share) * np.roll(WAVES, -1, 0), atol=1e-5)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert np.ptp(share) > 0.1
    same_x, same_y = augment.mixup(KEY, WAVES, targets, alpha=0.0)
    np.testing.assert_array_equal(same_x, WAVES)
    np.testing.assert_array_equal(same_y, targets)


@pytest.mark.parametrize(
    "call,named",
    [
        (lambda: augment.gain(KEY, WAVES, max_db=-1.0), "max_db"),
        (lambda: augment.gain(KEY, WAVES[0], max_db=1.0), "x is"),
        (lambda: augment.gain(KEY, WAVES.astype(int), max_db=1.0), "x is"),
        (lambda: augment.gain(KEY, WAVES, max_db=1.0, rows=jnp.arange(3)), "rows"),
        (lambda: augment.polarity(KEY, WAVES, probability=1.5), "probability"),
        (lambda: augment.time_shift(KEY, WAVES, max_shift=-1), "max_shift"),
        (lambda: augment.random_crop(KEY, WAVES, length=0), "length"),
        (lambda: augment.random_crop(KEY, WAVES, length=2049), "length"),
        (lambda: augment.noise(KEY, WAVES, min_snr_db=3, max_snr_db=2), "min_snr_db"),
        (lambda: augment.noise(KEY, WAVES, min_snr_db=0, max_snr_db=1, probability=-1), "prob"),
        (lambda: augment.low_pass(KEY, WAVES, **{**BAND, "min_hz": 0.0}), "min_hz"),
        (lambda: augment.low_pass(KEY, WAVES, **{**BAND, "max_hz": 1.0}), "min_hz"),
        (lambda: augment.high_pass(KEY, WAVES, **{**BAND, "sample_rate": 0}), "sample_rate"),
        (lambda: augment.high_pass(KEY, IMAGES, **BAND), "x has shape"),
        (lambda: augment.spec_augment(KEY, WAVES), "x has shape"),
        (lambda: augment.spec_augment(KEY, IMAGES, bins=-1), "bins"),
        (lambda: augment.spec_augment(KEY, IMAGES, max_share=2), "max_share"),
        (lambda: augment.mixup(KEY, WAVES, np.eye(7, dtype=np.float32)), "targets"),
        (lambda: augment.mixup(KEY, WAVES, np.eye(8, dtype=np.float32), alpha=-1), "alpha"),
    ],
)
def test_bad_arguments_raise_and_are_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
