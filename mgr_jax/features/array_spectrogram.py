"""The spectrogram of the GTZAN array files, computed from audio.

The files hold pictures of `scipy.signal.spectrogram` with its defaults at 22 050 Hz, sampled at 496
columns and normalised track by track. It is computed on the host, in SciPy, since the darkest cell
of a picture sets its scale: single precision moves that cell.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft, signal

SAMPLE_RATE = 22050
NUM_FRAMES = 496
NUM_BINS = 128
N_FFT = 256
NUM_SAMPLES = 30 * SAMPLE_RATE  # of a clip
_LEVELS = 256
_BEAT_LAGS = slice(6, 20)  # in frames, of 60 ms


def array_spectrogram(waveform: ArrayLike) -> np.ndarray:
    """Return the log spectrogram of a clip as the array files have it, `[T] -> [496, 128]`.

    Bin k is at k * 86.13 Hz. The logarithm of the power is drawn in 256 levels between its lowest
    and highest finite value, then shifted by the median and divided by the 5-95 % range of the
    levels of bins 1 to 127. Silence gives zeros.

    Args:
      waveform: 30 s at 22 050 Hz with full scale at +-1; it is rounded to 16 bits, as GTZAN is.
        Another length is drawn on as many columns, so that time is stretched.

    Raises:
      ValueError: the waveform is not `[T]` with 480 samples (two frames) or more.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim != 1 or waveform.size < 480:
        raise ValueError(f"waveform has shape {waveform.shape}; it must be [T] with T >= 480")
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    power = signal.spectrogram(samples, SAMPLE_RATE)[2][:-1, :-1].T
    with np.errstate(divide="ignore"):
        values = np.log(power)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros((NUM_FRAMES, NUM_BINS), np.float32)
    low, high = values[finite].min(), values[finite].max()
    levels = np.zeros_like(values)
    levels[finite] = np.floor((values[finite] - low) / max(high - low, 1e-30) * _LEVELS)
    # The last frame of each of the columns' equal shares of time is the one that is drawn.
    last = -(-np.arange(1, NUM_FRAMES + 1) * len(levels) // NUM_FRAMES) - 1
    levels = np.minimum(levels[last], _LEVELS - 1)
    low, median, high = np.percentile(levels[:, 1:], (5, 50, 95))
    return ((levels - median) / max(high - low, 1.0)).astype(np.float32)


def count_frames(seconds: float) -> int:
    """Return the frames of the first `seconds` of a clip of 30 s."""
    return round(min(seconds * SAMPLE_RATE / NUM_SAMPLES, 1) * NUM_FRAMES)


def persistence(frames: np.ndarray) -> float:
    """Return how much a spectrogram [F, K] keeps its colour from one frame to the next, -1 to 1.

    It is the correlation of neighbouring frames, 60 ms apart, once the mean over time of each bin
    and the mean of each frame are taken out. Notes and voices last; noise, of whatever spectrum and
    envelope, is another in every frame. Fewer than two frames give 1.
    """
    if len(frames) < 2:
        return 1.0
    x = frames[:, 1:].astype(np.float64)
    x = x - x.mean(axis=0)
    x = x - x.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.square(x[:-1]).sum() * np.square(x[1:]).sum())
    return float((x[:-1] * x[1:]).sum() / max(scale, 1e-9))


def repetition(frames: np.ndarray) -> float:
    """Return how much a spectrogram [F, K] repeats itself within a beat, at most 1.

    It is the largest autocorrelation over frames, once the mean over time of each bin is taken out,
    at lags of 0.36 to 1.15 s (166 to 52 beats a minute). Beats repeat and long notes last; speech
    and noise do neither. Scale and offset of the spectrogram do not matter. Bins that do not change
    at all give 1, and so do fewer than 40 frames, 2.4 s.
    """
    count = len(frames)
    if count < 2 * _BEAT_LAGS.stop:
        return 1.0
    x = frames[:, 1:].astype(np.float64)
    x = x - x.mean(axis=0)
    size = fft.next_fast_len(2 * count, real=True)
    power = np.square(np.abs(np.asarray(fft.rfft(x, size, axis=0)))).sum(axis=1)
    sums = np.asarray(fft.irfft(power, size))[:count]
    if sums[0] <= 1e-9 * x.size:
        return 1.0
    rates = sums / sums[0] / (1 - np.arange(count) / count)
    return float(rates[_BEAT_LAGS].max())
