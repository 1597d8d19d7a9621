"""The cache folder of decoded clips, compiled programs and copies of checkpoints, kept small."""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Iterable

import filelock

# What is removed as a whole: the folder of a clip store, one compiled program, one copy.
_ENTRIES = ("clips/*/", "shards/*/", "snapshots/*", "unpacked/*/", "xla/*")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file or folder of the cache: its size, and when it was used last, in Unix seconds."""

    path: pathlib.Path
    num_bytes: int
    used: float


def entries(folders: Iterable[pathlib.Path]) -> list[Entry]:
    """Return all entries of the cache folders, the least recently used first.

    Use is the latest access or change of a file, as exactly as the file system records it (of
    accesses, often once a day).
    """
    result = []
    for path in {p for folder in folders for pattern in _ENTRIES for p in folder.glob(pattern)}:
        stats = []
        for file in [path] if path.is_file() else path.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # Another process may remove it now.
                if file.is_file():  # Listing a folder would count as its use.
                    stats.append(file.stat())
        used = max((max(stat.st_atime, stat.st_mtime) for stat in stats), default=0.0)
        # Blocks, since an unfinished store is sparse; Windows does not count them.
        num_bytes = sum(getattr(stat, "st_blocks", stat.st_size / 512) * 512 for stat in stats)
        result.append(Entry(path, int(num_bytes), used))
    return sorted(result, key=lambda entry: (entry.used, entry.path))


def clean(folders: Iterable[pathlib.Path], *, max_bytes: int) -> tuple[list[Entry], int]:
    """Remove the least recently used entries until the rest takes `max_bytes` or less.

    What a process is writing stays.

    Returns:
      The removed entries, and the bytes of the rest.

    Raises:
      OSError: if one cannot be removed.
    """
    kept = entries(folders)
    total, removed = sum(entry.num_bytes for entry in kept), []
    for entry in kept:
        if total <= max_bytes:
            break
        if entry.path.is_dir():
            try:
                with filelock.FileLock(entry.path / "lock", timeout=0):
                    shutil.rmtree(entry.path)
            except filelock.Timeout:
                continue
        else:
            entry.path.unlink(missing_ok=True)
        total -= entry.num_bytes
        removed.append(entry)
    return removed, total
