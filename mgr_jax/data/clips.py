"""The clip store: every track decoded once, to int16 rows of one memory-mapped file."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import tqdm

from mgr_jax import cores
from mgr_jax.data import audio
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError
from mgr_jax.files import write_whole

# What 1.0 is in a row of the store.
FULL_SCALE = 32768.0
# Below this many tracks, starting worker processes takes longer than they save.
_FEW_TRACKS = 4


@dataclasses.dataclass(frozen=True)
class Clips:
    """Decoded clips: `samples` int16 `[N, T]` on disk, one `Record` a row, and the rate in Hz."""

    samples: np.ndarray
    records: tuple[Record, ...]
    sample_rate: int
    folder: pathlib.Path

    @functools.cached_property
    def row(self) -> dict[str, int]:
        """Track id -> row, for the tracks that could be read."""
        return {record.id: i for i, record in enumerate(self.records) if not record.error}

    def __reduce__(self) -> tuple[Callable[..., "Clips"], tuple]:
        """A store on disk goes to another process as its path, not as its samples."""
        where = getattr(self.samples, "filename", None)
        samples = self.samples if where is None else (where, self.samples.shape)
        return _receive, (samples, self.records, self.sample_rate, self.folder)

    def errors(self) -> dict[str, str]:
        """Track id -> why it is skipped."""
        return {record.id: record.error for record in self.records if record.error}

    def notes(self) -> dict[str, str]:
        """Track id -> what is odd about it, for tracks that were read."""
        return {r.id: r.note for r in self.records if r.note and not r.error}

    def waveform(self, row: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Samples `start:start + length` of a row, float32 `[length]`, zeros past its end."""
        length = self.samples.shape[1] - start if length is None else length
        piece = self.samples[row, start : start + length]
        scale = np.float32(self.records[row].scale / FULL_SCALE)
        return audio.fit(piece.astype(np.float32) * scale, length)


def _receive(samples: np.ndarray | tuple, *fields: Any) -> Clips:
    return Clips(_map(*samples) if isinstance(samples, tuple) else samples, *fields)


def _map(path: str | pathlib.Path, shape: tuple[int, int]) -> np.memmap:
    return np.memmap(path, dtype=np.int16, mode="r", shape=shape)


def open_clips(
    catalog: Catalog,
    *,
    sample_rate: int,
    clip_samples: int,
    cache: str = "",
    num_workers: int = 0,
) -> Clips:
    """Opens the clip store of a catalog; decodes first what is not in it yet.

    The store lies in a folder named by what it was made from (tracks, sizes and dates of the
    files, rate, length, decoder), so that a changed file makes a new one. A decode that was killed
    goes on where it was; of two processes that need the same store one decodes and the other waits.

    Args:
      catalog: the tracks.
      sample_rate: rate in Hz. clip_samples: length T of a clip, cut or padded at the end.
      cache: folder of stores; empty means `$XDG_CACHE_HOME/mgr_jax` or `~/.cache/mgr_jax`.
      num_workers: processes that decode; 0 means one per core.

    Raises:
      UserError: if the store cannot be written, or no process can be started.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker that imports a script without a main guard: it would wait for its own parent.
        raise RuntimeError("open_clips: call it below `if __name__ == '__main__':`")
    key = hashlib.sha256(
        json.dumps([sample_rate, clip_samples, source_version("audio.py")]).encode()
    )
    for track in catalog.tracks:
        key.update(json.dumps([track.id, *_signature(track.path)]).encode())
    folder = cache_folder(cache) / "clips" / key.hexdigest()[:20]
    shape = (len(catalog.tracks), clip_samples)
    store = _open_store(folder, shape, sample_rate)
    try:
        if store is None:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / "lock"):
                # Another process may have decoded it meanwhile.
                store = _open_store(folder, shape, sample_rate)
                if store is None:
                    store = _fill(folder, catalog, sample_rate, shape, num_workers)
    except OSError as error:
        raise UserError(
            f"data.cache {folder}: cannot be written ({error.strerror or error}); set data.cache"
            " to a folder with room"
        ) from error
    return store


def cache_folder(cache: str) -> pathlib.Path:
    if cache:
        return pathlib.Path(os.path.expanduser(cache))
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(os.path.expanduser(base)) / "mgr_jax"


def _signature(path: str) -> list:
    """What changes when the audio behind `path` does."""
    if path.startswith("band:"):
        return [path, source_version("band/**/*.py")]
    try:
        stat = os.stat(path)
    except OSError:
        return [path, "missing"]
    return [path, stat.st_size, stat.st_mtime_ns]


@functools.cache
def source_version(*patterns: str) -> str:
    """SHA-256 of the sources that make the waveforms: other code, other clips."""
    here = pathlib.Path(__file__).parent
    sources = [path for pattern in patterns for path in sorted(here.glob(pattern))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _open_store(folder: pathlib.Path, shape: tuple[int, int], sample_rate: int) -> Clips | None:
    """The store in `folder`, or None if it is not finished, or damaged."""
    try:
        values = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        records = tuple(Record(**record) for record in values["records"])
        samples = _map(folder / "clips.int16", shape)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Clips(samples, records, sample_rate, folder) if len(records) == shape[0] else None


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(
    folder: pathlib.Path,
    catalog: Catalog,
    sample_rate: int,
    shape: tuple[int, int],
    num_workers: int,
) -> Clips:
    """Decodes the tracks that `progress.jsonl` does not name yet, then writes `store.json`."""
    target, log = folder / "clips.int16", folder / "progress.jsonl"
    num_bytes = shape[0] * shape[1] * 2
    if not target.exists() or target.stat().st_size != num_bytes:
        log.unlink(missing_ok=True)  # What it names would be rows of zeros.
        with open(target, "ab") as file:
            file.truncate(num_bytes)
    done = {record.id: record for record in _read_progress(log)}
    jobs = [
        (track, str(target), row, shape, sample_rate)
        for row, track in enumerate(catalog.tracks)
        if track.id not in done
    ]
    with (
        open(log, "a", encoding="utf-8") as file,
        tqdm.tqdm(
            total=shape[0], initial=len(done), desc="decode", unit="track", disable=None
        ) as bar,
    ):
        for record in _run(jobs, num_workers):
            done[record.id] = record
            # The line break first: the last line may have been cut by a kill.
            file.write("\n" + json.dumps(dataclasses.asdict(record)))
            file.flush()
            bar.update()
    records = tuple(done[track.id] for track in catalog.tracks)
    values = {
        "sample_rate": sample_rate,
        "clip_samples": shape[1],
        "records": [dataclasses.asdict(record) for record in records],
    }
    write_whole(folder / "store.json", json.dumps(values, indent=1))
    log.unlink()
    samples = _map(target, shape)
    return Clips(samples, records, sample_rate, folder)


def _read_progress(log: pathlib.Path) -> Iterator[Record]:
    if log.exists():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError, TypeError):  # A line cut by a kill.
                yield Record(**json.loads(line))


def _run(jobs: list[tuple], num_workers: int) -> Iterator[Record]:
    """Records of the jobs in any order; a file that kills its decoder costs only itself."""
    if len(jobs) <= _FEW_TRACKS:
        yield from map(_decode_row, jobs)
        return
    num_workers = min(num_workers or cores.count(), len(jobs))
    waiting = collections.deque(jobs)
    while waiting:
        running: dict[concurrent.futures.Future, tuple] = {}
        try:
            yield from _run_in_pool(waiting, running, num_workers)
        except BrokenProcessPool:
            for job in running.values():  # One of these did it.
                yield _run_alone(job)


def _run_in_pool(
    waiting: collections.deque[tuple],
    running: dict[concurrent.futures.Future, tuple],
    num_workers: int,
) -> Iterator[Record]:
    """Takes jobs from `waiting`; `running` holds those that a broken pool leaves undecided."""
    with _pool(num_workers) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * num_workers:
                    running[pool.submit(_decode_row, waiting[0])] = waiting[0]
                    waiting.popleft()
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    record = future.result()
                    del running[future]
                    yield record
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _run_alone(job: tuple) -> Record:
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
    # Spawned, not forked: JAX's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(num_workers, context, initializer=_start_worker)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, ends with it, and keeps decoders off the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _decode_row(job: tuple[Track, str, int, tuple[int, int], int]) -> Record:
    """Reads one track and writes its row; the row is complete before the record is returned."""
    track, target, row, shape, sample_rate = job
    try:
        waveform, note = _read_track(track.path, sample_rate, shape[1])
    except audio.AudioError as error:
        return Record(track.id, error=str(error))
    if len(waveform) < shape[1] and not note:
        seconds = len(waveform) / sample_rate
        # A tenth of the clip and less is the usual spread of a collection, not worth a word.
        if len(waveform) < 0.9 * shape[1]:
            note = f"short: {seconds:.2f} s, padded to {shape[1] / sample_rate:g} s"
    scale = max(1.0, float(np.abs(waveform).max()))
    steps = np.clip(np.rint(waveform / scale * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    # Written, not mapped: on a full disk a write is an error, a mapped page kills the process.
    with open(target, "r+b") as file:
        file.seek(row * shape[1] * 2)
        file.write(audio.fit(steps.astype(np.int16), shape[1]).tobytes())
        file.flush()
        os.fsync(file.fileno())
    return Record(track.id, length=len(waveform), scale=scale, note=note)


def _read_track(path: str, sample_rate: int, num_samples: int) -> tuple[np.ndarray, str]:
    if path.startswith("band:"):
        from mgr_jax.data.band import render  # Here: no other data set needs its renderer.

        seconds = num_samples / sample_rate
        return render.render(path, sample_rate=sample_rate, seconds=seconds)[:num_samples], ""
    return audio.decode(path, sample_rate=sample_rate, max_samples=num_samples)
