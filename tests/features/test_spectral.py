"""Laws of the short-time spectra, their gradients, and bad arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.features import decibels, filters, framing, spectral

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(2, 3, 4096)).astype(np.float32)
LOG_MEL = {"sample_rate": 22050, "n_fft": 512, "hop_length": 256, "n_mels": 40}


def log_mel(waveform):
    return decibels.power_to_db(spectral.mel_spectrogram(waveform, **LOG_MEL))


def cepstra(waveform):
    return spectral.mfcc(waveform, n_mfcc=13, **LOG_MEL)


FUNCTIONS = {
    "stft": spectral.stft,
    "spectrogram": spectral.spectrogram,
    "magnitude": functools.partial(spectral.spectrogram, power=1.0),
    "log_mel": log_mel,
    "mfcc": cepstra,
}


# The two spectrograms are powers of the STFT.
@pytest.mark.parametrize(
    "function",
    [
        pytest.param(
            function, id=name, marks=pytest.mark.e2e if name in ("spectrogram", "magnitude") else ()
        )
        for name, function in FUNCTIONS.items()
    ],
)
def test_leading_dimensions_jit_and_vmap_change_nothing(function):
    together = np.asarray(function(NOISE))
    scale = np.abs(together).max()
    np.testing.assert_allclose(function(NOISE[1, 2]), together[1, 2], atol=1e-6 * scale)
    np.testing.assert_allclose(jax.jit(function)(NOISE), together, atol=1e-6 * scale)
    mapped = jax.jit(jax.vmap(jax.vmap(function)))(NOISE)
    np.testing.assert_allclose(mapped, together, atol=1e-6 * scale)


def test_stft_of_a_frame_keeps_its_energy():
    # Parseval: the bins between 0 and half the rate stand for two each.
    frames = framing.frame(NOISE, frame_length=512, hop_length=512)
    spectrum = spectral.stft(NOISE, n_fft=512, hop_length=512, window="boxcar", center=False)
    counted = np.full(257, 2.0)
    counted[[0, -1]] = 1
    energy = (np.abs(np.asarray(spectrum, np.complex128)) ** 2 * counted).sum(-1) / 512
    np.testing.assert_allclose(energy, np.square(frames).sum(-1), rtol=1e-5)


def test_stft_is_linear():
    one, two = NOISE[0, 0], NOISE[1, 2]
    together = spectral.stft(2 * one - 3 * two)
    apart = 2 * spectral.stft(one) - 3 * spectral.stft(two)
    np.testing.assert_allclose(together, apart, atol=1e-4)


def test_stft_of_a_signal_shifted_by_a_hop_is_shifted_by_a_frame():
    options = {"n_fft": 512, "hop_length": 128, "center": False}
    whole = spectral.stft(NOISE, **options)
    shifted = spectral.stft(NOISE[..., 128:], **options)
    np.testing.assert_allclose(shifted, whole[..., 1:, :], atol=1e-5)


def test_stft_of_a_sine_in_a_bin_is_the_windows_transform():
    sine = np.cos(2 * np.pi * 8 * np.arange(512) / 64).astype(np.float32)
    spectrum = np.abs(spectral.stft(sine, n_fft=64, hop_length=64, center=False))
    np.testing.assert_allclose(spectrum[:, 7:10], [[8, 16, 8]] * 8, atol=1e-5)
    np.testing.assert_allclose(np.delete(spectrum, [7, 8, 9], axis=1), 0, atol=1e-5)


def test_mfcc_of_all_bands_is_inverted_by_the_transposed_dct():
    in_decibels = log_mel(NOISE)
    basis = filters.dct_basis(n_mels=40, n_mfcc=40)
    restored = spectral.cepstrum(in_decibels, n_mfcc=40) @ basis
    np.testing.assert_allclose(restored, in_decibels, atol=1e-3)


@pytest.mark.parametrize("function", [log_mel, cepstra], ids=["log_mel", "mfcc"])
def test_gradient_equals_finite_differences(function):
    clip, direction = NOISE[0, 0, :2048], NOISE[1, 0, :2048]
    weights = np.random.default_rng(1).normal(size=function(clip).shape).astype(np.float32)

    @jax.jit
    def loss(waveform):
        return jnp.sum(function(waveform) * weights)

    slope = float(jnp.vdot(jax.grad(loss)(clip), direction))
    step = 1e-3
    measured = float(loss(clip + step * direction) - loss(clip - step * direction)) / (2 * step)
    assert slope == pytest.approx(measured, rel=2e-2)


@pytest.mark.parametrize("function", list(FUNCTIONS.values())[1:], ids=list(FUNCTIONS)[1:])
def test_gradient_at_silence_is_finite(function):
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(function(x))))(jnp.zeros(4096))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, np.float64])
def test_features_are_float32_for_any_waveform(dtype):
    assert log_mel(NOISE.astype(dtype)).dtype == jnp.float32
    assert cepstra(NOISE.astype(dtype)).dtype == jnp.float32


@pytest.mark.parametrize(
    "options,named",
    [
        ({"hop_length": 0}, "hop_length"),
        ({"hop_length": -1}, "hop_length"),
        ({"n_fft": 0}, "n_fft"),
        ({"win_length": 0}, "win_length"),
        ({"win_length": 2049}, "win_length"),
        ({"window": "blackman"}, "window"),
        ({"window": np.ones(100)}, "window"),
        ({"pad_mode": "wrap"}, "pad_mode"),
        ({"center": False, "n_fft": 8192}, "waveform"),
    ],
)
@pytest.mark.parametrize(
    "function", [spectral.stft, functools.partial(spectral.mel_spectrogram, sample_rate=22050)]
)
def test_bad_frames_raise_and_are_named(function, options, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        function(NOISE[0, 0], **options)


@pytest.mark.parametrize(
    "call,named",
    [
        (lambda: spectral.stft(np.float32(1)), "waveform"),
        (lambda: spectral.stft(np.zeros((2, 0), np.float32)), "waveform"),
        (lambda: spectral.stft(np.zeros(4096, np.int16)), "waveform"),
        (lambda: spectral.stft(np.zeros(4096, np.complex64)), "waveform"),
        (lambda: spectral.spectrogram(NOISE, power=0), "power"),
        (lambda: spectral.mel_spectrogram(NOISE, sample_rate=22050, power=-1), "power"),
        (lambda: spectral.mel_spectrogram(NOISE, sample_rate=0), "sample_rate"),
        (lambda: spectral.mel_spectrogram(NOISE, sample_rate=22050, fmin=9.0, fmax=8.0), "fmin"),
        (lambda: spectral.cepstrum(np.ones((3, 40)), lifter=-1), "lifter"),
        (lambda: spectral.cepstrum(np.ones((3, 40)), n_mfcc=41), "n_mfcc"),
        (lambda: spectral.cepstrum(np.ones((3, 40)), dct_type=4), "dct_type"),
        (lambda: spectral.cepstrum(np.ones((3, 40)), norm="slaney"), "norm"),
        (lambda: spectral.cepstrum(np.float32(1)), "log_mel"),
        (lambda: spectral.mfcc(NOISE, sample_rate=22050, mel_norm="l1"), "norm"),
    ],
)
def test_bad_arguments_raise_and_are_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
