"""Contents of files, and atomic writing, which stays safe when the program is killed."""

import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mgr_jax.escape import restore_cell, spreadsheet_cell


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of the bytes of a file.

    Raises:
      OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
      ValueError: if it is damaged, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def json_digest(values: Any) -> str:
    """Return the SHA-256 of JSON values, for any order of their fields."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def record_digest(record: Mapping[str, Any]) -> str:
    """Return the `json_digest` of a record without its field `digest`."""
    return json_digest({name: value for name, value in record.items() if name != "digest"})


def read_records(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Return the JSON objects of a file, one a line; none if there is no file.

    Lines that are no JSON objects are left out: a kill may have cut the last one, and a disk may
    damage any.
    """
    records = []
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                record = parse_json(line)
                if isinstance(record, dict):
                    records.append(record)
    return records


def append_record(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Append a JSON object to a file as a line of its own, even if a kill has cut the last one.

    Raises:
      OSError: if it cannot be written; its `filename` is `path`.
    """
    with naming_file(path), open(path, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        is_cut = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * is_cut + json.dumps(record).encode() + b"\n")


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to a file beside `path`, and rename it to `path`.

    Raises:
      OSError: if it cannot be written; its `filename` is `path`.
    """
    partial = pathlib.Path(f"{os.fspath(path)}.partial")
    with naming_file(path):
        try:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):  # It may have filled the disk.
                partial.unlink()
            raise


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, Any]) -> None:
    """Write arrays by their names as an `.npz` file; errors as `write_whole`."""
    import numpy as np

    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


@contextlib.contextmanager
def naming_file(path: str | os.PathLike) -> Iterator[None]:
    """Name `path` in an `OSError` of the block: errors of writing do not name their file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # Else its text is all that it shows.
            error.filename = os.fspath(path)
        raise


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return the content of a CSV file with the column names `head`.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    text = io.StringIO()
    cells = (map(spreadsheet_cell, row) for row in (head, *rows))
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


def csv_line(values: Sequence[Any]) -> str:
    """Return one row of a CSV file, without its line break."""
    return csv_text(values, ())[:-1]


def read_csv(path: str | os.PathLike) -> list[dict[str, str]]:
    """Return the rows of a file of `csv_text` by column; of columns of one name, the first.

    `data.tables` reads the tables of others.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is damaged.
    """
    with open(path, encoding="utf-8", newline="") as file:
        try:
            rows = [[restore_cell(cell) for cell in row] for row in csv.reader(file, strict=True)]
            head = rows.pop(0)
            return [dict(zip(head[::-1], row[::-1], strict=True)) for row in rows]
        except (csv.Error, IndexError) as error:
            raise ValueError(str(error)) from error
