"""The folder of uploads: made when the page starts, kept small while it runs, then removed."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

import filelock

# After that many seconds an upload is deleted.
MAX_AGE = 3600
_PREFIX = "mgr_jax_app_"
# Bytes that even an empty file or folder takes on disk.
_BLOCK = 4096


@contextlib.contextmanager
def open_folder() -> Iterator[pathlib.Path]:
    """Create the folder of uploads; remove it at the end.

    What pages that were killed have left behind is removed first: a page holds a lock as long as
    its process lives.
    """
    folder = pathlib.Path(tempfile.gettempdir()) / f"{_PREFIX}{os.urandom(8).hex()}"
    with _lock(folder):  # Before there is a folder, or another page would take it for a leftover.
        folder.mkdir(mode=0o700)
        owner = folder.stat().st_uid
        for leftover in folder.parent.glob(f"{_PREFIX}*"):
            # An OSError says that the page is alive, or that another page is removing it.
            with contextlib.suppress(OSError):
                if leftover != folder and leftover.lstat().st_uid == owner:
                    with _lock(leftover):
                        shutil.rmtree(leftover)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[None]:
    """Hold the lock of a folder, which the system releases when the process ends.

    Raises:
      OSError: if another process holds it.
    """
    path = folder.with_name(f".{folder.name}.lock")
    with filelock.FileLock(path, timeout=0):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file.
                path.unlink(missing_ok=True)


def disk_usage(folder: pathlib.Path) -> int:
    """Return the bytes that all below `folder` takes, at least a block for a file or folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # It is deleted meanwhile.
            total += max(path.stat().st_size if path.is_file() else 0, _BLOCK)
    return total


def delete_old(folder: pathlib.Path, *, partial_age: float) -> None:
    """Delete the uploads older than `MAX_AGE` seconds, and the folders that they leave empty.

    A file that lies in `folder` itself is an upload that has not ended, and is deleted when nothing
    was written to it for `partial_age` seconds.
    """
    now = time.time()
    # The content of a folder comes before it.
    for path in sorted(folder.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            age = now - path.lstat().st_mtime
            if path.is_dir() and not path.is_symlink():
                if age > MAX_AGE:
                    path.rmdir()
            elif age > (partial_age if path.parent == folder else MAX_AGE):
                path.unlink()
