"""One-number-per-frame descriptors and deltas, as librosa computes them.

They take a spectrogram `[..., F, K]` (magnitude unless stated otherwise, not negative) or a
waveform `[..., T]`, with any leading batch dimensions, and give `[..., F]` where librosa gives
`[..., 1, F]`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax import ops
from mgr_jax.features import filters, framing
from mgr_jax.features.decibels import safe_power
from mgr_jax.ops.arrays import as_row
from mgr_jax.ops.frames import pad

DELTA_MODES = {"nearest": "edge", "mirror": "reflect", "constant": "constant", "wrap": "wrap"}


def spectral_centroid(spectrogram: ArrayLike, *, sample_rate: float) -> jax.Array:
    """Return the mean frequency in Hz, `[..., F, K] -> [..., F]`, 0 where a frame is silent.

    `librosa.feature.spectral_centroid`. The FFT length is taken to be 2 (K - 1).
    """
    spectrogram = checked(spectrogram)
    shares = normalized(spectrogram, 1)
    return jnp.matmul(shares, frequencies(spectrogram, sample_rate), precision="highest")


def spectral_bandwidth(
    spectrogram: ArrayLike,
    *,
    sample_rate: float,
    centroid: ArrayLike | None = None,
    p: float = 2.0,
    norm: bool = True,
) -> jax.Array:
    """Return the order-p deviation from the centroid in Hz, `[..., F, K] -> [..., F]`.

    `librosa.feature.spectral_bandwidth`.

    Args:
      centroid: `[..., F]` in Hz; None computes it.
      norm: whether a frame's bins are scaled to sum to one.

    Raises:
      ValueError: `p` is not positive.
    """
    spectrogram = checked(spectrogram)
    filters.require_positive(p=p)
    if centroid is None:
        centroid = spectral_centroid(spectrogram, sample_rate=sample_rate)
    bins = as_row(frequencies(spectrogram, sample_rate), spectrogram)
    deviation = jnp.abs(bins - jnp.asarray(centroid)[..., None])
    weights = normalized(spectrogram, 1) if norm else spectrogram
    return safe_power(jnp.sum(weights * deviation**p, axis=-1), 1 / p)


def spectral_rolloff(
    spectrogram: ArrayLike, *, sample_rate: float, roll_percent: float = 0.85
) -> jax.Array:
    """Return the frequency in Hz below which `roll_percent` of a frame's magnitude lies.

    `[..., F, K] -> [..., F]`, `librosa.feature.spectral_rolloff`. Where the cumulative sum meets
    the threshold within rounding, the result may differ from librosa's by one bin.

    Raises:
      ValueError: `roll_percent` is not between 0 and 1.
    """
    spectrogram = checked(spectrogram)
    if not 0 < roll_percent < 1:
        raise ValueError(f"roll_percent is {roll_percent}; it must lie between 0 and 1")
    total = jnp.cumsum(spectrogram, axis=-1)
    reached = total >= roll_percent * total[..., -1:]
    return jnp.asarray(frequencies(spectrogram, sample_rate))[jnp.argmax(reached, axis=-1)]


def spectral_flatness(
    spectrogram: ArrayLike, *, amin: float = 1e-10, power: float = 2.0
) -> jax.Array:
    """Return the geometric over the arithmetic mean of each frame, in (0, 1].

    `[..., F, K] -> [..., F]`, `librosa.feature.spectral_flatness`.

    Args:
      amin: smaller values are raised to it. power: exponent applied to the magnitudes first.
    """
    spectrogram = checked(spectrogram)
    filters.require_positive(amin=amin, power=power)
    values = jnp.maximum(safe_power(spectrogram, power), amin)
    return jnp.exp(jnp.mean(jnp.log(values), axis=-1)) / jnp.mean(values, axis=-1)


def zero_crossing_rate(
    waveform: ArrayLike,
    *,
    frame_length: int = 2048,
    hop_length: int = 512,
    center: bool = True,
    threshold: float = 1e-10,
) -> jax.Array:
    """Return the share of a frame's samples at which the sign changes, `[..., T] -> [..., F]`.

    `librosa.feature.zero_crossing_rate`.

    Args:
      center: pads the ends by half a frame with the edge values.
      threshold: samples within it of 0 count as 0, which is positive.
    """
    filters.require_positive(frame_length=frame_length)
    waveform = framing.checked(waveform)
    framing.checked_framing(waveform, frame_length, hop_length, center, "constant")
    if not threshold >= 0:
        raise ValueError(f"threshold is {threshold}; it must be 0 or more")
    if center:
        waveform = pad(waveform, frame_length // 2, frame_length // 2, "edge")
    negative = waveform < -threshold
    crossings = negative[..., 1:] != negative[..., :-1]
    count = jnp.cumsum(crossings, axis=-1, dtype=jnp.int32)
    count = jnp.concatenate([jnp.zeros_like(count[..., :1]), count], axis=-1)
    starts = np.arange(1 + (waveform.shape[-1] - frame_length) // hop_length) * hop_length
    within = count[..., starts + frame_length - 1] - count[..., starts]
    return within.astype(jnp.float32) / frame_length


def rms(
    waveform: ArrayLike,
    *,
    frame_length: int = 2048,
    hop_length: int = 512,
    center: bool = True,
    pad_mode: str = "constant",
) -> jax.Array:
    """Return the root mean square of each frame, `[..., T] -> [..., F]` (`librosa.feature.rms`)."""
    filters.require_positive(frame_length=frame_length)
    waveform = framing.checked(waveform)
    cut = framing.checked_framing(waveform, frame_length, hop_length, center, pad_mode)
    return safe_power(jnp.mean(jnp.square(ops.frames(waveform, cut)), axis=-1), 0.5)


def delta(
    features: ArrayLike, *, width: int = 9, order: int = 1, mode: str = "interp"
) -> jax.Array:
    """Return the local slope along time, `[..., F, K] -> [..., F, K]` (`librosa.feature.delta`).

    A polynomial of degree `order` is fitted to every `width` frames (Savitzky-Golay); its
    `order`-th derivative is the result, so that `order=2` is the delta-delta.

    Args:
      mode: padding at the ends: `interp` repeats the first and last fit; `nearest`,
        `mirror`, `constant` (zeros) and `wrap` extend the features.

    Raises:
      ValueError: `width` is not odd, 3 or more, above `order`, at most F with `interp`; `order`
        is not positive; `mode` is unknown.
    """
    features = checked(features, "features")
    if width < 3 or width % 2 == 0:
        raise ValueError(f"width is {width}; it must be an odd number of frames, 3 or more")
    if not 0 < order < width:
        raise ValueError(f"order is {order}; it must be in 1..width-1 ({width - 1})")
    if mode != "interp" and mode not in DELTA_MODES:
        raise ValueError(f"mode is {mode!r}; it must be interp or one of {list(DELTA_MODES)}")
    if mode == "interp" and features.shape[-2] < width:
        raise ValueError(f"width is {width}; it must not exceed the {features.shape[-2]} frames")
    half = width // 2
    positions = np.arange(-half, half + 1.0)
    fit = np.linalg.pinv(np.vander(positions, order + 1, increasing=True))
    weights = (math.factorial(order) * fit[order]).astype(np.float32)
    ends = [(0, 0)] * (features.ndim - 2) + [(half, half), (0, 0)]
    if mode != "interp":
        features = jnp.pad(features, ends, mode=DELTA_MODES[mode])
    count = features.shape[-2] - width + 1
    slope = weights[0] * features[..., :count, :]
    for i in range(1, width):
        slope += weights[i] * features[..., i : i + count, :]
    return jnp.pad(slope, ends, mode="edge") if mode == "interp" else slope


def checked(values: ArrayLike, name: str = "spectrogram") -> jax.Array:
    """Return `values` as float32 `[..., F, K]`; raise ValueError unless they are floating point."""
    values = jnp.asarray(values)
    if values.ndim < 2:
        raise ValueError(f"{name} has shape {values.shape}; it must be [..., F, K]")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"{name} is {values.dtype}; it must be real and floating point")
    return values.astype(jnp.float32)


def frequencies(spectrogram: jax.Array, sample_rate: float) -> np.ndarray:
    """Return the frequency in Hz of each bin of `[..., F, K]`, `[K]`."""
    filters.require_positive(sample_rate=sample_rate)
    n_fft = 2 * (spectrogram.shape[-1] - 1)
    return filters.fft_frequencies(sample_rate=sample_rate, n_fft=n_fft).astype(np.float32)


def normalized(values: jax.Array, norm: str | float) -> jax.Array:
    """Divide by the norm along the last axis: `max`, 1 (sum) or 2 (Euclidean); 0 where it is 0."""
    if norm == "max":
        size = jnp.max(jnp.abs(values), axis=-1, keepdims=True)
    elif norm == 1:
        size = jnp.sum(jnp.abs(values), axis=-1, keepdims=True)
    else:
        size = safe_power(jnp.sum(jnp.square(values), axis=-1, keepdims=True), 0.5)
    return values / jnp.where(size < np.finfo(np.float32).tiny, 1.0, size)
