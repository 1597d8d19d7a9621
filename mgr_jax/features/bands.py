"""Pool linear frequency bins to mel or log bands, for spectrograms computed elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.features import filters

SCALES = ("linear", "mel", "log")
# Points per bin at which a triangle is sampled, since narrow bands fall between two bins.
_POINTS = 16


def pool_bands(
    spectrogram: ArrayLike,
    *,
    scale: str,
    n_bands: int,
    sample_rate: float,
    n_fft: int,
    fmin: float = 0.0,
    fmax: float = 0.0,
) -> jax.Array:
    """Average the bins of each band, `[..., F, K] -> [..., F, n_bands]`.

    Unlike a filter bank on power, it averages the values themselves (decibels, say), which keep
    their scale. Bin k lies at `k * sample_rate / n_fft`.

    Args:
      scale: `linear` returns the input; bands are triangles, evenly spaced on the `mel` scale
        (HTK's formula) or in `log` frequency.
      fmin, fmax: range of the bands in Hz; `fmin` 0 is bin 1 with `log`, `fmax` 0 the last bin.

    Raises:
      ValueError: `scale` is unknown, `n_bands` not positive, or the range empty or outside.
    """
    spectrogram = jnp.asarray(spectrogram)
    if scale == "linear":
        return spectrogram
    bank = band_weights(
        scale, n_bands, spectrogram.shape[-1], float(sample_rate), n_fft, float(fmin), float(fmax)
    )
    return jnp.matmul(spectrogram, bank, precision="highest")


@functools.cache
def band_weights(
    scale: str,
    n_bands: int,
    num_bins: int,
    sample_rate: float,
    n_fft: int,
    fmin: float,
    fmax: float,
) -> np.ndarray:
    """Return the weights of `pool_bands`, float32 `[num_bins, n_bands]`; each band's sum to 1."""
    if scale not in ("mel", "log"):
        raise ValueError(f"scale is {scale!r}; it must be one of {', '.join(SCALES)}")
    if n_bands < 1:
        raise ValueError(f"n_bands is {n_bands}; it must be greater than 0")
    width = sample_rate / n_fft
    last = (num_bins - 1) * width
    low, high = fmin or (width if scale == "log" else 0.0), fmax or last
    if not 0 <= low < high <= last + width:
        raise ValueError(
            f"fmin {low} and fmax {high} Hz: the bins reach from 0 to {last:g} Hz; choose within"
        )
    warp = functools.partial(filters.hz_to_mel, htk=True) if scale == "mel" else np.log
    edges = np.linspace(warp(np.array(low)), warp(np.array(high)), n_bands + 2)
    position = np.minimum(np.arange(num_bins * _POINTS) / _POINTS, num_bins - 1)
    warped = warp(np.maximum(position * width, 1e-3))
    # Values between two bins are interpolated, so each point adds its weight to both.
    below = np.floor(position).astype(int)
    share = position - below
    above = np.minimum(below + 1, num_bins - 1)
    weights = np.zeros((num_bins, n_bands))
    for band, (start, middle, stop) in enumerate(
        zip(edges[:-2], edges[1:-1], edges[2:], strict=True)
    ):
        rise, fall = (warped - start) / (middle - start), (stop - warped) / (stop - middle)
        triangle = np.maximum(np.minimum(rise, fall), 0)
        np.add.at(weights[:, band], below, triangle * (1 - share))
        np.add.at(weights[:, band], above, triangle * share)
    total = weights.sum(axis=0)
    if (total == 0).any():
        raise ValueError(f"n_bands is {n_bands}: some bands lie between two bins; use fewer bands")
    weights = (weights / total).astype(np.float32)
    weights.setflags(write=False)
    return weights
