"""Energy in pitch classes, and the tuning of a recording, as librosa computes them."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.features import descriptors, filters

NORMS = ("max", 1, 2, None)


def chroma_stft(
    spectrogram: ArrayLike,
    *,
    sample_rate: float,
    n_chroma: int = 12,
    tuning: float | None = None,
    norm: str | float | None = "max",
    **bank_options,
) -> jax.Array:
    """Return the energy in each pitch class, `[..., F, K] -> [..., F, n_chroma]`.

    `librosa.feature.chroma_stft(S=...)`.

    Args:
      spectrogram: power spectrogram.
      tuning: deviation from A440 in chroma bins; None estimates it for every clip.
      norm: a frame is divided by its `max`, its sum (1), its Euclidean norm (2), or not (None).
      bank_options: `ctroct`, `octwidth` and `base_c` of `filters.chroma_filter_bank`.

    Raises:
      ValueError: an argument is out of its range.
    """
    spectrogram = descriptors.checked(spectrogram)
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}; it must be one of {NORMS}")
    shift: Any = tuning
    if tuning is None:
        shift = estimate_tuning(spectrogram, sample_rate=sample_rate, bins_per_octave=n_chroma)
    bank = filters.chroma_filter_bank(
        sample_rate=sample_rate,
        n_fft=2 * (spectrogram.shape[-1] - 1),
        n_chroma=n_chroma,
        tuning=shift,
        **bank_options,
    )
    raw = jnp.einsum("...fk,...ck->...fc", spectrogram, bank, precision="highest")
    return raw if norm is None else descriptors.normalized(raw, norm)


def estimate_tuning(
    spectrogram: ArrayLike,
    *,
    sample_rate: float,
    resolution: float = 0.01,
    bins_per_octave: int = 12,
) -> jax.Array:
    """Estimate the deviation from A440 in chroma bins, `[..., F, K] -> [...]`, in [-0.5, 0.5).

    `librosa.estimate_tuning(S=...)`: the mode, in steps of `resolution`, of the interpolated
    spectral peaks between 150 and 4000 Hz that reach the median peak; 0 where there is no peak.
    The result is a discontinuous function of the spectrogram.

    Raises:
      ValueError: `resolution` is not between 0 and 1.
    """
    spectrogram = descriptors.checked(spectrogram)
    filters.require_positive(sample_rate=sample_rate, bins_per_octave=bins_per_octave)
    if not 0 < resolution < 1:
        raise ValueError(f"resolution is {resolution}; it must lie between 0 and 1")
    return _tuning_mode(
        spectrogram,
        sample_rate=sample_rate,
        resolution=resolution,
        bins_per_octave=bins_per_octave,
    )


@functools.partial(jax.jit, static_argnames=("bins_per_octave", "resolution", "sample_rate"))
def _tuning_mode(spectrogram, *, sample_rate, resolution, bins_per_octave):
    steps = jnp.linspace(-0.5, 0.5, math.ceil(1 / resolution) + 1)
    bins = descriptors.frequencies(spectrogram, sample_rate)
    band = np.flatnonzero((bins >= 150) & (bins < min(4000, sample_rate / 2)))
    band = band[(band > 0) & (band < len(bins) - 1)]
    if band.size == 0:
        return jnp.zeros(spectrogram.shape[:-2])
    low, high = int(band[0]), int(band[-1]) + 1

    def one(clip):
        loud = jnp.where(clip > 0.1 * jnp.max(clip, axis=-1, keepdims=True), clip, 0)
        peak = (loud[:, low:high] > loud[:, low - 1 : high - 1]) & (
            loud[:, low:high] >= loud[:, low + 1 : high + 1]
        )
        below, center, above = (clip[:, low + i : high + i] for i in (-1, 0, 1))
        slope, bend = (above - below) / 2, above + below - 2 * center
        flat = jnp.abs(slope) >= jnp.abs(bend)
        shift = jnp.where(flat, 0.0, -slope / jnp.where(flat, 1.0, bend))
        pitch = (jnp.asarray(band, jnp.float32)[None] + shift) * bins[1]
        height = center + 0.5 * slope * shift
        counted = peak & (height >= jnp.nanmedian(jnp.where(peak, height, jnp.nan)))
        offset = jnp.mod(bins_per_octave * jnp.log2(jnp.where(peak, pitch, 440.0) / 27.5), 1.0)
        offset = jnp.where(offset >= 0.5, offset - 1, offset)
        counts, _ = jnp.histogram(
            offset.ravel(), steps, weights=counted.ravel().astype(jnp.float32)
        )
        return jnp.where(jnp.any(counted), steps[jnp.argmax(counts)], 0.0)

    return jnp.vectorize(one, signature="(f,k)->()")(spectrogram)
