"""Contents of files, and atomic writing, which stays safe when the program is killed."""

import csv
import io
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to a file beside `path`, and rename it to `path`.

    Raises:
      OSError: if it cannot be written.
    """
    partial = pathlib.Path(f"{os.fspath(path)}.partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return the content of a CSV file with the column names `head`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def csv_line(values: Sequence[Any]) -> str:
    """Return one row of a CSV file, without its line break."""
    return csv_text(values, ())[:-1]
