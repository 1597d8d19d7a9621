"""Atomic writing of files, which stays safe when the program is killed."""

import os
import pathlib


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to a file beside `path`, and rename it to `path`.

    Raises:
      OSError: if it cannot be written.
    """
    partial = pathlib.Path(f"{os.fspath(path)}.partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)
