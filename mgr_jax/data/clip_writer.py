"""Decodes tracks into rows of a clip store, in worker processes."""

import collections
import concurrent.futures
import dataclasses
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from mgr_jax import cores
from mgr_jax.data import audio
from mgr_jax.data.catalog import Track
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError
from mgr_jax.files import sha256

# The int16 value of 1.0 in a row of scale 1.
FULL_SCALE = 32768.0
# Up to this many tracks, starting worker processes takes longer than they save.
_FEW_TRACKS = 4

# Track, file of the store, row, shape of the store [N, T], rate in Hz.
Job = tuple[Track, str, int, tuple[int, int], int]


def write_rows(jobs: list[Job], num_workers: int) -> Iterator[Record]:
    """Yield the records of the jobs in any order; a file that kills its decoder is only skipped.

    Args:
      jobs: the rows to write.
      num_workers: processes that decode; 0 means one per core.

    Raises:
      UserError: if no process can be started.
    """
    if len(jobs) <= _FEW_TRACKS:
        yield from map(_decode_row, jobs)
        return
    num_workers = min(num_workers or cores.count(), len(jobs))
    queue = collections.deque(jobs)
    while queue:
        running: dict[concurrent.futures.Future, Job] = {}
        try:
            yield from _run_in_pool(queue, running, num_workers)
        except BrokenProcessPool:
            for job in running.values():  # One of these broke the pool.
                yield _run_alone(job)


def _run_in_pool(
    queue: collections.deque[Job],
    running: dict[concurrent.futures.Future, Job],
    num_workers: int,
) -> Iterator[Record]:
    """Yield records of jobs from `queue`; `running` has the unfinished ones if the pool breaks."""
    with _pool(num_workers) as pool:
        try:
            while queue or running:
                while queue and len(running) < 2 * num_workers:
                    running[pool.submit(_decode_row, queue[0])] = queue[0]
                    queue.popleft()
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    record = future.result()
                    del running[future]
                    yield record
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _run_alone(job: Job) -> Record:
    with _pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise UserError(
                "no process to decode in can be started; put your own script in a file, and its"
                " calls below `if __name__ == '__main__':`"
            ) from error
        try:
            return pool.submit(_decode_row, job).result()
        except BrokenProcessPool:
            return Record(job[0].id, error="crashed the decoder")


def _pool(num_workers: int) -> concurrent.futures.ProcessPoolExecutor:
    # Spawned, since the threads of JAX do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(num_workers, context, initializer=_start_worker)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, exit when it does, and silence the decoders."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def exit_with_parent() -> None:
    """Let this process end with its parent, even one that was killed."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _decode_row(job: Job) -> Record:
    """Decode one track and write its row; the row is complete before the record is returned."""
    track, target, row, shape, sample_rate = job
    source = file_hash(track.path)
    try:
        waveform, note = _read_track(track.path, sample_rate, shape[1])
    except audio.AudioError as error:
        return Record(track.id, error=str(error), source=source)
    except MemoryError:
        return Record(track.id, error="takes too much memory to decode", source=source)
    # Up to a tenth of the clip is the usual spread of a collection, and not reported.
    if len(waveform) < 0.9 * shape[1] and not note:
        seconds = len(waveform) / sample_rate
        note = f"short: {seconds:.2f} s, padded to {shape[1] / sample_rate:g} s"
    scale = max(1.0, float(np.abs(waveform).max()))
    steps = np.clip(np.rint(waveform / scale * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    samples = audio.fit(steps.astype(np.int16), shape[1])
    # On a full disk a write raises an error, while a mapped page would kill the process.
    with open(target, "r+b") as file:
        file.seek(row * shape[1] * 2)
        file.write(samples.tobytes())
        file.flush()
        os.fsync(file.fileno())
    record = Record(track.id, length=len(waveform), scale=scale, note=note, source=source)
    return dataclasses.replace(record, digest=row_digest(record, samples))


def file_hash(path: str) -> str:
    """Return the SHA-256 of a file; empty if it cannot be read, or for the embedded data set."""
    if not os.path.isfile(path):  # A pipe would block.
        return ""
    try:
        return sha256(path)
    except OSError:
        return ""


def row_digest(record: Record, samples: np.ndarray) -> str:
    """Return the hash of a row int16 `[T]` with the track, length and scale that it belongs to."""
    digest = hashlib.blake2b(f"{record.id} {record.length} {record.scale}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(samples, "<i2").data)
    return digest.hexdigest()


def _read_track(path: str, sample_rate: int, num_samples: int) -> tuple[np.ndarray, str]:
    if path.startswith("band:"):
        from mgr_jax.data.band import render  # Imported here: no other data set needs it.

        seconds = num_samples / sample_rate
        return render.render(path, sample_rate=sample_rate, seconds=seconds)[:num_samples], ""
    return audio.decode(path, sample_rate=sample_rate, max_samples=num_samples)
