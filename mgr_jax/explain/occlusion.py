"""Occlusion: how much of a score is lost without one cell of time and frequency."""

from collections.abc import Callable

import numpy as np

from mgr_jax.explain import cells
from mgr_jax.explain.cells import Cells

COLUMNS, BANDS = 6, 8  # Cells of a window.


def grid(duration: float, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges in seconds [7] and in Hz [9] of the cells of a window of `duration` s."""
    return np.linspace(0, duration, COLUMNS + 1), cells.mel_edges(BANDS, fmax=sample_rate / 2)


def occlude(
    score: Callable[[np.ndarray], np.ndarray],
    waveform: np.ndarray,
    seconds: np.ndarray,
    hz: np.ndarray,
    *,
    sample_rate: float,
) -> Cells:
    """Return the loss of score without each cell; it is positive for evidence.

    The losses do not sum to the score, since cells that say the same replace each other.

    Args:
      score: waveforms [V, T] -> scores [V].
      waveform: [T].
      seconds, hz: edges of the cells.
      sample_rate: Hz.
    """
    shape = (len(seconds) - 1, len(hz) - 1)
    masks = np.eye(shape[0] * shape[1], dtype=bool).reshape(-1, *shape)
    variants = np.stack([waveform, *cells.remove(waveform, masks, seconds, hz, sample_rate)])
    values = np.asarray(score(variants), np.float64)
    return Cells((values[0] - values[1:]).reshape(shape), seconds, hz)
