"""Laws of deformations, and references that compute them in other ways."""

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mgr_jax import config_sections
from mgr_jax.features import deform

KEY = jax.random.key(0)
RATE = 8000
TIME = np.arange(RATE) / RATE
STRENGTHS = {name: deform.DEFORMATIONS[name].strengths[-1] for name in deform.IN_JAX} | {
    "shift": 0.1
}
DRAWN = ("crop", "eq", "reverb", "noise")
QUICK = ("gain", "lowpass", "noise")  # To compile; the others are e2e.
each = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.e2e) for n in deform.IN_JAX]
)


def tone(hertz, seconds=1.0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return (0.25 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


WAVES = np.random.default_rng(0).normal(size=(4, RATE)).astype(np.float32) / 8 + tone(500)


@functools.cache
def jitted(name, rate):
    return jax.jit(functools.partial(deform.deform, name, sample_rate=rate, limit=12.0))


def run(name, strength, x=WAVES, key=KEY, rate=RATE, rows=None):
    return np.asarray(jitted(name, rate)(key, x, jnp.float32(strength), rows=rows))


@each
def test_strength_0_is_the_identity(name):
    np.testing.assert_array_equal(run(name, 0.0), WAVES)


@each
def test_shape_and_type_are_kept_and_something_changes(name):
    changed = run(name, STRENGTHS[name])
    assert changed.shape == WAVES.shape and changed.dtype == np.float32
    assert np.isfinite(changed).all() and np.abs(changed - WAVES).max() > 1e-3


@pytest.mark.parametrize(
    "name",
    ["noise", *(pytest.param(n, marks=pytest.mark.e2e) for n in ("crop", "eq", "reverb", "pitch"))],
)
def test_draws_depend_on_key_and_row_alone(name):
    strength = STRENGTHS[name]
    once = run(name, strength)
    part = run(name, strength, WAVES[2:], rows=jnp.arange(2, 4))
    np.testing.assert_allclose(part, once[2:], atol=1e-4)
    if name in DRAWN:
        assert not np.allclose(once, run(name, strength, key=jax.random.key(1)), atol=1e-3)
        same = run(name, strength, np.repeat(WAVES[:1], 4, axis=0))
        assert len(np.unique(same, axis=0)) > 1


@pytest.mark.parametrize("name", ["noise"])
def test_jit_changes_nothing(name):
    eager = deform.deform(name, KEY, WAVES, STRENGTHS[name], sample_rate=RATE)
    np.testing.assert_allclose(eager, run(name, STRENGTHS[name]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["tempo", "pitch", "eq", "reverb", "shift", "gain", "lowpass", "crop"]
)
def test_jit_changes_nothing_of_the_others(name):
    eager = deform.deform(name, KEY, WAVES, STRENGTHS[name], sample_rate=RATE)
    np.testing.assert_allclose(eager, run(name, STRENGTHS[name]), atol=2e-3)


@pytest.mark.e2e
@pytest.mark.parametrize(
    "name",
    ["noise", "pitch", "reverb"],
)
def test_rows_on_four_devices_equal_those_on_one(name):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(WAVES, NamedSharding(mesh, PartitionSpec("data")))
    one = run(name, STRENGTHS[name])
    np.testing.assert_allclose(run(name, STRENGTHS[name], sharded), one, atol=1e-3)


def test_each_example_has_a_strength_of_its_own():
    louder = run("gain", [0.0, 6.0, -6.0, 20.0], np.full((4, 16), 0.01, np.float32))
    np.testing.assert_allclose(
        louder[:, 0], 0.01 * 10 ** (np.array([0, 6, -6, 20]) / 20), rtol=1e-5
    )


def test_gain_clips_at_full_scale():
    assert np.abs(run("gain", 20.0)).max() == np.float32(1.0)
    hot = 3 * WAVES / np.abs(WAVES).max()
    np.testing.assert_allclose(np.abs(run("gain", 20.0, hot)).max(axis=1), np.abs(hot).max(axis=1))


@pytest.mark.parametrize("hertz", [1000.0, 2500.0])
def test_lowpass_is_scipys_butterworth_forward_and_backward(hertz):
    expected = scipy.signal.sosfiltfilt(
        scipy.signal.butter(4, hertz, fs=RATE, output="sos"), WAVES.astype(np.float64)
    )
    inner = slice(RATE // 8, -RATE // 8)
    np.testing.assert_allclose(run("lowpass", hertz)[:, inner], expected[:, inner], atol=1e-5)


@pytest.mark.e2e
def test_eq_has_the_drawn_gains_at_octaves_and_is_linear_between_them():
    impulse = np.zeros((1, RATE), np.float32)
    impulse[0, 0] = 1
    magnitude = np.abs(np.fft.rfft(run("eq", 12.0, impulse)[0]))
    decibels = 20 * np.log10(magnitude)
    assert 3 < np.abs(decibels).max() <= 12.001
    at = {hertz: decibels[hertz] for hertz in (125, 250, 500, 1000, 2000, 4000)}
    for low in (125, 250, 500, 1000, 2000):
        middle = round(low * np.sqrt(2))
        share = np.log2(middle / low)
        expected = (1 - share) * at[low] + share * at[2 * low]
        assert decibels[middle] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("percent", [1.0, 10.0, 100.0])
def test_noise_has_the_stated_signal_to_noise_ratio(percent):
    added = run("noise", percent) - WAVES
    ratio = np.mean(WAVES**2, axis=1) / np.mean(added**2, axis=1)
    np.testing.assert_allclose(10 * np.log10(ratio), -20 * np.log10(percent / 100), atol=0.02)
    spectrum = np.abs(np.fft.rfft(added)) ** 2
    halves = spectrum[:, : RATE // 4].mean(), spectrum[:, RATE // 4 :].mean()
    assert halves[0] == pytest.approx(halves[1], rel=0.1)
    np.testing.assert_array_equal(run("noise", 10.0, np.zeros((1, 64), np.float32)), 0)


@pytest.mark.e2e
@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_reverb_decays_by_60_db_in_the_stated_time(seconds):
    impulse = np.zeros((1, 2 * RATE), np.float32)
    impulse[0, 0] = 1
    response = run("reverb", seconds, impulse)[0]
    assert np.mean(response**2) == pytest.approx(np.mean(impulse**2), rel=1e-3)
    # Schroeder's integral, from -5 to -35 dB of the tail; the direct sound is as strong.
    tail = response[1:]
    assert response[0] ** 2 == pytest.approx(np.sum(tail**2), rel=0.1)
    decay = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    first, last = np.argmax(decay < -5), np.argmax(decay < -35)
    slope = np.polyfit(np.arange(first, last) / RATE, decay[first:last], 1)[0]
    assert -60 / slope == pytest.approx(seconds, rel=0.05)


def peak(x, rate=RATE):
    """The frequency of the strongest component of the middle of a waveform, in Hz."""
    middle = x[len(x) // 4 : -len(x) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**18))
    return spectrum.argmax() * rate / 2**18


@pytest.mark.e2e
@pytest.mark.parametrize("semitones", [-12.0, -3.0, 1.0, 7.0])
def test_pitch_moves_a_tone_and_nothing_else(semitones):
    shifted = run("pitch", semitones, tone(700)[None])[0]
    assert 12 * np.log2(peak(shifted) / 700) == pytest.approx(semitones, abs=0.02)
    middle = shifted[len(shifted) // 4 : -len(shifted) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    near = slice(max(0, spectrum.argmax() - 8), spectrum.argmax() + 9)
    assert spectrum[near].sum() > 0.999 * spectrum.sum()


@pytest.mark.e2e
@pytest.mark.parametrize("percent", [-20.0, 20.0])
def test_tempo_keeps_the_pitch_and_moves_a_click(percent):
    assert peak(run("tempo", percent, tone(700)[None])[0]) == pytest.approx(700, rel=1e-3)
    x = 0.001 * WAVES[:1]
    x[0, RATE // 2 : RATE // 2 + 40] += tone(1500)[:40]
    loudest = np.abs(run("tempo", percent, x)[0]).argmax()
    assert loudest == pytest.approx((RATE // 2 + 20) / (1 + percent / 100), abs=0.02 * RATE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,strength", [("tempo", -20), ("tempo", 20), ("pitch", -3), ("pitch", 3)]
)
def test_tempo_and_pitch_sound_like_librosas(name, strength):
    rate = 22050
    time = np.arange(4 * rate) / rate
    x = sum(tone(f, 4, rate) for f in (220, 440, 1000, 3000)) * (0.6 + 0.4 * np.sin(12 * time))
    x = (x + 0.01 * np.random.default_rng(0).normal(size=x.size)).astype(np.float32)
    ours = run(name, float(strength), x[None], rate=rate)[0]
    if name == "tempo":
        theirs = librosa.effects.time_stretch(x, rate=1 + strength / 100)
    else:
        theirs = librosa.effects.pitch_shift(x, sr=rate, n_steps=strength)
    size = min(len(ours), len(theirs))
    ours, theirs = (
        librosa.power_to_db(
            librosa.feature.melspectrogram(y=y[:size], sr=rate, fmax=8000), top_db=None
        )
        for y in (ours, theirs)
    )
    assert np.median(np.abs(ours - theirs)) < 0.5
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


@pytest.mark.e2e
def test_crop_repeats_a_piece_of_the_clip():
    ramp = np.tile(np.arange(100, dtype=np.float32), (4, 1))
    cropped = run("crop", 75.0, ramp)
    np.testing.assert_array_equal(cropped[:, :25] + 0, cropped[:, 25:50])
    assert (np.diff(cropped[:, :25], axis=1) == 1).all() and len(np.unique(cropped[:, 0])) > 1


@pytest.mark.e2e
def test_shift_rotates():
    np.testing.assert_array_equal(run("shift", 0.25), np.roll(WAVES, RATE // 4, axis=1))


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"name": "echo"}, "name is 'echo'"),
        ({"name": "mp3"}, "name is 'mp3'"),
        ({"x": WAVES[0]}, "must be a batch|must be \\[B, T\\]"),
        ({"x": WAVES.astype(int)}, "floating point"),
        ({"strength": -1.0}, "noise is -1 %; it must be 0 to 1000"),
        ({"strength": np.nan}, "noise is nan"),
        ({"name": "lowpass", "strength": 5000.0}, "lowpass is 5000 Hz; it must be 0 to 4000"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"rows": jnp.arange(3)}, "rows has shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    values = {"name": "noise", "x": WAVES, "strength": 1.0, "sample_rate": RATE} | arguments
    with pytest.raises(ValueError, match=message):
        deform.deform(values.pop("name"), KEY, values.pop("x"), values.pop("strength"), **values)


def test_a_traced_strength_needs_a_limit():
    with pytest.raises(ValueError, match="limit is missing"):
        jax.jit(lambda s: deform.deform("gain", KEY, WAVES, s, sample_rate=RATE))(1.0)


@pytest.mark.e2e
def test_augmented_draws_for_each_example_within_its_limits():
    x = np.full((400, 8), 0.1, np.float32)
    config = config_sections.Augment(gain=6.0)
    louder = np.asarray(deform.augmented(KEY, x, config, sample_rate=RATE))
    decibels = 20 * np.log10(louder[:, 0] / 0.1)
    changed = np.abs(decibels) > 1e-4
    assert 0.4 < changed.mean() < 0.6 and np.abs(decibels).max() <= 6.001
    assert decibels.min() < -4 and decibels.max() > 4
    part = deform.augmented(KEY, x[100:], config, sample_rate=RATE, rows=jnp.arange(100, 400))
    np.testing.assert_allclose(part, louder[100:], rtol=1e-6)


def test_augmented_of_no_strength_is_the_same_array():
    assert (
        deform.augmented(KEY, x := jnp.asarray(WAVES), config_sections.Augment(), sample_rate=RATE)
        is x
    )


@pytest.mark.slow
def test_augmented_applies_all_in_one_program():
    config = config_sections.Augment(
        probability=1.0, crop=50, shift=0.5, tempo=10, pitch=2, eq=6, reverb=0.5, noise=10,
        lowpass=1000, gain=6,
    )  # fmt: skip
    run = jax.jit(lambda x: deform.augmented(KEY, x, config, sample_rate=RATE))
    changed = np.asarray(run(WAVES))
    assert changed.shape == WAVES.shape and np.isfinite(changed).all()
    np.testing.assert_array_equal(changed, run(WAVES))
    assert set(vars(config)) - {"probability"} == set(deform.IN_JAX)
