"""Cells of time and frequency: their edges, sums over others, and their removal from a waveform."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import signal

from mgr_jax.features import filters

_N_FFT = 2048


class Cells(NamedTuple):
    """Values of cells.

    Attributes:
      values: [F, M].
      seconds: edges in time [F + 1]. hz: edges in frequency [M + 1].
    """

    values: np.ndarray
    seconds: np.ndarray
    hz: np.ndarray


def mel_edges(num_bands: int, *, fmin: float = 0.0, fmax: float) -> np.ndarray:
    """Return edges [M + 1] of M bands of equal width in mel."""
    low, high = filters.hz_to_mel([fmin, fmax])
    return filters.mel_to_hz(np.linspace(low, high, num_bands + 1))


def spread(cells: Cells, seconds: np.ndarray, hz: np.ndarray, *, period: float = np.inf) -> Cells:
    """Return the sums of `cells` over cells with other edges; the total is kept.

    A cell that lies in several is divided by its overlap in seconds and in mel. What lies outside
    of the new edges goes to the nearest of them.

    Args:
      seconds, hz: the new edges.
      period: length in seconds of audio that is repeated, to which times are folded.
    """
    old, new = filters.hz_to_mel(cells.hz), filters.hz_to_mel(hz)
    in_frequency = _shares(old, new)
    in_time = np.zeros((len(cells.values), len(seconds) - 1))
    if in_time.shape[1] == 1:  # A few samples may be repeated a million times.
        return Cells((cells.values @ in_frequency).sum(axis=0, keepdims=True), seconds, hz)
    start, end = cells.seconds[:-1], cells.seconds[1:]
    length = np.maximum(end - start, 1e-12)
    offset = 0.0
    while offset < cells.seconds[-1]:
        inside = np.clip(cells.seconds - offset, 0, period)
        part = np.diff(inside) / length
        in_time += _shares(inside, seconds) * part[:, None]
        offset += period
    return Cells(in_time.T @ cells.values @ in_frequency, seconds, hz)


def _shares(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return which share of each old interval lies in each new one [A, B]; rows sum to 1."""
    limits = np.clip(old, new[0], new[-1])
    low, high = limits[:-1, None], limits[1:, None]
    overlap = np.minimum(high, new[None, 1:]) - np.maximum(low, new[None, :-1])
    shares = np.maximum(overlap, 0) / np.where(high > low, high - low, 1)
    # Intervals without a length, among them those outside, go to the interval that holds them.
    points = np.flatnonzero(limits[1:] <= limits[:-1])
    index = np.clip(np.searchsorted(new, limits[:-1][points], side="right") - 1, 0, len(new) - 2)
    shares[points] = 0
    shares[points, index] = 1
    return shares


def remove(
    waveform: np.ndarray, masks: np.ndarray, seconds: np.ndarray, hz: np.ndarray, sample_rate: float
) -> Iterator[np.ndarray]:
    """Yield the waveform [T] without some cells, float32, for each of the masks.

    They are silenced in the short-time spectrum, whose frames of 2048 samples overlap by three
    quarters; the rest stays as it is.

    Args:
      waveform: [T].
      masks: bool [V, F, M], true for the cells to remove.
      seconds, hz: edges of the cells; what lies outside belongs to the nearest.
      sample_rate: Hz.
    """
    window = filters.window("hann", _N_FFT)
    transform = signal.ShortTimeFFT(window, _N_FFT // 4, sample_rate)
    # The transform takes no audio of less than half a frame.
    length = max(len(waveform), _N_FFT)
    spectrum = transform.stft(np.pad(waveform, (0, length - len(waveform))))
    rows = _index(transform.f, hz)
    columns = _index(transform.t(length), seconds)
    for mask in masks:
        removed = transform.istft(spectrum * mask[columns][:, rows].T, k1=length)
        yield (waveform - removed[: len(waveform)]).astype(np.float32)


def _index(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
