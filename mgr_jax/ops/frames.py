"""Overlapping frames of waveforms: the formulas of `ops.map_frames`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Framing(NamedTuple):
    """Samples per frame, samples between frames, and the padding of the ends."""

    n_fft: int
    hop_length: int
    center: bool
    pad_mode: str


def cut(x: jax.Array, *, frame_length: int, hop_length: int) -> jax.Array:
    """Return the frames of `x` [..., T] that lie within it, [..., F, frame_length]."""
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


def frames(waveform: jax.Array, framing: Framing) -> jax.Array:
    """Return all frames, `[..., T] -> [..., F, n_fft]`, padded by `n_fft // 2` if centred."""
    half = framing.n_fft // 2 if framing.center else 0
    waveform = pad(waveform, half, half, framing.pad_mode)
    return cut(waveform, frame_length=framing.n_fft, hop_length=framing.hop_length)


def pad(x: jax.Array, before: int, after: int, mode: str) -> jax.Array:
    """Pad the last axis of `x`; `mode` is that of `jnp.pad`."""
    if not before and not after:
        return x
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, after)], mode=mode)
