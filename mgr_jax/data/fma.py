"""FMA, the Free Music Archive data set (Defferrard et al. 2017, arXiv 1612.01840): 8 to 16 genres.

`root` holds `fma_metadata/tracks.csv` and the audio, `fma_small/000/000002.mp3`, .... The split
is the official one, which keeps every artist in one part.
"""

import collections
import contextlib
import csv
import pathlib
from collections.abc import Iterator
from typing import Any

from mgr_jax.config_sections import FMA_SUBSETS
from mgr_jax.data import tables
from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError

# The metadata has a wrong length for these, so that their 30 s were cut at the wrong place, some
# after the end of the recording (github.com/mdeff/fma/issues/8).
CUT_WRONGLY = frozenset(
    {1486, 5574, 65753, 80391, 98558, 98559, 98560, 98565, 98566, 98567, 98568, 98569, 98571}
    | {99134, 105247, 108924, 108925, 126981, 127336, 133297, 143992}
)
_PARTS = {"training": "train", "validation": "valid", "test": "test"}
_COLUMNS = {
    "subset": ("set", "subset"),
    "split": ("set", "split"),
    "genre": ("track", "genre_top"),
    "artist": ("artist", "id"),
}
_WIDEST = 2**26  # Characters: a biography can be longer than the csv module's own limit.


def read(root: pathlib.Path, subset: str) -> tuple[list[Track], dict[str, int]]:
    """Return the tracks of a subset, and how many were left out, by reason.

    `large` has tracks without a top genre, which are left out, as are the clips of `CUT_WRONGLY`,
    by name. The table is read as a stream: all of its 106 574 rows take a few MB.

    Raises:
      UserError: if a file or column is missing, or a row has a wrong value.
    """
    audio = root / f"fma_{subset}"
    if not audio.is_dir():
        raise UserError(f"data.root {root}: no folder fma_{subset} in it; unpack fma_{subset}.zip")
    subsets = FMA_SUBSETS[: FMA_SUBSETS.index(subset) + 1]
    tracks, skipped, wrong = [], collections.Counter(), []
    for row in _rows(root / "fma_metadata" / "tracks.csv"):
        if row["subset"] not in subsets:
            continue
        if not row["genre"]:
            skipped["no top genre in tracks.csv"] += 1
            continue
        name = f"{row['id']:06d}"
        path = audio / name[:3] / f"{name}.mp3"
        if row["id"] in CUT_WRONGLY:
            wrong.append(name)
            continue
        artist = f"artist {row['artist']}" if row["artist"] else ""
        tracks.append(Track(name, str(path), row["genre"], artist, part=_PARTS[row["split"]]))
    if not tracks:
        raise UserError(f"data.root {root}: tracks.csv has no track of fma_{subset}; restore it")
    if wrong:
        skipped[f"cut wrongly by the data set's makers: {', '.join(wrong)}"] = len(wrong)
    return tracks, skipped


def _rows(path: pathlib.Path) -> Iterator[dict]:
    """Yield rows of `tracks.csv`; its first two lines name the group and field of each column."""
    if not path.is_file():
        raise UserError(f"data.root: {path} is missing; unpack fma_metadata.zip there")
    known = {name for column in _COLUMNS.values() for name in column}
    try:
        with _long_cells(), tables.open_rows(path, known=known) as (lines, delimiter):
            columns, ids = _header(path, lines, delimiter), set()
            for number, line in lines:
                try:
                    row: dict[str, Any] = {name: line[column] for name, column in columns.items()}
                    row["id"] = int(line[0])
                    if row["split"] not in _PARTS:
                        raise ValueError(f"split {row['split']!r}")
                    if row["id"] in ids:
                        raise ValueError(f"track {row['id']} is there twice")
                except (ValueError, IndexError) as error:
                    raise UserError(
                        f"{path}: line {number} is damaged ({error}); restore the file"
                    ) from error
                ids.add(row["id"])
                yield row
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it") from error


def _header(path: pathlib.Path, lines: Iterator[tables.Row], delimiter: str) -> dict[str, int]:
    """Read the three lines of the header; return the place of each of `_COLUMNS`."""
    groups, fields, index = ([cell.lower() for cell in next(lines, (0, []))[1]] for _ in range(3))
    header = list(zip(groups, fields, strict=False))
    missing = [name for name in _COLUMNS.values() if name not in header]
    if missing:
        columns = ["/".join(filter(None, names)) for names in header]
        shown = tables.describe(columns, delimiter)
        raise UserError(f"{path}: column {'/'.join(missing[0])} is missing; {shown}; restore it")
    if index[:1] != ["track_id"] or any(index[1:]):
        start = ", ".join(index[:3])[:60]
        raise UserError(
            f"{path}: its third line is {start!r}, not 'track_id' alone; restore the file as it was"
            " published, with three lines of header"
        )
    return {name: header.index(column) for name, column in _COLUMNS.items()}


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    limit = csv.field_size_limit(_WIDEST)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
