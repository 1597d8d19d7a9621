"""Batches of windows: the batch of a step is a function of (seed, step) and of nothing else."""

import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from mgr_jax.data import windows as windows_lib
from mgr_jax.data.arrays import Arrays
from mgr_jax.data.clips import Clips

# A batch is a dict of arrays:
#   waveform     float32 [B, T]  windows, full scale at +-1; audio that is shorter is repeated
#                                (`windows.repeat`); of arrays [B, T, bins], a sample being a
#                                frame, with zeros after the end
#   num_samples  int32   [B]     samples of each window that are audio, not padding
#   label        int32   [B]     class
#   row          int32   [B]     training: row of the global batch; evaluation: index of the track
#   mask         float32 [B]     0 for the padded rows of the last batch
Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Part:
    """The tracks of one part that can be read: rows of the clip store, and classes, `[N]`."""

    clips: Clips | Arrays
    ids: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray


def make_part(
    clips: Clips | Arrays, ids: Sequence[str], label_of: dict[str, str], labels: Sequence[str]
) -> Part:
    """Return the part with the tracks `ids`; a class is the index of its label in `labels`."""
    return Part(
        clips,
        tuple(ids),
        np.array([clips.row[name] for name in ids], np.int32),
        np.array([labels.index(label_of[name]) for name in ids], np.int32),
    )


def steps_per_epoch(part: Part, batch_size: int) -> int:
    """Return the whole batches of one pass over the tracks, at least one."""
    return max(1, len(part.ids) // batch_size)


def train_batches(
    part: Part,
    *,
    batch_size: int,
    window: int,
    seed: int,
    start_step: int,
    num_steps: int,
    process_index: int = 0,
    process_count: int = 1,
    read_threads: int = 2,
    read_processes: int = 0,
    as_int16: bool = False,
) -> grain.DatasetIterator[Batch]:
    """Return batches of the steps `start_step` to `num_steps - 1`: one random window per track.

    The tracks are reshuffled for every pass, and a batch may span two passes, so that no track is
    left out. Each process gets contiguous rows of the global batch. A few batches are prefetched,
    starting with the first `next`; `close()` ends the threads and processes that do so.

    Args:
      part: the tracks to learn from.
      batch_size: B, rows of the global batch. window: T, samples of a window.
      seed: seed of the order and of the windows.
      start_step: first step, 0 or where a run resumes. num_steps: end of the run.
      process_index, process_count: which rows of the batch to read.
      read_threads: threads that read.
      read_processes: processes with that many threads each, which map the clip store themselves;
        0 means threads of this process. The batches are the same.
      as_int16: waveforms of decoded clips are int16, as they are stored, and `scale` float32 [B] is
        the factor of each that makes it audio.

    Raises:
      ValueError: if the rows do not divide over the processes.
    """
    local = local_rows(batch_size, process_index, process_count)
    order: Any = training_order(part, seed=seed)
    shape = _window_shape(part, window)
    as_int16 = as_int16 and isinstance(part.clips, Clips)

    def batch_at(step: int) -> Batch:
        positions = [step * batch_size + row for row in range(local.start, local.stop)]
        # Once: a look-up in the order of 32 tracks takes as long as 10 copies of a 30 s window.
        tracks = [int(order[position]) for position in positions]
        examples = map(example, tracks, positions, range(local.start, local.stop))
        dtype = np.int16 if as_int16 else np.float32
        batch = _stack(examples, len(tracks), shape, dtype)
        if as_int16:
            batch["scale"] = _scales(part, tracks, len(tracks))
        return batch

    def example(track: int, position: int, row: int) -> tuple:
        length = part.clips.records[part.rows[track]].length
        start = random_start(position, length - window, seed=seed)
        return _window(part, track, start, window, row, as_int16=as_int16)

    steps = grain.MapDataset.range(start_step, num_steps).map(batch_at)
    source = steps.to_iter_dataset(_read_options(read_threads))
    if read_processes:
        if not flags.FLAGS.is_parsed():  # Outside of a command: grain reads flags of its own.
            flags.FLAGS.mark_as_parsed()
        workers = grain.MultiprocessingOptions(num_workers=read_processes)
        source = source.mp_prefetch(workers, _start_worker)
    return iter(source)


def training_order(part: Part, *, seed: int) -> grain.MapDataset[int]:
    """Return position in training -> index of a track: all of them, reshuffled for every pass."""
    return grain.MapDataset.range(len(part.ids)).seed(seed).shuffle().repeat()


def random_start(position: int, last: int, *, seed: int) -> int:
    """Return the first sample of the window at a position in training: uniform in 0..last."""
    if last <= 0:
        return 0
    # A counter-based generator gives the draw of any position without those before it.
    generator = np.random.Generator(np.random.Philox(key=[seed, position]))
    return int(generator.integers(last + 1))


def windows_of(part: Part, window: int) -> np.ndarray:
    """Return the evaluation windows `[W, 2]`: index of the track and first sample.

    They are adjacent; the last one ends at the end of the audio, so that every sample is in a
    window. A track shorter than a window has one.
    """
    windows = []
    for index, row in enumerate(part.rows):
        length = part.clips.records[row].length
        windows += [(index, start) for start in window_starts(length, window)]
    return np.array(windows, np.int64).reshape(-1, 2)


def window_starts(length: int, window: int) -> list[int]:
    """Return the first samples of the windows that cover `length` samples: see `windows_of`."""
    last = max(0, length - window)
    return [*range(0, last, window), last]


def eval_batches(
    part: Part,
    *,
    batch_size: int,
    window: int,
    process_index: int = 0,
    process_count: int = 1,
    as_int16: bool = False,
) -> Iterator[Batch]:
    """Return batches of all windows of all tracks, in order; masked rows pad the last batch.

    Each process gets contiguous rows of `waveform`, `num_samples` and `label`; `row` and `mask`
    are those of the whole batch in every process. `as_int16` is that of `train_batches`.

    Raises:
      ValueError: if the rows do not divide over the processes.
    """
    local = local_rows(batch_size, process_index, process_count)
    grid = windows_of(part, window)
    shape = _window_shape(part, window)
    as_int16 = as_int16 and isinstance(part.clips, Clips)
    dtype = np.int16 if as_int16 else np.float32

    def batch_at(index: int) -> Batch:
        windows = grid[index * batch_size : (index + 1) * batch_size]
        own, num_rows = windows[local], local.stop - local.start
        # All rows of this process may be padding while other processes have windows left.
        empty = [(np.zeros(shape, dtype), 0, 0, 0)] * (num_rows - len(own))
        examples = (_window(part, i, start, window, i, as_int16=as_int16) for i, start in own)
        batch = _stack(itertools.chain(examples, empty), num_rows, shape, dtype)
        if as_int16:
            batch["scale"] = _scales(part, own[:, 0], num_rows)
        missing = (0, batch_size - len(windows))
        batch["row"] = np.pad(windows[:, 0].astype(np.int32), missing)
        batch["mask"] = np.pad(np.ones(len(windows), np.float32), missing)
        return batch

    steps = grain.MapDataset.range(-(-len(grid) // batch_size)).map(batch_at)
    return iter(steps.to_iter_dataset(_read_options(2)))


def local_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """Return the contiguous rows of a batch that a process reads."""
    if batch_size % process_count:
        raise ValueError(f"batch_size {batch_size} does not divide by {process_count} processes")
    local = batch_size // process_count
    return slice(process_index * local, (process_index + 1) * local)


def _read_options(num_threads: int) -> grain.ReadOptions:
    return grain.ReadOptions(num_threads, prefetch_buffer_size=max(4, num_threads))


def _start_worker(index: int, count: int) -> None:
    """Leave signals to the parent, which saves first, and exit when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _exit_with_parent()


def _exit_with_parent() -> None:
    """Let this process end with its parent, even one that was killed."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _window_shape(part: Part, window: int) -> tuple[int, ...]:
    return (window, *part.clips.samples.shape[2:])


def _window(
    part: Part, index: int, start: int, window: int, row: int, *, as_int16: bool = False
) -> tuple:
    clip = part.rows[index]
    length = part.clips.records[clip].length
    clips: Any = part.clips
    waveform = (clips.int16 if as_int16 else clips.waveform)(clip, start, window)
    count = min(window, length - start)
    if waveform.ndim == 1:
        waveform = windows_lib.repeat(waveform, count)
    return waveform, count, part.labels[index], row


def _scales(part: Part, tracks: Iterable[int], num_rows: int) -> np.ndarray:
    """Return the factors [num_rows] that make audio of the tracks' int16; 0 for further rows."""
    clips: Any = part.clips
    scales = np.array([clips.scale(part.rows[track]) for track in tracks], np.float32)
    return np.pad(scales, (0, num_rows - len(scales)))


def _stack(
    examples: Iterable[tuple], num_rows: int, shape: tuple[int, ...], dtype: Any = np.float32
) -> Batch:
    waveforms = np.empty((num_rows, *shape), dtype)
    scalars = []
    for i, (waveform, *rest) in enumerate(examples):
        waveforms[i] = waveform  # One by one, so that a batch of whole clips is not held twice.
        scalars.append(rest)
    num_samples, labels, rows = np.array(scalars, np.int32).T.copy()
    return {"waveform": waveforms, "num_samples": num_samples, "label": labels, "row": rows}
