"""Writes shards: decodes a slice of a catalog of any size into an ArrayRecord file.

Shard I of N has slice I of the sorted catalog, so that N machines write N shards independently.
Records are not compressed: compression would save a few percent and make reading many times slower.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator, Sequence
from importlib import metadata

import filelock
import soundfile

from mgr_jax import progress
from mgr_jax.data import audio, clips, manifests, shard_faults
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.manifests import Collection, Manifest, Source
from mgr_jax.errors import UserError
from mgr_jax.files import sha256, write_whole

try:
    from array_record.python import (
        array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
    )
except ImportError:  # There is none for Windows.
    array_record_module = None

# Samples of a record: 3 s at 22 050 Hz.
PIECE_SAMPLES = 1 << 16
# One record a group, so that each can be read on its own.
_WRITER = "group_size:1,uncompressed"
_READ_THREADS = 4


def write_shard(
    catalog: Catalog,
    folder: str,
    *,
    shard: int,
    num_shards: int,
    sample_rate: int,
    clip_samples: int,
    cache: str = "",
    num_workers: int = 0,
) -> tuple[Manifest, bool]:
    """Write shard `shard` of `num_shards` of a catalog, unless it is there and up to date.

    Its tracks are decoded into a clip store first, which survives a kill and is deleted at the end.

    Args:
      catalog: all tracks. folder: where all shards are written to, on any machine.
      shard: 0 to `num_shards - 1`.
      sample_rate: rate in Hz. clip_samples: length T of a clip.
      cache, num_workers: see `clips.open_clips`; a shard's clips must fit in there.

    Returns:
      The manifest of the shard, and whether the shard had to be written.

    Raises:
      UserError: if ArrayRecord is missing, `shard` is out of range, the folder has shards of
        another number, rate or length or cannot be written, or a file changes during the write.
    """
    if array_record_module is None:
        raise UserError("--shards: needs array_record, which exists for Linux and macOS; use those")
    _check_range(catalog, shard, num_shards)
    root = pathlib.Path(os.path.expanduser(folder))
    common = _collection(catalog, sample_rate, clip_samples)
    own = catalog.tracks[manifests.slice_of(len(catalog.tracks), shard, num_shards)]
    _check_neighbours(root, common, num_shards)

    def finished() -> Manifest | None:
        with contextlib.suppress(OSError, ValueError):
            path = manifests.manifest_path(root, shard, num_shards)
            since, manifest = path.stat().st_mtime_ns, manifests.read_manifest(path)
            stale = shard_faults.wrong_size(root, manifest) or _stale(manifest, common, own, since)
            if not stale:
                return manifest
        return None

    manifest = finished()
    if manifest:
        return manifest, False
    key = hashlib.sha256(f"{root.resolve()}/{manifests.stem(shard, num_shards)}".encode())
    work = clips.cache_folder(cache) / "shards" / key.hexdigest()[:20]
    with _only_one(work):
        manifest = finished()  # Another process may have written it by now.
        if manifest:
            return manifest, False
        before = [_stat(track) for track in own]
        store = clips.open_clips(
            dataclasses.replace(catalog, tracks=own),
            sample_rate=sample_rate,
            clip_samples=clip_samples,
            cache=str(work),
            num_workers=num_workers,
        )
        with (
            progress.Progress("hash", "the files of the shard"),
            concurrent.futures.ThreadPoolExecutor(_READ_THREADS) as pool,
        ):
            sources = tuple(pool.map(_source, own))
        changed = [
            t.id for t, stat, s in zip(own, before, sources, strict=True) if stat != _size_date(s)
        ]
        if changed:
            raise UserError(
                f"{len(changed)} file(s) changed while they were read ({changed[0]}); run the same"
                " command again"
            )
        empty = Manifest(shard, num_shards, common, 0, "", own, store.records, sources)
        with progress.Progress("write", "the shard"):
            manifest = _write(root, empty, store)
        shutil.rmtree(work, ignore_errors=True)
    return manifest, True


def _check_range(catalog: Catalog, shard: int, num_shards: int) -> None:
    most = min(len(catalog.tracks), 99_999)
    if not 1 <= num_shards <= most:
        raise UserError(
            f"--shard {shard}/{num_shards}: N is {num_shards}; for {len(catalog.tracks)} tracks it"
            f" must be 1 to {most}"
        )
    if not 0 <= shard < num_shards:
        raise UserError(
            f"--shard {shard}/{num_shards}: I is {shard}; it must be 0 to {num_shards - 1}"
        )


def _collection(catalog: Catalog, sample_rate: int, clip_samples: int) -> Collection:
    sources = [*audio.SOURCES] + ["band/**/*.py"] * (catalog.name == "band")
    decoder = {
        "code": clips.source_version(*sources),
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": metadata.version("soxr"),
    }
    return Collection(
        name=catalog.name,
        catalog_hash=catalog.hash(),
        num_tracks=len(catalog.tracks),
        skipped=catalog.skipped,
        sample_rate=sample_rate,
        clip_samples=clip_samples,
        piece_samples=PIECE_SAMPLES,
        decoder=decoder,
    )


def _check_neighbours(root: pathlib.Path, common: Collection, num_shards: int) -> None:
    """Refuse a folder that has shards of another kind: a mistyped option, most likely."""
    for path in sorted(root.glob("shard-*.json")):
        try:
            other = manifests.read_manifest(path)
        except (OSError, ValueError):
            continue  # `--check` names it.
        kind = {"N": (other.num_shards, num_shards)}
        for name in ("sample_rate", "clip_samples"):
            kind[name] = (getattr(other.collection, name), getattr(common, name))
        for name, (there, here) in kind.items():
            if there != here:
                raise UserError(
                    f"--shards {root}: {path.name} there has {name} {there}, not {here}; use"
                    f" {there}, or another folder"
                )
        return  # One is enough: the others were compared with it.


def _stale(manifest: Manifest, common: Collection, tracks: Sequence[Track], since: int) -> str:
    """Return why a shard is not what `tracks` of the collection give now; empty if it is.

    Files are read whose size or date is another, or whose status has changed since `since`, in
    nanoseconds.
    """
    words = shard_faults.differences(manifest.collection, common)
    if words:
        return f"has {words}"
    if [t.id for t in manifest.tracks] != [t.id for t in tracks]:
        return "has other tracks"
    changed = [
        track.id
        for track, source in zip(tracks, manifest.sources, strict=True)
        # The MD5 decides, since a copy of the collection has other dates.
        if (_stat(track) != _size_date(source) or _status_time(track) >= since)
        and _source(track).md5 != source.md5
    ]
    return f"has {len(changed)} file(s) that changed since ({changed[0]})" if changed else ""


def _stat(track: Track) -> tuple[int, int]:
    """Return size and date of a track's file, zeros if there is none."""
    try:
        stat = os.stat(track.path)
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _status_time(track: Track) -> int:
    """Return the time of the last change of a file's status, which no program can set."""
    try:
        return os.stat(track.path).st_ctime_ns
    except (OSError, ValueError):
        return 0


def _size_date(source: Source) -> tuple[int, int]:
    return source.size, source.mtime_ns


def _source(track: Track) -> Source:
    stat, md5 = _stat(track), ""
    if os.path.isfile(track.path):
        with contextlib.suppress(OSError), open(track.path, "rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
    return Source(*stat, md5)


@contextlib.contextmanager
def _only_one(work: pathlib.Path) -> Iterator[None]:
    """Lock the folder: of two processes on this machine that write one shard, the second waits."""
    lock = filelock.FileLock(work / "lock")
    try:
        while not lock.is_locked:
            work.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # The first has deleted the folder.
                lock.acquire()
    except OSError as error:
        raise UserError(
            f"data.cache {work}: cannot be written ({error.strerror}); set data.cache to a folder"
            " with room"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _write(root: pathlib.Path, manifest: Manifest, store: clips.Clips) -> Manifest:
    """Write the ArrayRecord file of a shard, then its manifest; each is whole or not there."""
    path = manifests.data_path(root, manifest.shard, manifest.num_shards)
    about = manifests.manifest_path(root, manifest.shard, manifest.num_shards)
    # The name differs from that of another machine that writes the same shard.
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Python creates it first, since the writer reports no file that cannot be opened.
        partial.write_bytes(b"")
        writer = array_record_module.ArrayRecordWriter(str(partial), _WRITER)
        for row, record in enumerate(manifest.records):
            for piece in _pieces(store, row, record.length):
                writer.write(piece)
        writer.close()
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        size, digest = partial.stat().st_size, sha256(partial)
        done = dataclasses.replace(manifest, num_bytes=size, sha256=digest)
        about.unlink(missing_ok=True)  # The old manifest must never describe the new file.
        os.replace(partial, path)
        write_whole(about, manifests.to_text(done))
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).partition(";")[0]
        raise UserError(
            f"--shards {root}: cannot be written ({reason}); make room, or give another folder"
        ) from error
    for leftover in root.glob(f".{path.name}.*.partial"):  # From a machine that was killed.
        leftover.unlink(missing_ok=True)
    return done


def _pieces(store: clips.Clips, row: int, length: int) -> Iterator[bytes]:
    """Yield the records of a row, by `read`: mapped pages count as memory of this process."""
    with open(store.samples.filename, "rb") as file:
        file.seek(row * store.samples.shape[1] * 2)
        for start in range(0, length, PIECE_SAMPLES):
            yield file.read(2 * min(PIECE_SAMPLES, length - start))


def find_faults(
    catalog: Catalog | None, folder: str, *, sample_rate: int, clip_samples: int
) -> tuple[list[Manifest], list[str]]:
    """Return the manifests of a folder, and a line for each fault of its shards; read every byte.

    Args:
      catalog: the catalog of the shards; None only compares them with each other.
      sample_rate, clip_samples: rate in Hz and length T that they must have.
    """
    root = pathlib.Path(os.path.expanduser(folder))
    if not root.is_dir():
        raise UserError(f"--shards {folder}: no such folder; write shards to it with --shard=I/N")
    common = catalog and _collection(catalog, sample_rate, clip_samples)
    shards, faults = shard_faults.find_faults(root, common)
    for manifest in shards:
        number, count, why = manifest.shard, manifest.num_shards, ""
        remedy, path = shard_faults.remedy(number, count), manifests.data_path(root, number, count)
        if catalog and common:
            own = catalog.tracks[manifests.slice_of(len(catalog.tracks), number, count)]
            why = _stale(manifest, common, own, since=0)
        if not why and sha256(path) != manifest.sha256:
            why = "has other bytes than its manifest says"
            remedy = f"delete {path.name}, then {remedy}"
        if why:
            faults.append(f"shard {number}/{count} {why}; {remedy}")
    return shards, faults


def describe(shards: Sequence[Manifest]) -> str:
    """Return `16 shard(s): 106574 tracks, 74 of them skipped, 141093.1 MB`."""
    records = [record for manifest in shards for record in manifest.records]
    skipped, size = sum(bool(r.error) for r in records), sum(m.num_bytes for m in shards)
    return (
        f"{len(shards)} shard(s): {len(records)} tracks, {skipped} of them skipped,"
        f" {size / 1e6:.1f} MB"
    )
