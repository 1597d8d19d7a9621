"""Manifests: a CSV file that lists the tracks of a data set, a row each.

The columns are `path` (or `file_name`, `filename`) and `label` (or `genre`) and, where known, `id`,
`artist`, `recording` and `split` (or `part`, or `subset`, `set` or `partition` of such words):
`train`, `valid`, `test`, their usual other names, or nothing. See `data.tables` for the forms that
are read.
"""

import os
import pathlib
import unicodedata

from mgr_jax.data import same_file, tables
from mgr_jax.data.catalog import PARTS, Track, clean_label, part_of
from mgr_jax.errors import UserError

_REQUIRED = ("path", "label")
# Their names in audio folders of the Hugging Face hub and in tables of others.
_OTHER_NAMES = {"path": ("file_name", "filename"), "label": ("genre",)}
_SPLIT = ("split", "part")
# Columns that often hold something else: they count if each cell is the name of a part.
_OTHER_SPLIT = ("subset", "set", "partition")
_SHOWN = 5


def read(path: pathlib.Path) -> list[Track]:
    """Return the tracks of a manifest; paths in it are relative to its folder.

    Raises:
      UserError: if it cannot be read, lacks a column, or a row is wrong: all of them are named. One
        file, however its path is spelled, may be there once.
    """
    try:
        others = [other for names in _OTHER_NAMES.values() for other in names]
        known = (*_REQUIRED, *_SPLIT, *_OTHER_SPLIT, "id", "artist", "recording", *others)
        table = tables.read_table(path, known=known, fill=True)
    except (OSError, ValueError) as error:
        raise UserError(f"data.root {path}: not a readable CSV ({error})") from error
    name_of = {
        name: next((n for n in (name, *_OTHER_NAMES[name]) if n in table.names), name)
        for name in _REQUIRED
    }
    try:
        table.require(*(name_of[name] for name in _REQUIRED))
    except ValueError as error:
        raise UserError(f"data.root {path}: {error}; add it, or correct the header") from error
    columns = [
        name
        for name in (*_SPLIT, *_OTHER_SPLIT)
        if name in table.names
        and (name in _SPLIT or all(part_of(row[name]) is not None for row in table.rows))
    ]
    if columns[1:]:
        names = " and ".join(map(repr, columns))
        raise UserError(f"data.root {path}: columns {names} say the same; keep one")
    if not table.rows:
        raise UserError(f"data.root {path}: the CSV has no rows; add one per track")
    tracks: list[Track] = []
    wrong: list[str] = []
    line_of_id, line_of_file = {}, {}
    for line, values in zip(table.lines, table.rows, strict=True):
        row = values | {name: values[other] for name, other in name_of.items()}
        part = row[columns[0]] if columns else ""
        track = Track(
            id=row.get("id") or row["path"],
            path=str(_locate(path.parent, row["path"])),
            label=row["label"],
            artist=row.get("artist", ""),
            recording=row.get("recording", ""),
            part=part_of(part) or "",
        )
        file = same_file.key(track.path)
        faults = {
            "has no path or no label": not row["path"] or not clean_label(track.label),
            "has a path with a null character": "\0" in row["path"],
            f"repeats id {track.id[:200]!r}": track.id in line_of_id,
            # Under another id it could be in two parts, or have two labels.
            f"repeats path {row['path'][:200]!r} of line {line_of_file.get(file)}": file
            in line_of_file
            and track.id not in line_of_id,
            f"has split {part[:60]!r} (give {', '.join(PARTS)} or nothing)": part_of(part) is None,
        }
        wrong += [f"line {line} {fault}" for fault, is_so in faults.items() if is_so]
        line_of_id.setdefault(track.id, line)
        line_of_file.setdefault(file, line)
        tracks.append(track)
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if wrong[_SHOWN:] else ""
        raise UserError(f"data.root {path}: {'; '.join(wrong[:_SHOWN])}{more}; correct these rows")
    return tracks


def _locate(folder: pathlib.Path, text: str) -> pathlib.Path:
    """Return the path that a row names, also where another system has written it.

    Windows separates folders by backslashes, and macOS writes letters and accents one by one.
    """
    spellings = [text, text.replace("\\", "/"), os.path.expanduser(text)]
    spellings += [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    paths = [folder / spelling for spelling in dict.fromkeys(spellings)]
    return next((path for path in paths if os.path.lexists(path)), paths[0])
