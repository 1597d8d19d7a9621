"""Windows of a waveform that arrives block by block."""

from collections.abc import Generator

import numpy as np

from mgr_jax.data import audio

Window = tuple[int, np.ndarray, int]


def hop_length(window: int, overlap: float) -> int:
    """Return the samples from the start of one window to the next, for windows of `window` samples.

    Args:
      overlap: share of a window that the next one covers again, from 0 to below 1.

    Raises:
      ValueError: `overlap` is out of range.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; it must be 0 or more and below 1")
    return max(1, round(window * (1 - overlap)))


def cut(
    blocks: Generator[np.ndarray, None, str], *, window: int, hop: int, least: int = 1
) -> Generator[Window, None, tuple[int, str]]:
    """Yield windows of the joined `blocks` `[T]`: first sample, float32 `[window]`, valid samples.

    They start every `hop` samples; the last one ends at the end of the audio, so that every sample
    is in a window. Audio shorter than a window gives one window, padded with zeros. With `hop` =
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
        yield last, audio.fit(held[last - base :], window), min(window, length)
    return length, note
