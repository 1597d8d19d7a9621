"""Stacking of the arrays of several folds, for the lanes of a fold program."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mgr_jax.training.resident import Windows


def fill_lanes(by_lane: Mapping[int, Windows], num_lanes: int) -> Windows:
    """Stack the windows of some lanes to `[L, B]`; the other lanes get a copy of the first."""
    filler = next(iter(by_lane.values()))
    return stack([by_lane.get(lane, filler) for lane in range(num_lanes)])


def stack(trees: Sequence[Any]) -> Any:
    """Stack trees of one fold each to a tree of arrays `[L, ...]`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
