"""Overlapping frames of waveforms, and checks of what they are cut by."""

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax.features import filters
from mgr_jax.ops.arrays import as_row
from mgr_jax.ops.frames import Framing, cut

PAD_MODES = ("constant", "reflect")


def frame(x: ArrayLike, *, frame_length: int, hop_length: int) -> jax.Array:
    """Return overlapping frames, `[..., T] -> [..., F, frame_length]` (`librosa.util.frame`).

    Frame `i` starts at sample `i * hop_length`; samples after the last whole frame are dropped.

    Raises:
      ValueError: a length is not positive, or `x` is shorter than a frame.
    """
    x = jnp.asarray(x)
    filters.require_positive(frame_length=frame_length, hop_length=hop_length)
    if x.ndim < 1:
        raise ValueError("x is a scalar; it must have shape [..., T]")
    if x.shape[-1] < frame_length:
        raise ValueError(f"x has {x.shape[-1]} samples, fewer than frame_length {frame_length}")
    return cut(x, frame_length=frame_length, hop_length=hop_length)


def checked(waveform: ArrayLike) -> jax.Array:
    """Return `waveform` as float32 `[..., T]`; raise ValueError unless it is floating point."""
    waveform = jnp.asarray(waveform)
    if waveform.ndim < 1 or waveform.shape[-1] == 0:
        raise ValueError(f"waveform has shape {waveform.shape}; it must be [..., T] with T > 0")
    if not jnp.issubdtype(waveform.dtype, jnp.floating):
        raise ValueError(f"waveform is {waveform.dtype}; scale it to floating point in [-1, 1]")
    return waveform.astype(jnp.float32)


def mask(lengths: ArrayLike, size: int) -> jax.Array:
    """Return which of `size` positions are below `lengths`, `[...] -> bool [..., size]`."""
    lengths = jnp.asarray(lengths)[..., None]
    return as_row(jnp.arange(size), lengths) < lengths


def checked_framing(
    waveform: jax.Array, n_fft: int, hop_length: int, center: bool, pad_mode: str
) -> Framing:
    """Return the `Framing` of these arguments; raise ValueError if one is out of its range."""
    filters.require_positive(n_fft=n_fft, hop_length=hop_length)
    if pad_mode not in PAD_MODES:
        raise ValueError(f"pad_mode is {pad_mode!r}; it must be one of {', '.join(PAD_MODES)}")
    if not center and waveform.shape[-1] < n_fft:
        raise ValueError(
            f"waveform has {waveform.shape[-1]} samples, fewer than n_fft ({n_fft});"
            " pad it or set center"
        )
    return Framing(n_fft, hop_length, center, pad_mode)
