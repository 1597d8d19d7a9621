"""Augmentation: pure functions `fn(key, x, ...)` of a batch that keep its shape and dtype.

Every example draws from `fold_in(key, row)`. With `key = fold_in(key, step)` and `rows` the
positions in the global batch, the draws do not depend on how the rows are sharded over devices.
Two functions applied in a row need two keys. At strength 0 (`max_db`, `probability`, `alpha`,
... = 0) each returns its input.

Waveforms are `[B, T]`, spectrograms `[B, F, M]`. Bad arguments raise ValueError.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax.features.filters import require_positive

# Positions of the examples in the global batch, int [B]; None counts them from 0.
Rows = ArrayLike | None

# The policies of the SpecAugment paper (arXiv 1904.08779, table 1), as options of `spec_augment`.
_POLICY = ("max_warp", "bins", "bin_masks", "frames", "frame_masks", "max_share")
SPEC_AUGMENT = {
    "LB": dict(zip(_POLICY, (80, 27, 1, 100, 1, 1.0), strict=True)),
    "LD": dict(zip(_POLICY, (80, 27, 2, 100, 2, 1.0), strict=True)),
    "SM": dict(zip(_POLICY, (40, 15, 2, 70, 2, 0.2), strict=True)),
    "SS": dict(zip(_POLICY, (40, 27, 2, 70, 2, 0.2), strict=True)),
}


def random_crop(key: jax.Array, x: ArrayLike, *, length: int, rows: Rows = None) -> jax.Array:
    """Crop a window at a random position, `[B, T, ...] -> [B, length, ...]`."""
    x = checked_batch(x)
    if not 0 < length <= x.shape[1]:
        raise ValueError(f"length is {length}; it must be in 1..{x.shape[1]}")

    def crop(key, x):
        start = jax.random.randint(key, (), 0, x.shape[0] - length + 1)
        return jax.lax.dynamic_slice_in_dim(x, start, length)

    return _each(crop, key, x, rows)


def gain(key: jax.Array, x: ArrayLike, *, max_db: float, rows: Rows = None) -> jax.Array:
    """Change the level by a gain drawn uniformly from -max_db to `max_db` decibels, `[B, ...]`."""
    _not_negative(max_db=max_db)

    def scale(key, x):
        decibels = jax.random.uniform(key, minval=-max_db, maxval=max_db)
        return x * 10 ** (decibels / 20)

    return _each(scale, key, x, rows)


def polarity(
    key: jax.Array, x: ArrayLike, *, probability: float = 0.5, rows: Rows = None
) -> jax.Array:
    """Flip the sign of each example with `probability`, `[B, ...]`."""
    _share(probability=probability)
    return _each(lambda key, x: _maybe(key, probability, -x, x), key, x, rows)


def time_shift(key: jax.Array, x: ArrayLike, *, max_shift: int, rows: Rows = None) -> jax.Array:
    """Rotate `[B, T, ...]` along T by up to `max_shift` samples or frames in either direction."""
    _not_negative(max_shift=max_shift)

    def shift(key, x):
        return jnp.roll(x, jax.random.randint(key, (), -max_shift, max_shift + 1), axis=0)

    return _each(shift, key, x, rows)


def noise(
    key: jax.Array,
    x: ArrayLike,
    *,
    min_snr_db: float,
    max_snr_db: float,
    probability: float = 1.0,
    rows: Rows = None,
) -> jax.Array:
    """Add white noise at a signal-to-noise ratio drawn uniformly in decibels, `[B, ...]`.

    The ratio is one of mean squares over the example, so that silence stays silent.
    """
    _share(probability=probability)
    _ordered(min_snr_db=min_snr_db, max_snr_db=max_snr_db)

    def add(key, x):
        key_choice, key_level, key_noise = jax.random.split(key, 3)
        white = jax.random.normal(key_noise, x.shape)
        snr = jax.random.uniform(key_level, minval=min_snr_db, maxval=max_snr_db)
        ratio = jnp.mean(jnp.square(x)) / jnp.mean(jnp.square(white))
        return _maybe(key_choice, probability, x + white * jnp.sqrt(ratio * 10 ** (-snr / 10)), x)

    return _each(add, key, x, rows)


def low_pass(
    key: jax.Array,
    x: ArrayLike,
    *,
    sample_rate: float,
    min_hz: float,
    max_hz: float,
    probability: float = 1.0,
    rows: Rows = None,
) -> jax.Array:
    """Attenuate frequencies above a random cut-off by 12 dB per octave, `[B, T]`.

    The cut-off is uniform on a log scale. The filter has the magnitude of a second-order
    Butterworth and zero phase; it is applied by FFT, hence circular over the example.
    """
    return _filter(key, x, rows, probability, sample_rate, min_hz, max_hz)


def high_pass(
    key: jax.Array, x: ArrayLike, *, probability: float = 1.0, rows: Rows = None, **band: float
) -> jax.Array:
    """Attenuate frequencies below a random cut-off; `band` has the other options of `low_pass`."""
    return _filter(key, x, rows, probability, side=-1, **band)


def spec_augment(
    key: jax.Array,
    x: ArrayLike,
    *,
    max_warp: int = 0,
    bins: int = 27,
    bin_masks: int = 1,
    frames: int = 100,
    frame_masks: int = 1,
    max_share: float = 1.0,
    rows: Rows = None,
) -> jax.Array:
    """Apply SpecAugment (Park et al. 2019, arXiv 1904.08779) to `[B, F, M]`.

    The frames are warped in time, then masks of bins and of frames are set to the example's
    mean. `SPEC_AUGMENT` holds the paper's policies.

    Args:
      max_warp: largest time shift in frames (W) of a random point, at least this far from the
        ends; the frames on both sides are stretched linearly. Short clips are not warped.
      bins, bin_masks: largest width (F) and number of the masks of bins.
      frames, frame_masks: largest width (T) and number of the masks of frames.
      max_share: largest width of a mask of frames as a share of all frames (p).
    """
    x = checked_batch(x)
    if x.ndim != 3:
        raise ValueError(f"x has shape {x.shape}; it must be [B, F, M]")
    _not_negative(
        max_warp=max_warp, bins=bins, bin_masks=bin_masks, frames=frames, frame_masks=frame_masks
    )
    _share(max_share=max_share)
    widest = min(frames, int(max_share * x.shape[1]))

    def augment(key, x):
        key_warp, key_bins, key_frames = jax.random.split(key, 3)
        x = _warp(key_warp, x, max_warp)
        masked_bins = _masks(key_bins, x.shape[1], bins, bin_masks)
        masked_frames = _masks(key_frames, x.shape[0], widest, frame_masks)
        return jnp.where(masked_frames[:, None] | masked_bins[None], jnp.mean(x), x)

    return _each(augment, key, x, rows)


def mixup(
    key: jax.Array,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    alpha: float = 0.2,
    rows: Rows = None,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return `x` and `targets`, mixed (Zhang et al. 2018, arXiv 1710.09412).

    Each example is mixed with the next one of the batch; its own weight is drawn from
    Beta(alpha, alpha).

    Args:
      x: `[B, ...]`. targets: `[B, C]` class probabilities.
      axis_name: mapped axis over which the batch is sharded, if any: a device's last example is
        then mixed with the next device's first.
    """
    x, targets = checked_batch(x), checked_batch(targets)
    _not_negative(alpha=alpha)
    if targets.ndim != 2 or targets.shape[0] != x.shape[0]:
        raise ValueError(f"targets has shape {targets.shape}; it must be [{x.shape[0]}, C]")
    if alpha == 0:
        return x, targets
    weight = jax.vmap(lambda key: jax.random.beta(key, alpha, alpha))(row_keys(key, x, rows))

    def following(values):
        if axis_name is None:
            return jnp.roll(values, -1, axis=0)
        size = jax.lax.axis_size(axis_name)
        ring = [(device, (device - 1) % size) for device in range(size)]
        return jnp.concatenate([values[1:], jax.lax.ppermute(values[:1], axis_name, ring)])

    def mix(values):
        own = weight.reshape(-1, *(1,) * (values.ndim - 1))
        return (own * values + (1 - own) * following(values)).astype(values.dtype)

    return mix(x), mix(targets)


def row_keys(key: jax.Array, x: jax.Array, rows: Rows) -> jax.Array:
    """Return a key for each example of `x` [B, ...], folded from its row in the global batch, [B].

    Raises:
      ValueError: if `rows` has another length.
    """
    rows = jnp.arange(x.shape[0]) if rows is None else jnp.asarray(rows)
    if rows.shape != x.shape[:1]:
        raise ValueError(f"rows has shape {rows.shape}; it must be ({x.shape[0]},)")
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def _each(function: Callable, key: jax.Array, x: ArrayLike, rows: Rows) -> jax.Array:
    """Apply `function` of a key and an example, in float32 or better, to every example."""
    x = checked_batch(x)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jax.vmap(function)(row_keys(key, x, rows), wide).astype(x.dtype)


def _maybe(key: jax.Array, probability: float, changed: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.where(jax.random.uniform(key) < probability, changed, x)


def _filter(key, x, rows, probability, sample_rate, min_hz, max_hz, *, side=1):
    x = checked_batch(x)
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}; it must be [B, T]")
    _share(probability=probability)
    require_positive(sample_rate=sample_rate, min_hz=min_hz)
    _ordered(min_hz=min_hz, max_hz=max_hz)
    frequencies = jnp.fft.rfftfreq(x.shape[1], 1 / sample_rate)

    def damp(key, x):
        key_choice, key_cut = jax.random.split(key)
        cut = jax.random.uniform(key_cut, minval=jnp.log(min_hz), maxval=jnp.log(max_hz))
        # The bound keeps the high-pass finite at frequency 0.
        ratio = jnp.maximum(frequencies / jnp.exp(cut), 1e-6) ** (4 * side)
        filtered = jnp.fft.irfft(jnp.fft.rfft(x) / jnp.sqrt(1 + ratio), n=x.shape[0])
        return _maybe(key_choice, probability, filtered, x)

    return _each(damp, key, x, rows)


def _warp(key: jax.Array, x: jax.Array, max_warp: int) -> jax.Array:
    count = x.shape[0]
    if max_warp == 0 or count <= 2 * max_warp + 1:
        return x
    key_point, key_distance = jax.random.split(key)
    point = jax.random.randint(key_point, (), max_warp, count - max_warp).astype(jnp.float32)
    target = point + jax.random.uniform(key_distance, minval=-max_warp, maxval=max_warp)
    last = count - 1.0
    frames = jnp.arange(count, dtype=jnp.float32)
    source = jnp.where(
        frames <= target,
        frames * point / jnp.maximum(target, 1e-6),
        last - (last - frames) * (last - point) / jnp.maximum(last - target, 1e-6),
    )
    source = jnp.clip(source, 0.0, last)
    below = jnp.floor(source).astype(jnp.int32)
    share = (source - below)[:, None]
    return x[below] * (1 - share) + x[jnp.minimum(below + 1, count - 1)] * share


def _masks(key: jax.Array, size: int, widest: int, count: int) -> jax.Array:
    """Return the union `[size]` of `count` random masks, each of a width up to `widest`."""
    key_width, key_start = jax.random.split(key)
    width = jax.random.randint(key_width, (count,), 0, min(widest, size) + 1)
    start = jax.random.randint(key_start, (count,), 0, size - width + 1)
    position = jnp.arange(size)[:, None]
    return jnp.any((position >= start[None]) & (position < (start + width)[None]), axis=1)


def checked_batch(x: ArrayLike) -> jax.Array:
    """Return `x` as an array; raise ValueError unless it is a batch [B, ...] of floating point."""
    x = jnp.asarray(x)
    if x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"x is {x.dtype} of shape {x.shape}; it must be a batch [B, ...] of floating point"
        )
    return x


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} is {value}; it must be 0 or more")


def _share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it must be in 0..1")


def _ordered(**values: float) -> None:
    (low, low_value), (high, high_value) = values.items()
    if not low_value <= high_value:
        raise ValueError(f"{low} is {low_value}; it must not exceed {high} ({high_value})")
