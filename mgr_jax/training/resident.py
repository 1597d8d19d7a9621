"""The clip store in the devices' memory, and batches as places in it: the host reads no audio.

`data.on_device` trains so, and so do the folds of `train.folds_at_once`. The host chooses the
windows that `data.batches` would read, and sends integers `[B]` of each: `clip` (row of the store),
`start` (first sample), `num_samples` (how many are audio), and in training `label` and `row` (of
the batch). The devices cut them out of their copy of the store.
"""

from collections.abc import Callable, Iterator, Mapping

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mgr_jax.data import batches
from mgr_jax.data.clips import FULL_SCALE, Clips
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib

Windows = dict[str, np.ndarray]
# Samples int16 [N, T], and what a step of each row is worth, float32 [N].
Resident = tuple[jax.Array, jax.Array]

# Share of a device's memory that the clips may take; training needs the rest.
_LARGEST_SHARE = 0.8


def put(store: Clips, mesh: Mesh, *, field: str) -> Resident:
    """The clip store on every device of `mesh`: int16 as on disk, `N * T * 2` bytes on each.

    Raises:
      UserError: if that is more than a device has, where it tells; `field` of the config asked.
    """
    device = mesh.local_mesh.devices.flat[0]
    size, limit = store.samples.nbytes, (device.memory_stats() or {}).get("bytes_limit")
    if limit and size > _LARGEST_SHARE * limit:
        raise UserError(
            f"{field}: the clips take {size / 2**30:.1f} GiB on each device, which has"
            f" {limit / 2**30:.1f}; shorten data.clip_seconds, or leave {field} out"
        )
    copies = NamedSharding(mesh, PartitionSpec())
    scale = np.array([record.scale / FULL_SCALE for record in store.records], np.float32)
    # Not `device_put`, which first sends all of it round to see whether processes agree.
    samples, scale = (
        jax.make_array_from_callback(x.shape, copies, lambda index, x=x: np.asarray(x[index]))
        for x in (store.samples, scale)
    )
    return samples, scale


def read(clips: Resident, windows: Mapping[str, jax.Array], length: int) -> dict[str, jax.Array]:
    """The batch of windows `[B, length]`, as `Clips.waveform` reads them."""
    samples, scale = clips

    def one(clip: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(samples, (clip, start), (1, length))[0]

    pieces = jax.vmap(one)(windows["clip"], windows["start"]).astype(jnp.float32)
    fields = ("num_samples", "label", "row")
    return {
        "waveform": pieces * scale[windows["clip"]][:, None],
        **{name: windows[name] for name in fields if name in windows},
    }


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


def train_windows(
    plan: Callable[[int], Windows], *, start_step: int, num_steps: int, local: slice = slice(None)
) -> Iterator[Windows]:
    """Windows of the steps `start_step` to `num_steps - 1`, of which a process takes rows `local`.

    They are chosen ahead by a thread, from when the first are asked for; `close()` ends it.
    """
    steps = grain.MapDataset.range(start_step, num_steps).map(plan)
    own = steps.map(lambda windows: {name: value[local] for name, value in windows.items()})
    return iter(own.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


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


def score_tracks(
    predict: Callable[[Windows], np.ndarray],
    part: batches.Part,
    *,
    batch_size: int,
    window: int,
    local: slice = slice(None),
) -> np.ndarray:
    """As `evaluation.tracks.score_tracks`, from places in the store: log-probabilities `[N, C]`.

    `predict` takes the rows `local` of a batch and gives the scores of all of them.
    """
    grid = batches.windows_of(part, window)
    scores = [
        predict({name: value[local] for name, value in windows.items()})
        for windows in grid_windows(part, grid, batch_size=batch_size, window=window)
    ]
    return tracks_lib.pool_windows(np.concatenate(scores)[: len(grid)], grid[:, 0])


def _lengths(part: batches.Part, tracks: np.ndarray) -> np.ndarray:
    return np.array([part.clips.records[row].length for row in part.rows[tracks]], np.int64)


def _places(clips: np.ndarray, starts: np.ndarray, lengths: np.ndarray, window: int) -> Windows:
    places = {"clip": clips, "start": starts, "num_samples": np.minimum(window, lengths - starts)}
    return {name: value.astype(np.int32) for name, value in places.items()}
