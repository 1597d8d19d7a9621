"""The front end of MusiCNN (Pons & Serra 2019, arXiv 1909.06654): windows of log-mel spectrograms.

Windows are cut from the spectrogram of the whole track: only its own ends are padded (by
reflection), not those of each window. `chunks` does the same for tracks of any length.
"""

from collections.abc import Generator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.config_sections import MUSICNN
from mgr_jax.features import filters, framing, spectral

SAMPLE_RATE = MUSICNN["sample_rate"]
N_FFT = MUSICNN["n_fft"]
HOP_LENGTH = MUSICNN["hop_length"]
N_MELS = MUSICNN["n_mels"]
WINDOW_FRAMES = 187  # 3 s
# Frames from one window to the next, about a second: those of the published tags over time.
WINDOW_HOP = 61
# Fewest samples of a track: shorter ones are repeated, as in the training of MusiCNN.
MIN_SAMPLES = (WINDOW_FRAMES - 1) * HOP_LENGTH

Count = TypeVar("Count", int, jax.Array)


def log_mel(waveform: ArrayLike, *, center: bool = True) -> jax.Array:
    """Return log10(1 + 10000 power) of mel bands, `[..., T] -> [..., F, 96]`.

    Args:
      waveform: `[..., T]` at 16 kHz, full scale at +-1.
      center: frame `i` is centred on sample `256 i`, and the ends are reflected; otherwise it
        starts there.

    Raises:
      ValueError: `waveform` is not floating point, or shorter than a frame.
    """
    waveform = framing.checked(waveform)
    if waveform.shape[-1] < N_FFT:
        raise ValueError(f"waveform has {waveform.shape[-1]} samples, fewer than a frame ({N_FFT})")
    power = spectral.mel_spectrogram(
        waveform,
        sample_rate=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        n_mels=N_MELS,
        center=center,
        pad_mode="reflect",
    )
    return jnp.log10(10_000.0 * power + 1.0)


def cut_windows(frames: jax.Array, *, hop: int = WINDOW_HOP) -> jax.Array:
    """Return windows of 187 frames that start every `hop`, `[..., F, M] -> [..., W, 187, M]`.

    Frames after the last whole window are dropped.

    Raises:
      ValueError: there are fewer frames than in a window, or `hop` is not positive.
    """
    filters.require_positive(hop=hop)
    last = frames.shape[-2] - WINDOW_FRAMES
    if last < 0:
        raise ValueError(
            f"{frames.shape[-2]} frames are fewer than the {WINDOW_FRAMES} of a window; a track has"
            f" {MIN_SAMPLES} samples or more"
        )
    rows = np.arange(0, last + 1, hop)[:, None] + np.arange(WINDOW_FRAMES)
    return frames[..., rows, :]


def windows(waveform: ArrayLike, *, hop: int = WINDOW_HOP) -> jax.Array:
    """Return the windows of whole tracks, `[..., T] -> [..., W, 187, 96]`.

    The arguments and errors are those of `log_mel` and `cut_windows`; W is `num_windows(T)`.
    """
    return cut_windows(log_mel(waveform), hop=hop)


def num_windows(num_samples: Count, *, hop: int = WINDOW_HOP) -> Count:
    """Return the number of windows in tracks of `num_samples` samples (an int or an array)."""
    return (num_samples // HOP_LENGTH + hop + 1 - WINDOW_FRAMES) // hop


def chunk_length(size: int, *, hop: int = WINDOW_HOP) -> int:
    """Return the samples of a chunk of `size` windows."""
    return ((size - 1) * hop + WINDOW_FRAMES - 1) * HOP_LENGTH + N_FFT


def chunks(
    blocks: Generator[np.ndarray, None, str], *, size: int = 28, hop: int = WINDOW_HOP
) -> Generator[tuple[np.ndarray, int], None, tuple[int, str]]:
    """Yield a track as chunks of `size` windows each, so that no more than one is in memory.

    `cut_windows(log_mel(chunk, center=False))` gives `size` windows of a chunk, and those of all
    chunks together are the `windows` of the whole track. A track shorter than a window is repeated
    until it fills one. The default is a chunk for a track of 30 s.

    Args:
      blocks: the waveform in blocks `[T]` at 16 kHz, as of `data.audio.stream`.
      size: windows of a chunk. hop: frames from one window to the next.

    Yields:
      Float32 `[chunk_length(size)]`, padded with zeros, and the number of windows in it.

    Returns:
      The number of samples of the track, and the note that `blocks` returns.
    """
    length, step = chunk_length(size, hop=hop), size * hop * HOP_LENGTH
    held = np.zeros(0, np.float32)
    padded = _with_reflected_ends(blocks)
    while True:
        try:
            held = np.concatenate([held, next(padded)])
        except StopIteration as end:
            result = end.value
            break
        while len(held) >= length:
            yield held[:length], size
            held = held[step:]
    count = (len(held) - chunk_length(1)) // (hop * HOP_LENGTH) + 1
    if count > 0:
        yield np.pad(held, (0, length - len(held))), count
    return result


def _with_reflected_ends(
    blocks: Generator[np.ndarray, None, str],
) -> Generator[np.ndarray, None, tuple[int, str]]:
    """Yield `blocks` between what `log_mel` pads; return their length and their note."""
    margin = N_FFT // 2
    held, length, started = np.zeros(0, np.float32), 0, False
    while True:
        try:
            block = next(blocks)
        except StopIteration as end:
            note = end.value
            break
        held, length = np.concatenate([held, block]), length + len(block)
        if not started and length >= MIN_SAMPLES:
            yield held[margin:0:-1]
            started = True
        if started and len(held) > margin + 1:
            yield held[: -margin - 1]
            held = held[-margin - 1 :]
    if length and not started:
        held = np.resize(held, MIN_SAMPLES)
        yield held[margin:0:-1]
    if length:
        yield np.concatenate([held, held[-2 : -margin - 2 : -1]])
    return length, note
