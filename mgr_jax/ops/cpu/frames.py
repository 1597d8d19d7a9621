"""A function of frames on CPU, block by block.

A batch of frames is far larger than its waveforms: written out whole, it exceeds the cache and
faults in new pages. Made and consumed in blocks of a few hundred it does not, which makes the mel
spectrogram fast.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax.ops.frames import Framing, cut, frames, pad

BLOCK_SAMPLES = 2**19


def map_frames(
    function: Callable[[jax.Array], jax.Array],
    waveform: jax.Array,
    *,
    framing: Framing,
    block_samples: int,
) -> jax.Array:
    """Return `function(frames(waveform, framing))`; see `ops.map_frames` for the arguments."""
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
        head = cut(pad(head, half, 0, pad_mode), frame_length=n_fft, hop_length=hop_length)
        pieces.append(function(head[..., :first, :]))
    starts = np.arange(-(-inside // length)) * length
    starts[-1] = inside - length
    span = (length - 1) * hop_length + n_fft

    def block(start):
        begin = first * hop_length - half + start * hop_length
        piece = jax.lax.dynamic_slice_in_dim(waveform, begin, span, axis=-1)
        return function(cut(piece, frame_length=n_fft, hop_length=hop_length))

    blocks = jax.lax.map(block, jnp.asarray(starts, jnp.int32))
    body = jnp.moveaxis(blocks[:-1], 0, -3)
    pieces.append(body.reshape(*batch, -1, body.shape[-1]))
    pieces.append(blocks[-1][..., len(starts) * length - inside :, :])
    if total > first + inside:
        begin = (first + inside) * hop_length - half
        kept = min(begin, samples - half - 1)
        tail = pad(waveform[..., kept:], 0, half, pad_mode)[..., begin - kept :]
        pieces.append(function(cut(tail, frame_length=n_fft, hop_length=hop_length)))
    return jnp.concatenate(pieces, axis=-2)
