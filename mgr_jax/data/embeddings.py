"""Embeddings: vectors that any encoder computed elsewhere, in a `.npz`, `.npy` or Parquet file.

A file holds `embedding` `[N, D]`, or `[N, layers, D]`, and `track_id` and `label` `[N]` and, where
known, `artist`, `recording` and `split`. Rows of the same `track_id` are windows of one track. A
`.npy` file is the bare `embedding` or a structured array; in Parquet the vectors are lists. What a
file lacks is read from the CSV of the same name beside it: one line a track, or one line a row if
the file has no `track_id`. Ids that name GTZAN's files (`blues/blues.00000.wav`) become GTZAN's,
so that its facts and its published split apply.
"""

import dataclasses
import pathlib
import re
from typing import Any

import numpy as np

from mgr_jax import array_file
from mgr_jax.data import arrays, gtzan, tables
from mgr_jax.data.catalog import Track
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError

_VECTORS = ("embedding", "embeddings")
_GTZAN_FILE = re.compile(r"(?:.*[/\\])?([a-z]+\.\d{5})(?:\.\w+)?")


@dataclasses.dataclass(frozen=True)
class Embeddings(arrays.Arrays):
    """A clip store of embeddings: a "sample" is a window of the encoder.

    Attributes:
      samples: `[W, 1, D]` or `[W, 1, layers, D]`, the windows of all tracks, track by track.
      starts: first window of each track [N].
    """

    starts: np.ndarray = dataclasses.field(kw_only=True)

    def waveform(self, row: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Return windows `start:start + length` of a track, float32, zero-padded."""
        size = self.records[row].length - start if length is None else length
        first, end = self.starts[row] + start, self.starts[row] + self.records[row].length
        piece = self.samples[first : min(first + size, end), 0]
        return np.concatenate([piece, np.zeros((size - len(piece), *piece.shape[1:]), np.float32)])

    def describe(self) -> str:
        """Return how many windows there are, if tracks have several, and their size."""
        *layers, size = self.samples.shape[2:]
        windows = f" ({len(self.samples)} windows)" if len(self.samples) > len(self.records) else ""
        return f"{windows} of {f'{layers[0]} layers x ' if layers else ''}{size} values"


def read_tracks(root: str) -> tuple[Track, ...]:
    """Return the tracks of a file, without its vectors.

    Raises:
      UserError: if the file is missing or damaged, a field is missing, of a wrong shape or type, or
        the rows of a track disagree.
    """
    path = _find(root)
    values = _read_texts(path)
    tracks = list(dict.fromkeys(zip(*values.values(), strict=True)))
    ids = [track[0] for track in tracks]
    if len(set(ids)) < len(ids):
        name = next(name for name in ids if ids.count(name) > 1)
        raise UserError(
            f"data.root {path}: the rows of track {name!r} differ in"
            f" {', '.join(list(values)[1:])}; they must agree"
        )
    columns = {name: [track[i] for track in tracks] for i, name in enumerate(values)}
    return arrays.make_tracks(path, columns)


def open_embeddings(root: str) -> Embeddings:
    """Return the store of a file; a track with values that are not finite is skipped.

    Raises:
      UserError: if the file cannot be read, or its vectors are not numbers `[N, D]` or
        `[N, layers, D]`.
    """
    path = _find(root)
    fields = _read(path, _VECTORS)
    vectors = next((fields[name] for name in _VECTORS if fields[name] is not None), None)
    if vectors is None:
        raise UserError(f"data.root {path}: array 'embedding' is missing; add it")
    ids = np.array(_read_texts(path)["track_id"])
    if vectors.dtype.kind not in "fiu":
        raise UserError(f"data.root {path}: 'embedding' is {vectors.dtype}; it must be numbers")
    if vectors.ndim not in (2, 3) or len(vectors) != len(ids) or not vectors.size:
        raise UserError(
            f"data.root {path}: 'embedding' is {vectors.shape} for {len(ids)} rows; it must be"
            " [N, D] or [N, layers, D], one row a track or window"
        )
    names, track_of, counts = np.unique(ids, return_inverse=True, return_counts=True)
    with np.errstate(over="ignore", invalid="ignore"):  # Beyond float32 is not finite either.
        samples = vectors[np.argsort(track_of, kind="stable")].astype(np.float32, copy=False)
    starts = np.cumsum(counts) - counts
    finite = np.isfinite(samples).all(axis=tuple(range(1, samples.ndim)))
    records = tuple(
        Record(str(name), int(n), error="" if ok else "has values that are not finite")
        for name, n, ok in zip(names, counts, np.logical_and.reduceat(finite, starts), strict=True)
    )
    return Embeddings(samples[:, None], records, 1.0, starts=starts)


def _find(root: str) -> pathlib.Path:
    return arrays.find_file(root, "embeddings", "a .npz, .npy or .parquet file")


def _read_texts(path: pathlib.Path) -> dict[str, list[str]]:
    """Return the texts of each row by field, `track_id` first."""
    fields = _read(path, arrays.TEXTS)
    for name, values in fields.items():
        if values is not None and values.dtype.kind in "iu":
            fields[name] = values.astype(str)
    table = path.with_suffix(".csv")
    if table.is_file():
        fields |= _read_beside(path, table, fields)
    elif fields["track_id"] is None or fields["label"] is None:
        name = "track_id" if fields["track_id"] is None else "label"
        raise UserError(
            f"data.root {path}: {name!r} is missing; add it, or {table.name} beside the file with"
            " columns track_id and label"
        )
    values = arrays.decode_texts(path, fields)
    matches = [_GTZAN_FILE.fullmatch(name) for name in values["track_id"]]
    if all(match and match[1] in gtzan.facts() for match in matches):
        values["track_id"] = [match[1] for match in matches if match]
    return values


def _read_beside(path: pathlib.Path, table: pathlib.Path, fields: arrays.Fields) -> arrays.Fields:
    """Return the fields that the CSV `table` has and the file lacks, in the order of its rows."""
    try:
        rows = tables.read_table(table, known=arrays.TEXTS).rows
        if not rows:
            raise ValueError("it has no rows")
    except (OSError, ValueError) as error:
        raise UserError(f"data.root {path}: {table.name} cannot be read ({error})") from error
    if fields["track_id"] is not None:
        ids = arrays.decode(path, "track_id", fields["track_id"])
        by_id = {row.get("track_id"): row for row in rows}
        if any(by_id[row.get("track_id")] != row for row in rows):
            raise UserError(
                f"data.root {path}: {table.name} has two different lines of one track_id; keep one"
            )
        missing = sorted(set(ids) - by_id.keys())
        if missing:
            raise UserError(
                f"data.root {path}: {table.name} has no line for {len(missing)} of its tracks"
                f" ({missing[0]!r}); add them"
            )
        rows = [by_id[name] for name in ids]
    lacking = [name for name, values in fields.items() if values is None and name in rows[0]]
    return {name: np.array([row[name] for row in rows]) for name in lacking}


def _read(path: pathlib.Path, names: tuple[str, ...]) -> arrays.Fields:
    if path.suffix.lower() not in (".parquet", ".pq"):
        return arrays.read_fields(path, names, bare="embedding")
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            f"data.root {path}: Parquet needs pyarrow; pip install 'mgr_jax[parquet]'"
        ) from error
    try:
        known = [name for name in names if name in parquet.read_schema(path).names]
        _check_size(path, parquet.read_metadata(path))
        table = parquet.read_table(path, columns=known)
        columns = {name: table[name].combine_chunks() for name in known}
        values = {
            name: np.array(["" if v is None else str(v) for v in column.to_pylist()])
            if name in arrays.TEXTS
            else _to_numpy(column)
            for name, column in columns.items()
        }
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        reason = array_file.reason_of(error)
        raise UserError(f"data.root {path}: cannot be read ({reason})") from error
    return dict.fromkeys(names) | values


def _check_size(path: pathlib.Path, metadata: Any) -> None:
    """Raise `ValueError` if the columns of a Parquet file would fill the memory."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    values = sum(g.column(i).num_values for g in groups for i in range(metadata.num_columns))
    array_file.check_unpacked("the file", num_bytes=4 * values, in_file=path.stat().st_size)


def _to_numpy(column: Any) -> np.ndarray:
    """Return a column of lists, nested any number of times, as one array."""
    from pyarrow import compute as untyped
    from pyarrow import types

    compute: Any = untyped  # Its functions are made at run time.
    shape = [len(column)]
    while types.is_nested(column.type):
        lengths = set(compute.list_value_length(column).to_pylist())
        if len(lengths) != 1 or None in lengths:
            raise ValueError("its vectors have different lengths, or some are missing")
        shape.append(lengths.pop())
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False).reshape(shape)
