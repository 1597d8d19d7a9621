"""Training from a clip store in the devices' memory: the host sends indices, not audio.

`data.on_device` and `train.folds_at_once` use it. The host chooses the same windows as
`data.batches`, and sends integers `[B]` for a batch: `clip` (row of the store), `start` (first
sample), `num_samples` (how many are audio), and in training `label` and `row` (of the batch). The
devices slice the windows out of their copy of the store.
"""

from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mgr_jax.data import batches
from mgr_jax.data import windows as windows_lib
from mgr_jax.data.clips import FULL_SCALE, Clips
from mgr_jax.data.dataset import Store
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.training.steps import Resident

Windows = dict[str, np.ndarray]

# Fraction of a device's memory that the clips may take; training needs the rest. Where `auto`
# chooses, larger batches than now must fit too.
_MAX_MEMORY_FRACTION = 0.8
_AUTO_MEMORY_FRACTION = 1 / 3


def chosen_store(on_device: str, store: Any, mesh: Mesh) -> Store | None:
    """Return `store` if `data.on_device` says that it goes to the devices of `mesh`, else None."""
    if str(on_device) != "auto":
        return store if str(on_device) == "True" else None
    samples = store.samples
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16:
        return None  # Arrays, or shards, which may be more than the host's memory holds.
    limit = _memory(mesh)
    return store if limit and samples.nbytes <= _AUTO_MEMORY_FRACTION * limit else None


def _memory(mesh: Mesh) -> int | None:
    """Return the bytes of a device's memory that JAX may take; None for a CPU, which has no own."""
    return (mesh.local_mesh.devices.flat[0].memory_stats() or {}).get("bytes_limit")


def put(store: Store, mesh: Mesh, *, window: int, field: str) -> Resident:
    """Copy the clip store to every device of `mesh`: int16 as on disk, `N * T * 2` bytes on each.

    Clips shorter than the `window` samples that will be read are repeated to that length.

    Raises:
      UserError: if the clips do not fit a device that reports its memory; names the config's
        `field` that requested them.
    """
    size, limit = store.samples.nbytes, _memory(mesh)
    if limit and size > _MAX_MEMORY_FRACTION * limit:
        raise UserError(
            f"{field}: the clips take {size / 2**30:.1f} GiB on each device, which has"
            f" {limit / 2**30:.1f}; shorten data.clip_seconds, or leave {field} out"
        )
    replicated = NamedSharding(mesh, PartitionSpec())
    scale = np.array([record.scale / FULL_SCALE for record in store.records], np.float32)
    if isinstance(store, Clips):
        store.check_all()
    # Not `device_put`, which would first send all of it between the processes to compare it.
    samples = store.samples
    for row, record in enumerate(store.records):
        own = samples[row, :window]
        filled = windows_lib.repeat(own, min(record.length, window))
        if filled is not own:
            if samples is store.samples:
                samples = np.array(samples)  # The store itself cannot be written to.
            samples[row, :window] = filled
    samples, scale = (
        jax.make_array_from_callback(x.shape, replicated, lambda index, x=x: np.asarray(x[index]))
        for x in (samples, scale)
    )
    return samples, scale


def make_plan(
    part: batches.Part, *, batch_size: int, window: int, seed: int
) -> Callable[[int], Windows]:
    """Return a function: step -> the windows `[B]` that `batches.train_batches` yields then.

    `window` is in samples; `seed` draws the order of tracks and the starts of windows.
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
            **_windows(part.rows[tracks], np.array(starts), lengths, window),
            "label": part.labels[tracks].astype(np.int32),
            "row": np.arange(batch_size, dtype=np.int32),
        }

    return plan


def train_windows(
    plan: Callable[[int], Windows], *, start_step: int, num_steps: int, local: slice = slice(None)
) -> Iterator[Windows]:
    """Iterate over the windows of steps `start_step` to `num_steps - 1`; a process takes `local`.

    A thread computes them ahead once iteration has begun; `close()` ends it.
    """
    steps = grain.MapDataset.range(start_step, num_steps).map(plan)
    rows = steps.map(lambda windows: {name: value[local] for name, value in windows.items()})
    return iter(rows.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def grid_windows(
    part: batches.Part, grid: np.ndarray, *, batch_size: int, window: int
) -> list[Windows]:
    """Return batches of the windows of a grid `[W, 2]` (`batches.windows_of`), the last padded."""
    padding = np.zeros((-len(grid) % batch_size, 2), grid.dtype)
    tracks, starts = np.concatenate([grid, padding]).T
    windows = _windows(part.rows[tracks], starts, _lengths(part, tracks), window)
    return [
        {name: value[first : first + batch_size] for name, value in windows.items()}
        for first in range(0, len(tracks), batch_size)
    ]


def score_tracks(
    predict: Callable[[Windows], np.ndarray],
    part: batches.Part,
    *,
    batch_size: int,
    window: int,
    local: slice = slice(None),
) -> np.ndarray:
    """Return log-probabilities `[N, C]` of the tracks of a part, from windows of the store.

    The same as `evaluation.tracks.score_tracks`. `predict` takes the rows `local` of a batch and
    returns the log-probabilities of all of its rows.
    """
    grid = batches.windows_of(part, window)
    scores = [
        predict({name: value[local] for name, value in windows.items()})
        for windows in grid_windows(part, grid, batch_size=batch_size, window=window)
    ]
    return tracks_lib.pool_windows(np.concatenate(scores)[: len(grid)], grid[:, 0])


def _lengths(part: batches.Part, tracks: np.ndarray) -> np.ndarray:
    return np.array([part.clips.records[row].length for row in part.rows[tracks]], np.int64)


def _windows(clips: np.ndarray, starts: np.ndarray, lengths: np.ndarray, window: int) -> Windows:
    fields = {"clip": clips, "start": starts, "num_samples": np.minimum(window, lengths - starts)}
    return {name: value.astype(np.int32) for name, value in fields.items()}
