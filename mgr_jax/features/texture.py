"""Texture of a track: statistics of a log spectrogram and modulation spectra of its bands."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.features import descriptors, patches, spectral, summary

_MOMENTS = ("mean", "std", "skew", "kurtosis")


def texture(mel: ArrayLike, spectrogram: ArrayLike) -> jax.Array:
    """Return the texture vector of a track, `[..., F, M]` and `[..., F, K]` -> `[..., D]`.

    Moments of bands, cepstra and slopes, log-covariances of cepstra and of their slopes, modulation
    spectra, the autocorrelation of the onset strength, and moments of the cepstral energy of the
    linear bins, which separates harmonic from noisy sounds.

    Args:
      mel: log spectrogram in M >= 20 bands, F >= 124 frames. spectrogram: in K linear bins.
    """
    cepstra = spectral.cepstrum(mel, n_mfcc=20)
    slopes = descriptors.delta(cepstra, width=5)
    energy = cepstral_energy(spectrogram)
    parts = [
        summary.summarize(mel, statistics=_MOMENTS),
        summary.std(descriptors.delta(mel, width=5)),
        summary.summarize(cepstra, statistics=_MOMENTS),
        summary.std(slopes),
        modulation_spectrum(mel),
        modulation_spectrum(cepstra),
        onset_autocorrelation(mel),
        patches.log_covariance(cepstra),
        patches.log_covariance(slopes),
        summary.summarize(energy, statistics=_MOMENTS),
    ]
    return jnp.concatenate(parts, axis=-1)


def modulation_spectrum(
    frames: ArrayLike, *, num_frames: int = 124, num_bands: int = 12
) -> jax.Array:
    """Return the log modulation spectrum of each band, `[..., F, K] -> [..., num_bands' K]`.

    Mean magnitude spectrum along time of Hann windows of `num_frames`, half overlapping, each
    without its mean, in bands that widen towards high rates (bands without a bin are left out).

    Raises:
      ValueError: there are fewer than `num_frames` frames.
    """
    frames = jnp.asarray(frames)
    hop = num_frames // 2
    if frames.ndim < 2 or frames.shape[-2] < num_frames:
        raise ValueError(f"frames has shape {frames.shape}; it needs {num_frames} frames or more")
    hann = np.hanning(num_frames).astype(np.float32)
    hann = hann.reshape((1,) * (frames.ndim - 2) + (-1, 1))
    starts = range(0, frames.shape[-2] - num_frames + 1, hop)
    windows = [frames[..., start : start + num_frames, :] for start in starts]
    centred = [window - window.mean(axis=-2, keepdims=True) for window in windows]
    spectra = [jnp.abs(jnp.fft.rfft(window * hann, axis=-2)) for window in centred]
    magnitude = functools.reduce(jnp.add, spectra) / len(spectra)
    edges = np.unique(np.round(np.geomspace(1, magnitude.shape[-2], num_bands + 1)).astype(int))
    bands = [
        magnitude[..., start:stop, :].mean(axis=-2) for start, stop in itertools.pairwise(edges)
    ]
    return jnp.log(jnp.concatenate(bands, axis=-1) + 1e-3)


def onset_autocorrelation(bands: ArrayLike, *, num_lags: int = 63) -> jax.Array:
    """Return the onset strength's autocorrelation from lag 1, `[..., F, M] -> [..., num_lags]`.

    Onset strength is the mean over the bands of the increase from the previous frame.

    Raises:
      ValueError: there are not more than `num_lags` + 1 frames.
    """
    bands = jnp.asarray(bands)
    if bands.ndim < 2 or bands.shape[-2] < num_lags + 2:
        raise ValueError(f"bands has shape {bands.shape}; it needs over {num_lags + 1} frames")
    onset = jnp.maximum(jnp.diff(bands, axis=-2), 0).mean(axis=-1)
    onset = onset - onset.mean(axis=-1, keepdims=True)
    power = jnp.square(jnp.abs(jnp.fft.rfft(onset, 2 * onset.shape[-1], axis=-1)))
    correlation = jnp.fft.irfft(power, axis=-1)[..., : num_lags + 1]
    first = correlation[..., :1]
    return correlation[..., 1:] / jnp.where(first > 0, first, 1)


def cepstral_energy(spectrogram: ArrayLike, *, num_bands: int = 19) -> jax.Array:
    """Return the log energy of the DCT along frequency in B bands, `[..., F, K] -> [..., F, B]`."""
    spectrogram = jnp.asarray(spectrogram)
    size = spectrogram.shape[-1]
    energy = jnp.square(spectral.cepstrum(spectrogram, n_mfcc=size))
    edges = np.unique(np.geomspace(1, size, num_bands + 1).astype(int))
    bands = [energy[..., start:stop].mean(axis=-1) for start, stop in itertools.pairwise(edges)]
    return jnp.log(jnp.stack(bands, axis=-1) + 1e-6)
