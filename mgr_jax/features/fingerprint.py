"""Spectral fingerprints, which match clips of the same audio at any gain, offset or coding.

A fingerprint is a coarse log-mel spectrogram of long frames, differenced over frequency (which
removes gain and most of an equaliser) and centred over time (which removes the rest of it, and what
all clips of a style share). The similarity of two clips is the normalised cross-correlation of
their fingerprints at the best offset. All offsets of all pairs are computed by FFT, where the sum
over bands is a matrix product.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from numpy.typing import ArrayLike

from mgr_jax.features import decibels, spectral

NUM_BANDS = 48
# In the tests, copies with noise or another gain, offset or codec score 0.8 and more, other takes
# of one groove of the embedded band up to 0.65, and other music 0.3.
THRESHOLD = 0.75
_LOW_HZ, _HIGH_HZ = 100.0, 8000.0
# Long overlapping frames hardly change when a clip is cut between two frame positions.
_FRAME_SECONDS = 0.37
_FRAMES_PER_WINDOW = 4
_FLOOR_DB = 60.0
_TILE = 64


def frame_hop(sample_rate: float) -> int:
    """Return the samples between frames of a fingerprint, a power of two near 0.09 s."""
    n_fft = 2 ** round(math.log2(_FRAME_SECONDS * sample_rate))
    return max(1, n_fft // _FRAMES_PER_WINDOW)


def fingerprint(waveform: ArrayLike, *, sample_rate: float) -> jax.Array:
    """Return fingerprints, `[..., T] -> [..., F, NUM_BANDS - 1]` with F about T / `frame_hop`.

    Frames that are silent (60 dB below the loudest of the clip) are zeros.

    Raises:
      ValueError: the waveform is not `[..., T]` floating point, or `sample_rate` below 1000 Hz.
    """
    if not sample_rate >= 1000:
        raise ValueError(f"sample_rate is {sample_rate}; it must be 1000 Hz or more")
    hop = frame_hop(sample_rate)
    power = spectral.mel_spectrogram(
        waveform,
        sample_rate=sample_rate,
        n_fft=_FRAMES_PER_WINDOW * hop,
        hop_length=hop,
        n_mels=NUM_BANDS,
        fmin=_LOW_HZ,
        fmax=min(_HIGH_HZ, sample_rate / 2),
    )
    loudest = jnp.max(power, axis=(-2, -1), keepdims=True)
    sounding = jnp.max(power, axis=-1, keepdims=True) > loudest * 10 ** (-_FLOOR_DB / 10)
    in_decibels = decibels.power_to_db(power, ref="max", amin=1e-20, top_db=_FLOOR_DB)
    slope = jnp.diff(in_decibels, axis=-1)
    count = jnp.maximum(jnp.sum(sounding, axis=-2, keepdims=True), 1)
    mean = jnp.sum(jnp.where(sounding, slope, 0.0), axis=-2, keepdims=True) / count
    return jnp.where(sounding, slope - mean, 0.0)


@functools.partial(jax.jit, static_argnames="min_frames")
def similarity(
    left: ArrayLike, right: ArrayLike, *, min_frames: int
) -> tuple[jax.Array, jax.Array]:
    """Return the similarity of each of A clips with each of B clips at the best offset.

    Args:
      left, right: fingerprints `[A, F, K]` and `[B, F, K]`.
      min_frames: sounding frames that the clips must have in common, 1 to F.

    Returns:
      The normalised cross-correlation `[A, B]`, in -1 to 1 (0 where less than `min_frames` are in
      common at every offset), and the offset in frames by which the audio is later in `right`.

    Raises:
      ValueError: the shapes do not match, or `min_frames` is out of its range.
    """
    left, right = jnp.asarray(left, jnp.float32), jnp.asarray(right, jnp.float32)
    if left.ndim != 3 or right.ndim != 3 or left.shape[1:] != right.shape[1:]:
        raise ValueError(f"left {left.shape} and right {right.shape} must be [A, F, K], [B, F, K]")
    frames = left.shape[1]
    if not 1 <= min_frames <= frames:
        raise ValueError(f"min_frames is {min_frames}; it must be in 1..{frames}")
    longest = frames - min_frames
    size: Any = scipy.fft.next_fast_len(frames + longest, real=True)
    # Frequencies first: one product of [A, K] and [K, B] per frequency.
    a, b = (jnp.moveaxis(jnp.fft.rfft(x, size, axis=1), 1, 0) for x in (left, right))
    product = functools.partial(jnp.einsum, "fak,fbk->abf", precision="highest")
    real = product(a.real, b.real) + product(a.imag, b.imag)
    imag = product(a.real, b.imag) - product(a.imag, b.real)
    correlation = jnp.fft.irfft(jax.lax.complex(real, imag), size, axis=-1)
    offsets = np.arange(-longest, longest + 1)
    correlation = jnp.concatenate(
        [correlation[..., size - longest :], correlation[..., : longest + 1]], axis=-1
    )
    # The overlapping frames at each offset, [start, stop) in left and in right.
    in_left = np.maximum(0, -offsets), frames - np.maximum(0, offsets)
    in_right = in_left[0] + offsets, in_left[1] + offsets
    sides = (left, in_left), (right, in_right)
    energy = [_between(jnp.sum(jnp.square(x), axis=-1), *span) for x, span in sides]
    sounding = [_between(jnp.any(x != 0, axis=-1).astype(jnp.float32), *span) for x, span in sides]
    enough = (sounding[0][:, None] >= min_frames) & (sounding[1][None] >= min_frames)
    norm = jnp.sqrt(energy[0][:, None]) * jnp.sqrt(energy[1][None])
    score = jnp.where(enough & (norm > 0), correlation / jnp.maximum(norm, 1e-20), 0.0)
    best = jnp.argmax(score, axis=-1)
    return jnp.clip(jnp.max(score, axis=-1), -1.0, 1.0), best - longest


def near_identical(
    prints: ArrayLike, *, min_frames: int, threshold: float = THRESHOLD
) -> Iterator[tuple[int, int, float, int]]:
    """Yield the pairs of clips `i < j` of fingerprints `[N, F, K]` that hold the same audio.

    Yields:
      `i`, `j`, their similarity (`threshold` or more), and by how many frames `j` is later.
    """
    prints = np.asarray(prints, np.float32)
    count = len(prints)
    # All tiles have one size, so that one program serves them.
    tile = min(_TILE, count)
    prints = np.pad(prints, [(0, -count % tile), (0, 0), (0, 0)])
    for row in range(0, count, tile):
        for column in range(row, count, tile):
            score, offset = similarity(
                prints[row : row + tile], prints[column : column + tile], min_frames=min_frames
            )
            score, offset = np.asarray(score), np.asarray(offset)
            for i, j in np.argwhere(score >= threshold):
                if row + i < column + j:
                    yield int(row + i), int(column + j), float(score[i, j]), int(offset[i, j])


def _between(values: jax.Array, start: np.ndarray, stop: np.ndarray) -> jax.Array:
    """Return the sums of `values` `[N, F]` over frames `start:stop`, `[N, S]`."""
    sums = jnp.pad(jnp.cumsum(values, axis=-1), [(0, 0), (1, 0)])
    return sums[:, stop] - sums[:, start]
