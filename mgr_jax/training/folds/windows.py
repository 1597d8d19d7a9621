"""Arrays of several folds side by side: what the lanes of a fold program take."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mgr_jax.training.resident import Windows


def fill_lanes(chosen: Mapping[int, Windows], num_lanes: int) -> Windows:
    """Windows `[L, B]` from those of some lanes; the others get the same, for their shape."""
    some = next(iter(chosen.values()))
    return stack([chosen.get(lane, some) for lane in range(num_lanes)])


def stack(trees: Sequence[Any]) -> Any:
    """Trees of one fold each -> one of arrays `[L, ...]`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
