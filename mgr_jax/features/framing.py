"""Cut waveforms into overlapping frames, and map functions over frames block by block.

A batch of frames is far larger than its waveforms: written out whole, it exceeds the cache and
faults in new pages. On CPU the frames are therefore made and consumed in blocks of a few hundred,
which makes the mel spectrogram fast.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.features import filters

PAD_MODES = ("constant", "reflect")
BLOCK_SAMPLES = 2**19


class Framing(NamedTuple):
    """Samples per frame, samples between frames, and the padding of the ends."""

    n_fft: int
    hop_length: int
    center: bool
    pad_mode: str


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
    count = 1 + (x.shape[-1] - frame_length) // hop_length
    parts = -(-frame_length // hop_length)
    if parts > 64:
        return x[..., hop_length * np.arange(count)[:, None] + np.arange(frame_length)]
    # Copies of whole hops instead of a gather, which is several times slower on CPU.
    rows = count + parts - 1
    missing = max(0, rows * hop_length - x.shape[-1])
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])[..., : rows * hop_length]
    x = x.reshape(*x.shape[:-1], rows, hop_length)
    pieces = [x[..., i : i + count, :] for i in range(parts)]
    return jnp.concatenate(pieces, axis=-1)[..., :frame_length]


def checked(waveform: ArrayLike) -> jax.Array:
    """Return `waveform` as float32 `[..., T]`; raise ValueError unless it is floating point."""
    waveform = jnp.asarray(waveform)
    if waveform.ndim < 1 or waveform.shape[-1] == 0:
        raise ValueError(f"waveform has shape {waveform.shape}; it must be [..., T] with T > 0")
    if not jnp.issubdtype(waveform.dtype, jnp.floating):
        raise ValueError(f"waveform is {waveform.dtype}; scale it to floating point in [-1, 1]")
    return waveform.astype(jnp.float32)


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


def frames(waveform: jax.Array, framing: Framing) -> jax.Array:
    """Return all frames, `[..., T] -> [..., F, n_fft]`, padded by `n_fft // 2` if centred."""
    half = framing.n_fft // 2 if framing.center else 0
    waveform = _pad(waveform, half, half, framing.pad_mode)
    return frame(waveform, frame_length=framing.n_fft, hop_length=framing.hop_length)


def map_frames(
    function: Callable[[jax.Array], jax.Array],
    waveform: jax.Array,
    framing: Framing,
    *,
    block_samples: int = BLOCK_SAMPLES,
) -> jax.Array:
    """Return `function(frames(waveform, framing))`, computed in blocks of frames on CPU.

    Args:
      function: `[..., F, n_fft] -> [..., F, K]`, which treats each frame independently.
      waveform: `[..., T]`. Blocks run along time, so that a batch may be sharded over devices.
      block_samples: approximate number of samples in a block of frames, over the whole batch.
    """
    return jax.lax.platform_dependent(
        waveform,
        cpu=functools.partial(_in_blocks, function, framing=framing, block_samples=block_samples),
        default=lambda waveform: function(frames(waveform, framing)),
    )


def _in_blocks(function, waveform, *, framing, block_samples):
    n_fft, hop_length, center, pad_mode = framing
    batch, samples = waveform.shape[:-1], waveform.shape[-1]
    half = n_fft // 2 if center else 0
    # A batch of unknown size (jax.export) is taken to be 16.
    clips = math.prod(batch) if all(isinstance(size, int) for size in batch) else 16
    length = max(1, block_samples // (n_fft * max(clips, 1)))
    # Frames that lie inside the waveform need no padding, hence no padded copy of it.
    first = -(-half // hop_length)
    inside = (samples - n_fft - first * hop_length + half) // hop_length + 1
    if inside < 2 * length:
        return function(frames(waveform, framing))
    total = 1 + (samples + 2 * half - n_fft) // hop_length
    pieces = []
    if first:
        head = waveform[..., : max((first - 1) * hop_length - half + n_fft, half + 1)]
        head = frame(_pad(head, half, 0, pad_mode), frame_length=n_fft, hop_length=hop_length)
        pieces.append(function(head[..., :first, :]))
    starts = np.arange(-(-inside // length)) * length
    starts[-1] = inside - length
    span = (length - 1) * hop_length + n_fft

    def block(start):
        begin = first * hop_length - half + start * hop_length
        piece = jax.lax.dynamic_slice_in_dim(waveform, begin, span, axis=-1)
        return function(frame(piece, frame_length=n_fft, hop_length=hop_length))

    blocks = jax.lax.map(block, jnp.asarray(starts, jnp.int32))
    body = jnp.moveaxis(blocks[:-1], 0, -3)
    pieces.append(body.reshape(*batch, -1, body.shape[-1]))
    pieces.append(blocks[-1][..., len(starts) * length - inside :, :])
    if total > first + inside:
        begin = (first + inside) * hop_length - half
        kept = min(begin, samples - half - 1)
        tail = _pad(waveform[..., kept:], 0, half, pad_mode)[..., begin - kept :]
        pieces.append(function(frame(tail, frame_length=n_fft, hop_length=hop_length)))
    return jnp.concatenate(pieces, axis=-2)


def _pad(x: jax.Array, before: int, after: int, mode: str) -> jax.Array:
    if not before and not after:
        return x
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, after)], mode=mode)
