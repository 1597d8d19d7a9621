"""Laws of the descriptors, and bad arguments. Their parity with librosa is in test_parity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.features import chroma, descriptors, spectral

RATE = {"sample_rate": 22050}
NOISE = np.random.default_rng(0).normal(size=(2, 2, 4096)).astype(np.float32)
MAGNITUDE = np.asarray(spectral.spectrogram(NOISE, n_fft=512, hop_length=256, power=1.0))
OF_SPECTROGRAM = {
    "centroid": functools.partial(descriptors.spectral_centroid, **RATE),
    "bandwidth": functools.partial(descriptors.spectral_bandwidth, **RATE),
    "rolloff": functools.partial(descriptors.spectral_rolloff, **RATE),
    "flatness": descriptors.spectral_flatness,
    "delta": descriptors.delta,
    "chroma": functools.partial(chroma.chroma_stft, tuning=0.1, **RATE),
}
OF_WAVEFORM = {"rms": descriptors.rms, "zero_crossing_rate": descriptors.zero_crossing_rate}


@pytest.mark.parametrize("name", [*OF_SPECTROGRAM, *OF_WAVEFORM])
def test_leading_dimensions_jit_and_vmap_change_nothing(name):
    function = {**OF_SPECTROGRAM, **OF_WAVEFORM}[name]
    x = MAGNITUDE if name in OF_SPECTROGRAM else NOISE
    together = np.asarray(jax.jit(function)(x))
    close = {"rtol": 1e-5, "atol": 1e-6}
    mapped = jax.jit(jax.vmap(jax.vmap(function)))(x)
    np.testing.assert_allclose(mapped, together, **close)
    np.testing.assert_allclose(function(x[1, 0]), together[1, 0], **close)


def test_a_single_line_is_centroid_and_rolloff_without_bandwidth():
    line = np.zeros((3, 513), np.float32)
    line[:, 100] = 2.0
    frequency = 100 * 22050 / 1024
    np.testing.assert_allclose(descriptors.spectral_centroid(line, **RATE), frequency, rtol=1e-6)
    np.testing.assert_allclose(descriptors.spectral_rolloff(line, **RATE), frequency, rtol=1e-6)
    np.testing.assert_allclose(descriptors.spectral_bandwidth(line, **RATE), 0, atol=1e-2)


def test_spectral_bandwidth_takes_a_given_centroid():
    given = descriptors.spectral_centroid(MAGNITUDE, **RATE)
    np.testing.assert_array_equal(
        descriptors.spectral_bandwidth(MAGNITUDE, centroid=given, **RATE),
        descriptors.spectral_bandwidth(MAGNITUDE, **RATE),
    )
    around_zero = descriptors.spectral_bandwidth(MAGNITUDE, centroid=0 * given, **RATE)
    frequencies = np.linspace(0, 11025, 257)
    shares = MAGNITUDE / MAGNITUDE.sum(-1, keepdims=True)
    np.testing.assert_allclose(around_zero, np.sqrt(shares @ frequencies**2), rtol=1e-5)


def test_spectral_flatness_of_a_flat_spectrum_is_one():
    flat = np.full((4, 257), 0.3, np.float32)
    np.testing.assert_allclose(descriptors.spectral_flatness(flat), 1, rtol=1e-5)


def test_zero_crossing_rate_counts_the_crossings_of_a_sine():
    sine = np.sin(2 * np.pi * 100.5 * np.arange(8192) / 8192).astype(np.float32)
    rate = descriptors.zero_crossing_rate(sine, frame_length=8192, hop_length=8192, center=False)
    assert float(rate[0]) * 8192 == 200


def test_rms_of_a_constant_is_its_size():
    loud = np.full((2, 5000), -0.25, np.float32)
    np.testing.assert_allclose(descriptors.rms(loud, center=False), 0.25, rtol=1e-6)


@pytest.mark.parametrize("order,slope", [(1, 3.0), (2, 0.0)])
def test_delta_of_a_ramp_is_its_slope(order, slope):
    ramp = 3.0 * np.arange(20, dtype=np.float32)[:, None] + np.zeros((1, 2), np.float32)
    np.testing.assert_allclose(descriptors.delta(ramp, order=order), slope, atol=1e-4)


@pytest.mark.parametrize("name", [*OF_SPECTROGRAM, "rms"])
def test_gradient_at_silence_is_finite(name):
    function = {**OF_SPECTROGRAM, **OF_WAVEFORM}[name]
    zeros = jnp.zeros((12, 257)) if name in OF_SPECTROGRAM else jnp.zeros(4096)
    assert np.isfinite(jax.jit(jax.grad(lambda x: jnp.sum(function(x))))(zeros)).all()


@pytest.mark.parametrize(
    "call,named",
    [
        (lambda: descriptors.spectral_centroid(np.ones(9), **RATE), "spectrogram"),
        (lambda: descriptors.spectral_centroid(np.ones((3, 9), np.complex64), **RATE), "spectrog"),
        (lambda: descriptors.spectral_centroid(np.ones((3, 9)), sample_rate=0), "sample_rate"),
        (lambda: descriptors.spectral_bandwidth(np.ones((3, 9)), p=0, **RATE), "p is"),
        (lambda: descriptors.spectral_rolloff(MAGNITUDE, roll_percent=0, **RATE), "roll_percent"),
        (lambda: descriptors.spectral_rolloff(MAGNITUDE, roll_percent=1, **RATE), "roll_percent"),
        (lambda: descriptors.spectral_flatness(MAGNITUDE, amin=-1.0), "amin"),
        (lambda: descriptors.spectral_flatness(MAGNITUDE, power=0), "power"),
        (lambda: descriptors.zero_crossing_rate(NOISE, hop_length=0), "hop_length"),
        (lambda: descriptors.zero_crossing_rate(NOISE, frame_length=0), "frame_length"),
        (lambda: descriptors.zero_crossing_rate(NOISE, threshold=-1.0), "threshold"),
        (lambda: descriptors.zero_crossing_rate(NOISE[..., :99], center=False), "waveform"),
        (lambda: descriptors.rms(NOISE, hop_length=0), "hop_length"),
        (lambda: descriptors.rms(NOISE, pad_mode="edge"), "pad_mode"),
        (lambda: descriptors.rms(np.float32(0)), "waveform"),
        (lambda: descriptors.delta(np.ones(9)), "features"),
        (lambda: descriptors.delta(np.ones((9, 2)), width=4), "width"),
        (lambda: descriptors.delta(np.ones((9, 2)), width=1), "width"),
        (lambda: descriptors.delta(np.ones((8, 2))), "width"),
        (lambda: descriptors.delta(np.ones((9, 2)), order=0), "order"),
        (lambda: descriptors.delta(np.ones((9, 2)), order=9), "order"),
        (lambda: descriptors.delta(np.ones((9, 2)), mode="edge"), "mode"),
    ],
)
def test_bad_arguments_raise_and_are_named(call, named):
    with pytest.raises(ValueError, match=f"^({named})"):
        call()
