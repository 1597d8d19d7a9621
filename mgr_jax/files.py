"""Files that are whole or not there, also when the program is killed while it writes."""

import os
import pathlib


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes `content` (text as UTF-8) beside `path`, and puts it in its place at once.

    Raises:
      OSError: if it cannot be written.
    """
    partial = pathlib.Path(f"{os.fspath(path)}.partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)
