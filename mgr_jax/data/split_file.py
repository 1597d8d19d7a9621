"""Split files: written for use elsewhere, and read in many forms.

A CSV has a line `track_id,part` or `track_id,fold` per track. A JSON file has the fields of
`splits.to_json`, or `folds`: a list with the `test` (and `valid`) tracks of each fold.
"""

import collections
import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mgr_jax.data import folds as folds_lib
from mgr_jax.data import splits, tables
from mgr_jax.data.catalog import PARTS, Catalog, Track, clean_label, part_of
from mgr_jax.data.sources import AUDIO_SUFFIXES
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.files import csv_text

ID_COLUMNS = ("track_id", "track", "filename", "file_name", "file", "path", "name", "song", "id")
_PART_COLUMNS = ("part", "fold", "split", "subset", "set", "partition", "folds")
_MOST_JSON = 1 << 26  # Values take far more memory than characters.
# A file of features may represent its track.
_SUFFIXES = AUDIO_SUFFIXES | {".npy", ".npz", ".png"}


@dataclasses.dataclass(frozen=True)
class Assignment:
    """The tracks of each part or fold.

    Attributes:
      parts: part (`train`, `valid`, `test`) or fold -> sorted ids. A track may be in several.
      has_folds: each fold is the test part once, with training on the others.
      unknown: names in the file that are not a track of the catalog.
    """

    parts: Mapping[str, tuple[str, ...]]
    has_folds: bool
    unknown: tuple[str, ...] = ()


def of_split(split: splits.Split) -> Assignment:
    """Return `split` as an assignment."""
    return Assignment({part: getattr(split, part) for part in PARTS}, has_folds=False)


def folds_json(catalog: Catalog, *, protocol: str, num_folds: int, seed: int) -> dict[str, Any]:
    """Return the `test` and `valid` tracks of every fold as JSON values; the others train."""
    fold_splits = [
        splits.make_split(catalog, protocol=protocol, fold=fold, seed=seed, num_folds=num_folds)
        for fold in range(num_folds)
    ]
    return {
        "protocol": protocol,
        "num_folds": num_folds,
        "seed": seed,
        "folds": [{"valid": list(split.valid), "test": list(split.test)} for split in fold_splits],
        "left_out": list(fold_splits[0].left_out),
    }


def read_split_file(path: str, tracks: Sequence[Track]) -> Assignment:
    """Read a split file in any of the forms below, CSV or JSON.

    A CSV needs no header; with one, the columns may be in any order (`track_id`, `file`, ...; then
    `part`, `fold`, `split`, ...). Columns are separated as in `data.tables`, or by white space.
    Tracks are matched leniently: `blues.00000`, `blues.00000.wav`, `blues/blues.00000.au` and
    `/any/where/blues/blues.00000.wav` are the same track.

    Raises:
      UserError: if the file cannot be read, has fewer than two parts or folds, or names no track.
    """
    try:
        rows = _json_rows(path) if path.lower().endswith(".json") else _csv_rows(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"--split_file {path}: cannot be read ({reason}); give a CSV with lines track_id,part"
            " or track_id,fold"
        ) from error
    part_by_value = {value: part_of(value) for _, value in rows}
    has_folds = not any(part_by_value.values())
    others = {value.strip() for value, part in part_by_value.items() if part is None}
    if others and not has_folds:
        raise UserError(
            f"--split_file {path}: {min(others)[:60]!r} is no part; give train, valid or test, or"
            " nothing but folds"
        )
    labels = {track.label.casefold() for track in tracks}
    if others and {clean_label(value).casefold() for value in others} <= labels:
        raise UserError(
            f"--split_file {path}: {min(others)[:60]!r} is a label, and no part or fold; give a CSV"
            " with lines track_id,part or track_id,fold"
        )
    match = matcher(tracks)
    parts, unknown = collections.defaultdict(set), []
    for name, value in rows:
        part = _fold_name(value) if has_folds else part_by_value[value]
        track_id = match(name)
        if track_id is None:
            unknown.append(printable(name))
        elif part:
            parts[part].add(track_id)
    if not parts:
        raise UserError(
            f"--split_file {path}: none of its {len(rows)} line(s) names a track of the data"
            f" (such as {tracks[0].id!r}); give its track ids or file names"
        )
    if len(parts) < 2:
        raise UserError(
            f"--split_file {path}: only one part ({min(parts)[:60]!r}); give the tracks of two or"
            " more"
        )
    order = sorted(parts, key=_fold_order) if has_folds else [p for p in PARTS if p in parts]
    return Assignment({p: tuple(sorted(parts[p])) for p in order}, has_folds, tuple(unknown))


def _fold_name(value: str) -> str:
    """Return the fold of a value: `1.0` or `1,0`, as spreadsheets write it, is fold 1."""
    return "" if part_of(value) == "" else re.sub(r"^(\d+)[.,]0*$", r"\1", value.strip())


def _fold_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that compares numbers by value: fold 2 before fold 10."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.findall(r"\d+|\D+", name)]


def _csv_rows(path: str) -> list[tuple[str, str]]:
    with tables.open_rows(path, known=(*ID_COLUMNS, *_PART_COLUMNS)) as (lines, delimiter):
        rows = [cells for _, cells in lines if not cells[0].startswith("#")]
    if not rows:
        raise ValueError("it is empty")
    if all(len(row) == 1 for row in rows):
        rows = [row[0].rsplit(None, 1) for row in rows]
    head = [cell.lower() for cell in rows[0]]
    name_column, part_column = (
        next((head.index(name) for name in names if name in head), None)
        for names in (ID_COLUMNS, _PART_COLUMNS)
    )
    if name_column is not None and part_column is not None:
        rows = rows[1:]
    elif len(head) > 2:
        raise ValueError(
            f"no column is a known part or fold; {tables.describe(rows[0], delimiter)}"
        )
    else:
        name_column, part_column = 0, 1
        # A header with other names: no line below has such a part.
        below = {row[1].lower() for row in rows[1:] if len(row) > 1}
        if len(below) > 1 and head[1:] and not re.search(r"\d", head[1]):
            rows = rows if head[1] in below or part_of(head[1]) is not None else rows[1:]
    long = next((row for row in rows if any(row[len(head) :])), None)
    if long is not None:
        raise ValueError(
            f"line {','.join(long)[:60]!r} has {len(long)} cells, the first {len(head)}"
        )
    short = next((row for row in rows if len(row) <= max(name_column, part_column)), None)
    if short is not None:
        raise ValueError(f"line {','.join(short)[:60]!r} has no part")
    return [(row[name_column], row[part_column]) for row in rows]


def _json_rows(path: str) -> list[tuple[str, str]]:
    with tables.open_text(path) as file:
        text = file.read(_MOST_JSON)
    if len(text) == _MOST_JSON:
        raise ValueError(f"it has {_MOST_JSON} characters or more; it is no split")
    values = json.loads(text, object_pairs_hook=_without_repeats)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    if "folds" in values:
        tests = [fold["test"] if isinstance(fold, dict) else fold for fold in values["folds"]]
        return [(_text(name), str(fold)) for fold, names in enumerate(tests) for name in names]
    listed = {k: v for k, v in values.items() if part_of(k) is not None and isinstance(v, list)}
    if listed:
        return [(_text(name), part) for part, names in listed.items() for name in names]
    return [(name, _text(part)) for name, part in values.items()]


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)[:60]!r} is there twice")
    return dict(pairs)


def _text(value: Any) -> str:
    """Return a name or number of a JSON file as text."""
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"{str(value)[:60]!r} is neither a name nor a number")
    return "" if value is None else str(value)


def matcher(tracks: Sequence[Track]) -> Callable[[str], str | None]:
    """Return a function from a name to the id of the one track that it can mean, or None."""
    ids = {track.id for track in tracks}
    whole: dict[tuple[str, ...], str] = {}
    tails: dict[tuple[str, ...], set[str]] = collections.defaultdict(set)
    for track in tracks:
        whole.setdefault(_pieces(track.id), track.id)
        for name in filter(None, (track.id, track.path)):
            pieces = _pieces(name)
            for start in range(len(pieces)):
                tails[pieces[start:]].add(track.id)

    def match(name: str) -> str | None:
        if name in ids:
            return name
        pieces = _pieces(name)
        for start in range(len(pieces)):
            if pieces[start:] in whole:
                return whole[pieces[start:]]
        candidates = tails.get(pieces, ())
        return next(iter(candidates)) if len(candidates) == 1 else None

    return match


def _pieces(name: str) -> tuple[str, ...]:
    """Return folders and name in lower case, without the suffix of a file."""
    name = unicodedata.normalize("NFC", name.strip().casefold())
    pieces = [p for p in re.split(r"[/\\]+", name) if p != "."] or [""]
    stem, dot, suffix = pieces[-1].rpartition(".")
    if stem and f"{dot}{suffix}" in _SUFFIXES:
        pieces[-1] = stem
    return tuple(piece for piece in pieces if piece)


def to_text(catalog: Catalog, *, path: str, protocol: str, num_folds: int, seed: int) -> str:
    """Return the text of `path`, CSV or JSON: the folds of a protocol, or its one split."""
    as_json = path.lower().endswith(".json")
    if protocol in folds_lib.PROTOCOLS:
        options = {"protocol": protocol, "num_folds": num_folds, "seed": seed}
        if not as_json:
            folds = splits.make_folds(catalog, **options)
            return csv_text(["track_id", "fold"], sorted(folds.items()))
        values = folds_json(catalog, **options)
    else:
        split = splits.make_split(catalog, protocol=protocol, seed=seed)
        if not as_json:
            return splits.to_csv(split)
        values = splits.to_json(split)
    return json.dumps(values, indent=1) + "\n"
