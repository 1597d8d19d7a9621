"""Windows of a waveform that arrives block by block."""

from collections.abc import Generator

import numpy as np

from mgr_jax.data import audio

Window = tuple[int, np.ndarray, int]

# Above this a file takes more than 20 times as long as without, for windows that hardly differ.
MAX_OVERLAP = 0.95


def hop_length(window: int, overlap: float) -> int:
    """Return the samples from the start of one window to the next, for windows of `window` samples.

    Args:
      overlap: share of a window that the next one covers again, from 0 to `MAX_OVERLAP`.

    Raises:
      ValueError: `overlap` is out of range.
    """
    if not 0 <= overlap <= MAX_OVERLAP:
        raise ValueError(f"overlap is {overlap}; it must be from 0 to {MAX_OVERLAP}")
    return max(1, round(window * (1 - overlap)))


def repeat(waveform: np.ndarray, num_samples: int, *, tolerance: float = 0.01) -> np.ndarray:
    """Return `waveform` `[T]` with its first `num_samples` samples repeated in place of padding.

    Padding of at most `tolerance` of the waveform stays: GTZAN's clips are up to 0.3 % shorter than
    the window of the BBNN, which has zeros there. A waveform without audio stays as it is too.
    """
    if not num_samples or waveform.size - num_samples <= tolerance * waveform.size:
        return waveform
    return np.resize(waveform[:num_samples], waveform.shape)


def cut(
    blocks: Generator[np.ndarray, None, str], *, window: int, hop: int, least: int = 1
) -> Generator[Window, None, tuple[int, str]]:
    """Yield windows of the joined `blocks` `[T]`: first sample, float32 `[window]`, valid samples.

    They start every `hop` samples; the last one ends at the end of the audio, so that every sample
    is in a window. Audio shorter than a window gives one window, see `repeat`. With `hop` =
    `window` these are the windows of `batches.window_starts`, which evaluation uses. No more than
    a window and a block are held at a time. The last window is left out if it is not the only one
    and brings fewer than `least` samples that no other has.

    Returns:
      The number of samples, and the note that `blocks` returns.
    """
    # `held` begins at sample `base`; the next window at `start`.
    held, base, start, length = np.zeros(0, np.float32), 0, 0, 0
    while True:
        try:
            block = next(blocks)
        except StopIteration as end:
            note = end.value
            break
        held, length = np.concatenate([held, block]), length + block.size
        while start + window < length:  # Not <=: that one would be the last.
            yield start, held[start - base : start - base + window], window
            start += hop
        kept = max(base, min(start, length - window))
        held, base = held[kept - base :], kept
    covered = start - hop + window if start else 0
    if length - covered >= least or (not start and length):
        last = max(0, length - window)
        count = min(window, length)
        yield last, repeat(audio.fit(held[last - base :], window), count), count
    return length, note
