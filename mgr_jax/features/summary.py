"""Summarise frames by statistics over time, `[..., F, K] -> [..., D]`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.features import chroma, descriptors, framing, spectral
from mgr_jax.features.decibels import safe_power

KAGGLE_DESCRIPTORS = (
    "chroma_stft",
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "rolloff",
    "zero_crossing_rate",
)
KAGGLE_COLUMNS = tuple(
    f"{name}_{statistic}"
    for name in (*KAGGLE_DESCRIPTORS, *(f"mfcc{i}" for i in range(1, 21)))
    for statistic in ("mean", "var")
)


def mean_covariance(frames: ArrayLike, num_frames: ArrayLike | None = None) -> jax.Array:
    """Return mean vector and covariance of the frames, `[..., F, K] -> [..., K + K (K + 1) / 2]`.

    The K means, then the upper triangle of the covariance (`numpy.cov`, F - 1 in the
    denominator) row by row. 14 MFCCs give 14 + 105 = 119 values.

    Args:
      num_frames: `[...]`, how many frames count, from the first; None: all do. The covariance of a
        single one is 0.

    Raises:
      ValueError: there are fewer than two frames.
    """
    frames = _checked(frames, fewest=2)
    if num_frames is None:
        mean, centred = _centred(frames)
        degrees = frames.shape[-2] - 1
    else:
        valid = framing.mask(num_frames, frames.shape[-2])[..., None]
        count = jnp.maximum(jnp.asarray(num_frames), 1)[..., None]
        mean = jnp.sum(jnp.where(valid, frames, 0.0), axis=-2) / count
        centred = jnp.where(valid, frames - mean[..., None, :], 0.0)
        degrees = jnp.maximum(count - 1, 1)
    products = jnp.einsum("...fi,...fj->...ij", centred, centred, precision="highest")
    rows, columns = np.triu_indices(frames.shape[-1])
    return jnp.concatenate([mean, products[..., rows, columns] / degrees], axis=-1)


def mean(frames: ArrayLike) -> jax.Array:
    """Return the mean over the frames, `[..., F, K] -> [..., K]`."""
    return jnp.mean(_checked(frames), axis=-2)


def std(frames: ArrayLike) -> jax.Array:
    """Return the standard deviation over the frames (divided by F), `[..., F, K] -> [..., K]`."""
    return safe_power(jnp.mean(jnp.square(_centred(_checked(frames))[1]), axis=-2), 0.5)


def minimum(frames: ArrayLike) -> jax.Array:
    """Return the minimum over the frames, `[..., F, K] -> [..., K]`."""
    return jnp.min(_checked(frames), axis=-2)


def maximum(frames: ArrayLike) -> jax.Array:
    """Return the maximum over the frames, `[..., F, K] -> [..., K]`."""
    return jnp.max(_checked(frames), axis=-2)


def skew(frames: ArrayLike) -> jax.Array:
    """Return the skewness over the frames, biased (`scipy.stats.skew`), 0 for a constant.

    `[..., F, K] -> [..., K]`.
    """
    return jnp.mean(_standardized(frames) ** 3, axis=-2)


def kurtosis(frames: ArrayLike) -> jax.Array:
    """Return the excess kurtosis, biased (`scipy.stats.kurtosis`), -3 for a constant.

    `[..., F, K] -> [..., K]`.
    """
    return jnp.mean(_standardized(frames) ** 4, axis=-2) - 3


def percentiles(frames: ArrayLike, *, q: Sequence[float] = (25, 50, 75)) -> jax.Array:
    """Return interpolated percentiles over the frames, `[..., F, K] -> [..., len(q) * K]`.

    All K of the first percentile come first (`numpy.percentile`).

    Raises:
      ValueError: a percentile is not in 0..100.
    """
    frames = _checked(frames)
    if not len(q) or not all(0 <= value <= 100 for value in q):
        raise ValueError(f"q is {q}; it must hold percentiles in 0..100")
    values = jnp.percentile(frames, jnp.asarray(q, jnp.float32), axis=-2)
    return jnp.concatenate(list(values), axis=-1)


STATISTICS = {
    "mean": mean,
    "std": std,
    "min": minimum,
    "max": maximum,
    "skew": skew,
    "kurtosis": kurtosis,
    "percentiles": percentiles,
    "mean_covariance": mean_covariance,
}


def summarize(frames: ArrayLike, *, statistics: Sequence[str] = ("mean", "std")) -> jax.Array:
    """Return the named statistics, concatenated, `[..., F, K] -> [..., D]`.

    Raises:
      ValueError: a name is not in `STATISTICS`.
    """
    unknown = [name for name in statistics if name not in STATISTICS]
    if unknown or not statistics:
        raise ValueError(f"statistics {unknown or 'are empty'}; choose from {list(STATISTICS)}")
    return jnp.concatenate([STATISTICS[name](frames) for name in statistics], axis=-1)


def kaggle_vector(waveform: ArrayLike, *, sample_rate: float = 22050) -> jax.Array:
    """Return the columns `KAGGLE_COLUMNS` of the GTZAN table on Kaggle, `[..., T] -> [..., 52]`.

    Mean and variance of each descriptor and of 20 MFCCs, by librosa's defaults (n_fft 2048, hop
    512). Of the table's 57 values, those of harmony, perceptr and tempo are left out.
    """
    waveform = framing.checked(waveform)
    magnitude = spectral.spectrogram(waveform, power=1.0)
    series = [
        chroma.chroma_stft(jnp.square(magnitude), sample_rate=sample_rate),
        descriptors.rms(waveform),
        descriptors.spectral_centroid(magnitude, sample_rate=sample_rate),
        descriptors.spectral_bandwidth(magnitude, sample_rate=sample_rate),
        descriptors.spectral_rolloff(magnitude, sample_rate=sample_rate),
        descriptors.zero_crossing_rate(waveform),
    ]
    flat = [series[0].reshape(*series[0].shape[:-2], -1), *series[1:]]
    moments = [moment(x, axis=-1) for x in flat for moment in (jnp.mean, jnp.var)]
    cepstra = spectral.mfcc(waveform, sample_rate=sample_rate, n_mfcc=20)
    pairs = jnp.stack([mean(cepstra), jnp.square(std(cepstra))], axis=-1)
    return jnp.concatenate(
        [jnp.stack(moments, axis=-1), pairs.reshape(*pairs.shape[:-2], -1)], axis=-1
    )


def _checked(frames: ArrayLike, fewest: int = 1) -> jax.Array:
    frames = jnp.asarray(frames)
    if frames.ndim < 2 or frames.shape[-2] < fewest:
        raise ValueError(
            f"frames has shape {frames.shape}; it must be [..., F, K] with F >= {fewest}"
        )
    return frames.astype(jnp.float32)


def _centred(frames: jax.Array) -> tuple[jax.Array, jax.Array]:
    average = jnp.mean(frames, axis=-2)
    return average, frames - average[..., None, :]


def _standardized(frames: ArrayLike) -> jax.Array:
    centred = _centred(_checked(frames))[1]
    deviation = safe_power(jnp.mean(jnp.square(centred), axis=-2, keepdims=True), 0.5)
    return centred / jnp.where(deviation == 0, 1.0, deviation)
