"""FMA, the Free Music Archive data set (Defferrard et al. 2017, arXiv 1612.01840): 8 to 16 genres.

`root` holds `fma_metadata/tracks.csv` and the audio, `fma_small/000/000002.mp3`, .... The split
is the official one, which keeps every artist in one part.
"""

import collections
import csv
import pathlib
from collections.abc import Iterator
from typing import Any

from mgr_jax.config_sections import FMA_SUBSETS
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
    limit = csv.field_size_limit(_WIDEST)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            groups, fields, _ = next(lines, []), next(lines, []), next(lines, [])
            header = list(zip(groups, fields, strict=False))
            missing = [name for name in _COLUMNS.values() if name not in header]
            if missing:
                raise UserError(f"{path}: column {'/'.join(missing[0])} is missing; restore it")
            columns = {name: header.index(column) for name, column in _COLUMNS.items()}
            for line in lines:
                try:
                    row: dict[str, Any] = {name: line[column] for name, column in columns.items()}
                    row["id"] = int(line[0])
                    if row["split"] not in _PARTS:
                        raise ValueError(f"split {row['split']!r}")
                except (ValueError, IndexError) as error:
                    raise UserError(
                        f"{path}: line {lines.line_num} is damaged ({error}); restore the file"
                    ) from error
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it") from error
    finally:
        csv.field_size_limit(limit)
