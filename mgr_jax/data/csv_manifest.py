"""Manifests: a CSV file that lists the tracks of a data set, a row each.

The columns are `path` and `label` and, where known, `id`, `artist`, `recording` and `split` (or
`part`): `train`, `valid`, `test`, their usual other names, or nothing. See `data.tables` for the
forms that are read.
"""

import pathlib

from mgr_jax.data import same_file, tables
from mgr_jax.data.catalog import PART_NAMES, PARTS, Track, clean_label
from mgr_jax.errors import UserError

_REQUIRED = ("path", "label")
_SPLIT = ("split", "part")
_SHOWN = 5


def read(path: pathlib.Path) -> list[Track]:
    """Return the tracks of a manifest; paths in it are relative to its folder.

    Raises:
      UserError: if it cannot be read, lacks a column, or a row is wrong: all of them are named. One
        file, however its path is spelled, may be there once.
    """
    try:
        known = (*_REQUIRED, *_SPLIT, "id", "artist", "recording")
        table = tables.read_table(path, known=known, fill=True)
    except (OSError, ValueError) as error:
        raise UserError(f"data.root {path}: not a readable CSV ({error})") from error
    try:
        table.require(*_REQUIRED)
    except ValueError as error:
        raise UserError(f"data.root {path}: {error}; add it, or correct the header") from error
    if all(name in table.names for name in _SPLIT):
        raise UserError(f"data.root {path}: columns 'split' and 'part' say the same; keep one")
    if not table.rows:
        raise UserError(f"data.root {path}: the CSV has no rows; add one per track")
    tracks: list[Track] = []
    wrong: list[str] = []
    line_of_id, line_of_file = {}, {}
    for line, row in zip(table.lines, table.rows, strict=True):
        part = next((row[name] for name in _SPLIT if name in row), "").lower()
        track = Track(
            id=row.get("id") or row["path"],
            path=str(path.parent / row["path"]),
            label=row["label"],
            artist=row.get("artist", ""),
            recording=row.get("recording", ""),
            part=PART_NAMES.get(part, ""),
        )
        file = same_file.key(track.path)
        faults = {
            "has no path or no label": not row["path"] or not clean_label(track.label),
            "has a path with a null character": "\0" in row["path"],
            f"repeats id {track.id!r}": track.id in line_of_id,
            # Under another id it could be in two parts, or have two labels.
            f"repeats path {row['path']!r} of line {line_of_file.get(file)}": file in line_of_file
            and track.id not in line_of_id,
            f"has split {part!r} (give {', '.join(PARTS)} or nothing)": part not in PART_NAMES,
        }
        wrong += [f"line {line} {fault}" for fault, is_so in faults.items() if is_so]
        line_of_id.setdefault(track.id, line)
        line_of_file.setdefault(file, line)
        tracks.append(track)
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if wrong[_SHOWN:] else ""
        raise UserError(f"data.root {path}: {'; '.join(wrong[:_SHOWN])}{more}; correct these rows")
    return tracks
