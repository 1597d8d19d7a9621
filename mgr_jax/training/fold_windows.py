"""Batches as places in the clip store: what `data.batches` reads, to be read on the devices.

Integers `[B]` of each window: `clip` (row of the store), `start` (first sample), `num_samples` (how
many are audio), and in training `label` and `row` (of the batch).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mgr_jax.data import batches

Windows = dict[str, np.ndarray]


def make_plan(
    part: batches.Part, *, batch_size: int, window: int, seed: int
) -> Callable[[int], Windows]:
    """Step -> the windows that `batches.train_batches` gives at that step.

    Args:
      part: the tracks to learn from.
      batch_size: B. window: samples of a window.
      seed: seed of the order and of the windows.
    """
    order = batches.training_order(part, seed=seed)

    def plan(step: int) -> Windows:
        positions = range(step * batch_size, (step + 1) * batch_size)
        tracks = np.array([order[position] for position in positions], np.int64)
        lengths = _lengths(part, tracks)
        starts = [
            batches.random_start(position, int(length) - window, seed=seed)
            for position, length in zip(positions, lengths, strict=True)
        ]
        return {
            **_places(part.rows[tracks], np.array(starts), lengths, window),
            "label": part.labels[tracks].astype(np.int32),
            "row": np.arange(batch_size, dtype=np.int32),
        }

    return plan


def grid_windows(
    part: batches.Part, grid: np.ndarray, *, batch_size: int, window: int
) -> list[Windows]:
    """Batches of the windows of a grid `[W, 2]` (`batches.windows_of`), the last one filled up."""
    missing = -len(grid) % batch_size
    filled = np.concatenate([grid, np.zeros((missing, 2), grid.dtype)])
    places = _places(part.rows[filled[:, 0]], filled[:, 1], _lengths(part, filled[:, 0]), window)
    return [
        {name: value[first : first + batch_size] for name, value in places.items()}
        for first in range(0, len(filled), batch_size)
    ]


def fill_lanes(chosen: Mapping[int, Windows], num_lanes: int) -> Windows:
    """Windows `[L, B]` from those of some lanes; the others get the same, for their shape."""
    some = next(iter(chosen.values()))
    return stack([chosen.get(lane, some) for lane in range(num_lanes)])


def stack(trees: Sequence[Any]) -> Any:
    """Trees of one fold each -> one of arrays `[L, ...]`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _lengths(part: batches.Part, tracks: np.ndarray) -> np.ndarray:
    return np.array([part.clips.records[row].length for row in part.rows[tracks]], np.int64)


def _places(clips: np.ndarray, starts: np.ndarray, lengths: np.ndarray, window: int) -> Windows:
    places = {"clip": clips, "start": starts, "num_samples": np.minimum(window, lengths - starts)}
    return {name: value.astype(np.int32) for name, value in places.items()}
