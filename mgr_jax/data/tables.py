"""Tables: CSV files as spreadsheets, programs and people write them.

Commas, semicolons, tabs or bars separate the columns, or what a first line `sep=;` names. Spaces
around cells, upper case in the header, empty lines, comments (`#`) above the header and UTF-8 or
UTF-16 with or without a byte order mark make no difference.
"""

import codecs
import contextlib
import csv
import dataclasses
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from mgr_jax.escape import printable, restore_cell

# Delimiters and their names, first those that are rarer in text.
_DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}
_SEP_LINE = re.compile(r'"?sep *= *"?(\\t|.)"?[\s,;|]*', re.IGNORECASE)
# The first bytes of files that hold tables but are no text.
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"\xfd7zXZ", b"7z\xbc\xaf", b"%PDF")
# Characters and rows that the delimiter is taken from.
_HEAD, _HEAD_ROWS = 1 << 16, 20
_LONGEST_LINE = 1 << 27
_SHOWN = 12

# The line of the file at which a row ends, and its cells.
Row = tuple[int, list[str]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
      names: columns, in lower case. delimiter: the character between them.
      rows: column -> cell, for each row. lines: the line at which each row ends.
    """

    names: tuple[str, ...]
    delimiter: str
    rows: list[dict[str, str]]
    lines: list[int]

    def require(self, *columns: str) -> None:
        """Raise `ValueError`, which names the columns and the delimiter, if a column is missing."""
        missing = sorted(set(columns) - set(self.names))
        if missing:
            shown = describe(self.names, self.delimiter)
            raise ValueError(f"column {missing[0]!r} is missing; {shown}")


def read_table(path: str | os.PathLike, *, known: Iterable[str] = (), fill: bool = False) -> Table:
    """Read a table with a header.

    Args:
      path: the file.
      known: names of columns to expect, from which the delimiter is recognised.
      fill: take a row with fewer cells than the header as if empty ones followed.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is not text, a quote is not closed, a column or the header is there twice,
        or a row has more cells than the header, or fewer.
    """
    with open_rows(path, known=known) as (rows, delimiter):
        names: tuple[str, ...] = ()
        for _, header in rows:
            names = _names(header)
            if not names[0].startswith("#") or set(names) & set(known):  # Else it is a comment.
                break
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"column {twice[:60]!r} is there twice; keep one")
        table = Table(names, delimiter, [], [])
        for line, cells in rows:
            if any(cells[len(names) :]):
                raise ValueError(
                    f"line {line} has {len(cells)} cells, the header {len(names)}; put text that"
                    f" has {_DELIMITERS.get(delimiter, 'delimiters')} between quotes"
                )
            if _names(cells) == names:
                raise ValueError(f"line {line} is the header again; remove it")
            missing = len(names) - len(cells)
            if missing > 0 and not fill:
                raise ValueError(f"line {line} has {len(cells)} cells, the header {len(names)}")
            cells += [""] * missing
            table.rows.append(dict(zip(names, cells, strict=False)))
            table.lines.append(line)
    return table


def _names(header: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell.strip("\ufeff").lower() for cell in header)


def describe(names: Sequence[str], delimiter: str) -> str:
    """Return columns and delimiter in words."""
    if not any(names):
        return "the file is empty"
    shown = [printable(name)[:40] for name in names[:_SHOWN]]
    if len(names) == 1:
        return f"its only column is {shown[0]!r}"
    more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    between = _DELIMITERS.get(delimiter, repr(delimiter))
    return f"its columns, separated by {between}, are {', '.join(map(repr, shown))}{more}"


@contextlib.contextmanager
def open_rows(
    path: str | os.PathLike, *, known: Iterable[str] = ()
) -> Iterator[tuple[Iterator[Row], str]]:
    """Open a table and yield its rows, the header among them, and its delimiter.

    Rows are read one by one. Cells have no white space around them; empty rows are left out.

    Raises:
      OSError, ValueError: as `read_table` does, also while the rows are read.
    """
    with open_text(path) as file:
        head, skipped = file.readline(_HEAD), 0
        while head and not head.strip():
            head, skipped = file.readline(_HEAD), skipped + 1
        if sep_line := _SEP_LINE.fullmatch(head):
            delimiter = sep_line[1].replace("\\t", "\t")
        else:
            delimiter = _delimiter(head + file.read(_HEAD), set(known))
        skipped += bool(sep_line)
        file.seek(0)
        for _ in range(skipped):
            file.readline(_HEAD)
        lines = _lines(file)
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            yield _rows(reader, skipped=skipped), delimiter
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num + skipped}: {error}") from error


@contextlib.contextmanager
def open_text(path: str | os.PathLike) -> Iterator[IO[str]]:
    """Open a text file of any Unicode encoding; line breaks are left as they are.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is not text.
    """
    with open(path, "rb") as binary:
        source = binary if binary.seekable() else io.BytesIO(binary.read())
        start = source.read(4096)
        source.seek(0)
        if start.startswith(_WORKBOOKS):
            raise ValueError("it is a workbook or an archive; save it as CSV")
        try:
            yield io.TextIOWrapper(source, encoding=_encoding(start), newline="")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"it is not text in UTF-8 or UTF-16 ({error.reason}); save it as CSV in UTF-8"
            ) from error


def _encoding(start: bytes) -> str:
    """Return the encoding of a file that starts with these bytes."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: most characters of a header are below 256, so that every other byte is 0.
    zeros = start[::2].count(0), start[1::2].count(0)
    if max(zeros) > 0.3 * len(start):
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return "utf-8-sig"


def _delimiter(head: str, known: set[str]) -> str:
    """Return the delimiter that gives the most known columns, or else rows of one length."""

    def score(delimiter: str) -> tuple[int, bool, int]:
        rows: list[list[str]] = []
        reader = csv.reader(
            io.StringIO(head, newline=""), delimiter=delimiter, skipinitialspace=True
        )
        with contextlib.suppress(csv.Error):
            rows += (cells for _, cells in itertools.islice(_rows(reader), _HEAD_ROWS))
        rows = [row for row in rows if not row[0].startswith("#")] or [[]]
        names = {cell.lower() for cell in rows[0]}
        same = sum(len(row) == len(rows[0]) for row in rows)
        return len(names & known), len(rows[0]) > 1, same

    return max(_DELIMITERS, key=score)


def _lines(file: IO[str]) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"a line has {_LONGEST_LINE} characters or more; it is no table")
        yield line


def _rows(reader: Any, *, skipped: int = 0) -> Iterator[Row]:
    for row in reader:
        cells = [restore_cell(c) if c[:1] == "'" else c for c in map(str.strip, row)]
        if any(cells):
            yield reader.line_num + skipped, cells
