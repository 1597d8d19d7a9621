"""The clip store: every track decoded once, to int16 rows of one memory-mapped file."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import filelock
import numpy as np

from mgr_jax import progress
from mgr_jax.data import audio, clip_writer
from mgr_jax.data.catalog import Catalog
from mgr_jax.data.clip_writer import FULL_SCALE
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError
from mgr_jax.files import append_record, parse_json, read_records, write_whole
from mgr_jax.plural import plural
from mgr_jax.schema import has_types

# Times of the last change of the files of a store, in nanoseconds.
_CHANGES = "changes.json"


@dataclasses.dataclass(frozen=True)
class Clips:
    """Decoded clips: `samples` int16 `[N, T]` on disk, one `Record` a row, and the rate in Hz."""

    samples: Any  # np.ndarray, or `shards.Samples`, which reads what is indexed.
    records: tuple[Record, ...]
    sample_rate: int
    folder: pathlib.Path
    _intact: set[int] = dataclasses.field(default_factory=set, compare=False, repr=False)

    @functools.cached_property
    def row(self) -> dict[str, int]:
        """Return track id -> row, for the tracks that could be read."""
        return {record.id: i for i, record in enumerate(self.records) if not record.error}

    def __reduce__(self) -> tuple[Callable[..., "Clips"], tuple]:
        """Pickle a store on disk as its path, not as its samples."""
        path = getattr(self.samples, "filename", None)
        samples = self.samples if path is None else (path, self.samples.shape)
        return _unpickle, (samples, self.records, self.sample_rate, self.folder)

    def errors(self) -> dict[str, str]:
        """Return track id -> why it is skipped."""
        return {record.id: record.error for record in self.records if record.error}

    def notes(self) -> dict[str, str]:
        """Return track id -> what is odd about it, for tracks that were read."""
        return {r.id: r.note for r in self.records if r.note and not r.error}

    def content(self) -> dict[str, str]:
        """Return track id -> hash of the file that it was decoded from, where there is one."""
        return {r.id: r.source for r in self.records if r.source and not r.error}

    def check(self, row: int) -> None:
        """Compare a row with the digest of its decoding, once; shards have checksums of their own.

        Raises:
          UserError: if it is another one: the store is damaged.
        """
        record = self.records[row]
        is_checked = record.digest and isinstance(self.samples, np.memmap)
        if not is_checked or row in self._intact:
            return
        if clip_writer.row_digest(record, self.samples[row]) != record.digest:
            raise UserError(
                f"data.cache {self.folder}: the clip of {record.id} is damaged; delete this folder,"
                " and the tracks are decoded again"
            )
        self._intact.add(row)

    def check_all(self) -> None:
        """Call `check` for each row that could be read."""
        for row in self.row.values():
            self.check(row)

    def find_faults(self, catalog: Catalog) -> list[str]:
        """Return a line for each clip that is damaged, or whose file has changed since.

        Size and date of the files decide which store is opened; here all their bytes are read.
        """
        faults = []
        for row, (track, record) in enumerate(zip(catalog.tracks, self.records, strict=True)):
            if record.source and clip_writer.file_hash(track.path) != record.source:
                faults.append(f"{track.path}: has other content than when it was decoded")
            try:
                if not record.error:
                    self.check(row)
            except UserError:
                faults.append(f"{record.id}: its clip in {self.folder} is damaged")
        return faults

    def waveform(self, row: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Return samples `start:start + length` of a row, float32 `[length]`, zero-padded.

        Raises:
          UserError: if the row is damaged.
        """
        return self.int16(row, start, length).astype(np.float32) * self.scale(row)

    def int16(self, row: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Return the same samples as they are stored, int16, to be multiplied by `scale(row)`."""
        self.check(row)
        size = self.samples.shape[1] - start if length is None else length
        return audio.fit(self.samples[row, start : start + size], size)

    def scale(self, row: int) -> np.float32:
        """Return the factor that makes the samples of a row audio of full scale +-1."""
        return np.float32(self.records[row].scale / FULL_SCALE)


def _unpickle(samples: np.ndarray | tuple, *fields: Any) -> Clips:
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
    """Open the clip store of a catalog; decode first what is not in it yet.

    The name of its folder is a hash of its inputs (tracks, sizes and dates of the files, rate,
    length, decoder), so that a changed file makes a new store. A decode that was killed resumes
    where it ended; of two processes that need the same store, one decodes and the other waits.
    A file of the same size and date whose status has changed since (`cp -p`, `touch -r`) is read,
    and if its content is another, a new store is made too.

    Args:
      catalog: the tracks.
      sample_rate: rate in Hz. clip_samples: length T of a clip, cut or padded at the end.
      cache: folder of stores; empty means `$XDG_CACHE_HOME/mgr_jax` or `~/.cache/mgr_jax`.
      num_workers: processes that decode; 0 means one per core.

    Raises:
      UserError: if the store cannot be written.
    """
    key = hashlib.sha256(
        json.dumps([sample_rate, clip_samples, source_version(*audio.SOURCES)]).encode()
    )
    for track in catalog.tracks:
        key.update(json.dumps([track.id, *_signature(track.path)]).encode())
    shape = (len(catalog.tracks), clip_samples)
    while True:
        folder = cache_folder(cache) / "clips" / key.hexdigest()[:20]
        try:
            store = _open_or_fill(folder, catalog, sample_rate, shape, num_workers)
        except OSError as error:
            raise UserError(
                f"data.cache {folder}: cannot be written ({error.strerror or error}); set"
                " data.cache to a folder with room"
            ) from error
        replaced = _replaced(folder, catalog, store)
        if not replaced:
            return store
        names = ", ".join(name for name, _ in replaced[:3]) + (", ..." if replaced[3:] else "")
        print(
            f"note      {plural(len(replaced), 'file')} with other content than when decoded before"
            f" ({names}): decoded anew",
            file=sys.stderr,
        )
        key.update(json.dumps(replaced).encode())


def _open_or_fill(
    folder: pathlib.Path,
    catalog: Catalog,
    sample_rate: int,
    shape: tuple[int, int],
    num_workers: int,
) -> Clips:
    store = _open_store(folder, shape, sample_rate)
    if store is not None:
        return store
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        # Another process may have decoded it by now.
        store = _open_store(folder, shape, sample_rate)
        if store is not None:
            return store
        if not (folder / _CHANGES).exists():  # Of a decode that was killed.
            write_whole(folder / _CHANGES, json.dumps(_changes(catalog)))
        return _fill(folder, catalog, sample_rate, shape, num_workers)


def _changes(catalog: Catalog) -> dict[str, int]:
    """Return track id -> time of the last change of its file's status, which no program can set."""
    times = {}
    for track in catalog.tracks:
        with contextlib.suppress(OSError, ValueError):
            times[track.id] = os.stat(track.path).st_ctime_ns
    return times


def _replaced(folder: pathlib.Path, catalog: Catalog, store: Clips) -> list[list[str]]:
    """Return id and hash of the files whose content is another than that in the store.

    Only files whose status has changed are read.
    """
    now = _changes(catalog)
    try:
        then = dict(parse_json((folder / _CHANGES).read_bytes()))
    except (OSError, ValueError, TypeError):
        then = {}
    if then == now:
        return []
    replaced = []
    for track, record in zip(catalog.tracks, store.records, strict=True):
        if record.source and then.get(track.id) != now.get(track.id):
            content = clip_writer.file_hash(track.path)
            if content != record.source:
                replaced.append([track.id, content])
    if not replaced:
        with contextlib.suppress(OSError):  # Else the files are read again next time.
            write_whole(folder / _CHANGES, json.dumps(now))
    return replaced


def cache_folder(cache: str) -> pathlib.Path:
    """Return the folder `cache`; empty means `$XDG_CACHE_HOME/mgr_jax` or `~/.cache/mgr_jax`."""
    if cache:
        return pathlib.Path(os.path.expanduser(cache))
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(os.path.expanduser(base)) / "mgr_jax"


def _signature(path: str) -> list:
    """Return values that change when the audio of `path` does."""
    if path.startswith("band:"):
        return [path, source_version("band/**/*.py")]
    try:
        stat = os.stat(path)
    except OSError:
        return [path, "missing"]
    return [path, stat.st_size, stat.st_mtime_ns]


@functools.cache
def source_version(*patterns: str) -> str:
    """Return the SHA-256 of the sources that make the waveforms, since other code makes others."""
    here = pathlib.Path(__file__).parent
    sources = [path for pattern in patterns for path in sorted(here.glob(pattern))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _open_store(folder: pathlib.Path, shape: tuple[int, int], sample_rate: int) -> Clips | None:
    """Return the store in `folder`, or None if it is not finished, or damaged."""
    try:
        values = parse_json((folder / "store.json").read_text(encoding="utf-8"))
        records = tuple(Record(**record) for record in values["records"])
        samples = _map(folder / "clips.int16", shape)
        if values["sha256"] != _digest(values["records"]) or len(records) != shape[0]:
            return None
        if not all(map(has_types, records)):
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Clips(samples, records, sample_rate, folder)


def _digest(records: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(records).encode()).hexdigest()


def _fill(
    folder: pathlib.Path,
    catalog: Catalog,
    sample_rate: int,
    shape: tuple[int, int],
    num_workers: int,
) -> Clips:
    """Decode the tracks that `progress.jsonl` does not name yet, then write `store.json`."""
    target, log = folder / "clips.int16", folder / "progress.jsonl"
    num_bytes = shape[0] * shape[1] * 2
    if not target.exists() or target.stat().st_size != num_bytes:
        log.unlink(missing_ok=True)  # The rows that it names would be zeros.
        with open(target, "ab") as file:
            file.truncate(num_bytes)
    done = {record.id: record for record in _read_progress(log)}
    jobs = [
        (track, str(target), row, shape, sample_rate)
        for row, track in enumerate(catalog.tracks)
        if track.id not in done
    ]
    with progress.Progress("decode", total=shape[0], unit="track", initial=len(done)) as bar:
        for record in clip_writer.write_rows(jobs, num_workers):
            done[record.id] = record
            append_record(log, dataclasses.asdict(record))
            bar.update()
    records = tuple(done[track.id] for track in catalog.tracks)
    values = {
        "sample_rate": sample_rate,
        "clip_samples": shape[1],
        "records": [dataclasses.asdict(record) for record in records],
    }
    values["sha256"] = _digest(values["records"])
    write_whole(folder / "store.json", json.dumps(values, indent=1))
    log.unlink()
    samples = _map(target, shape)
    return Clips(samples, records, sample_rate, folder)


def _read_progress(log: pathlib.Path) -> Iterator[Record]:
    for values in read_records(log):
        with contextlib.suppress(TypeError):
            record = Record(**values)
            if has_types(record):
                yield record
