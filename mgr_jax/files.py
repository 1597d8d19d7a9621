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


def read_csv(path: str | os.PathLike) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column, without surrounding white space.

    Commas, semicolons or tabs separate the columns, whose names are in lower case.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is not UTF-8, has no rows, or a row has not as many cells as the header.
    """
    text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        head, *lines = [line for line in reader if line] or [[]]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not lines:
        raise ValueError("it has no rows")
    names = [name.strip().lower() for name in head]
    for number, line in enumerate(lines, 1):
        if len(line) != len(names):
            raise ValueError(f"row {number} has {len(line)} cells, the header {len(names)}")
    return [dict(zip(names, map(str.strip, line), strict=True)) for line in lines]
