"""Checksums of the files of a folder, which show damage before anything is read from them."""

import errno
import json
import pathlib
from collections.abc import Collection

from mgr_jax.escape import printable
from mgr_jax.files import parse_json, sha256, write_whole

NAME = "checksums.json"
# Errors of a file that is not there, or cannot be there.
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


def write(folder: pathlib.Path, name: str, *, ignored: Collection[str] = ()) -> None:
    """Write the SHA-256 of all files below `folder`, except those `ignored`, into the folder.

    Args:
      folder: the folder, which may still have a temporary name.
      name: its final name; `verify` notices if two folders were exchanged.
      ignored: paths relative to the folder.

    Raises:
      OSError: if a file cannot be read or written.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    files = {
        relative: sha256(path)
        for relative, path in paths.items()
        # NFS keeps a file that is deleted while open under such a name, for a moment.
        if relative not in ignored and path.is_file() and not path.name.startswith(".nfs")
    }
    write_whole(folder / NAME, json.dumps({"name": name, "sha256": files}, indent=0))


def verify(folder: pathlib.Path, *, under: str = "") -> bool:
    """Compare the files of `folder` with their checksums; return False if it has none.

    Args:
      folder: the folder.
      under: compare only files whose relative path begins with this.

    Raises:
      ValueError: if a file is missing or changed, or the folder has another name.
      OSError: if a file cannot be read.
    """
    try:
        values = parse_json((folder / NAME).read_bytes())
        name, files = values["name"], values["sha256"]
        if not isinstance(files, dict) or not files:
            raise ValueError("it lists no file")
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder.name}/{NAME} is damaged") from error
    if name != folder.name:
        raise ValueError(f"{folder.name} is a copy of {printable(str(name))}")
    for relative, expected in files.items():
        if relative.startswith(under):
            try:
                actual = sha256(folder / relative)
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                raise ValueError(f"{folder.name}/{printable(relative)[:200]} is missing") from error
            if actual != expected:
                shown = printable(relative)
                raise ValueError(f"{folder.name}/{shown} has other bytes than were saved")
    return True
