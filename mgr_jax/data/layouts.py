"""Layouts of class folders: which folder of a path is the class, and which the part of a split."""

import collections
import pathlib
import re
from collections.abc import Mapping, Sequence

from mgr_jax.data.catalog import PART_NAMES, part_of

# Words that name a part in a longer name, as in `train_set`.
_PART_WORDS = frozenset(
    {"train", "training", "valid", "validation", "val", "dev", "test", "testing", "eval"}
)
_FOLD = re.compile(
    r"(folds?|splits?|cv|parts?|partition|subset)([ _.-]?\d+|[ _.-][a-z])", re.IGNORECASE
)
# Folders of files of one format, of one disc, or that are numbered, are seldom classes.
_CONTAINER = re.compile(
    r"\d+|mp3|wav|flac|ogg|opus|m4a|aac|aiff?|au|(cd|dis[ck]|vol|volume)[ _.-]?\d+", re.IGNORECASE
)


def classes(files: Sequence[pathlib.PurePath]) -> list[tuple[str, str]]:
    """Return the class and the part of each file; the part is "" where no folder names it.

    The class is the first folder, in `<class>/**/file` and `<class>/<part>/**/file`, or the second
    one in `<part>/<class>/**/file`.

    Args:
      files: paths of the files, relative to the root.

    Raises:
      ValueError: if the first folders are folds or a single part, or only some of them are parts.
    """
    first = sorted({file.parts[0] for file in files})
    exact = [name for name in first if _exact_part(name)]
    part_by_name = {name: _exact_part(name) or _part_in(name) for name in first}
    if all(_FOLD.fullmatch(name) for name in first):
        raise ValueError(
            f"its folders ({_some(first)}) are folds, not classes; move the files to class folders,"
            " and give the folds as a manifest with a column split"
        )
    if all(part_by_name.values()) and (len(set(part_by_name.values())) > 1 or exact):
        return _below_parts(files, first, part_by_name)
    named = [name for name in first if part_by_name[name]]
    if exact and len({part_by_name[name] for name in named}) > 1:
        other = next(name for name in first if name not in named)
        raise ValueError(
            f"its folders {_some(named)} are parts of a split, but {other!r} is none; give folders"
            " of classes, or of parts with classes in them"
        )
    _refuse_shared(files, part_by_name)
    second = [_exact_part(file.parts[1]) if file.parts[2:] else "" for file in files]
    if len(set(second) - {""}) < 2:
        return [(file.parts[0], "") for file in files]
    if "" in second:
        file = files[second.index("")]
        raise ValueError(
            f"some of its classes are divided in {_some(sorted(set(second) - {''}))}, but"
            f" {file.as_posix()!r} is in no such folder; divide all of them, or give a manifest"
        )
    return [(file.parts[0], part) for file, part in zip(files, second, strict=True)]


def _refuse_shared(files: Sequence[pathlib.PurePath], part_by_name: Mapping[str, str]) -> None:
    """Raise `ValueError` if folders that seem no classes hold the same folders as the others."""
    below: dict[str, set[str]] = collections.defaultdict(set)
    for file in files:
        below[file.parts[0]].update(file.parts[1:2] if file.parts[2:] else ())
    for name in filter(part_by_name.get, below):
        others = set().union(*(below[other] for other in below if other != name))
        if shared := sorted(below[name] & others):
            raise ValueError(
                f"its folder {name!r} names a part of a split and holds {_some(shared)}, as others"
                " of its folders do; give folders of classes, or of train, valid and test"
            )
    same = sorted(set.intersection(*below.values()))
    if len(below) > 1 and len(same) > 1 and all(map(_CONTAINER.fullmatch, below)):
        raise ValueError(
            f"its folders ({_some(sorted(below))}) hold the same folders ({_some(same)}), which"
            " seem to be the classes; point data.root at one of them, or give a manifest"
        )


def _below_parts(
    files: Sequence[pathlib.PurePath], first: Sequence[str], part_by_name: dict[str, str]
) -> list[tuple[str, str]]:
    if len(set(part_by_name.values())) < 2:
        raise ValueError(
            f"its folders ({_some(first)}) are one part of a split, not classes; point data.root at"
            " the folder that holds the classes"
        )
    loose = next((file for file in files if len(file.parts) < 3), None)
    if loose is not None:
        raise ValueError(
            f"its folders ({_some(first)}) are parts of a split, not classes, and {loose.name!r} in"
            f" {loose.parts[0]} is in no class folder; expected <part>/<class>/*.wav"
        )
    return [(file.parts[1], part_by_name[file.parts[0]]) for file in files]


def _exact_part(name: str) -> str:
    return part_of(name) or ""


def _part_in(name: str) -> str:
    """Return the one part that a word of `name` names, or ""."""
    words = set(re.split(r"[\W_]+", name.lower())) & _PART_WORDS
    parts = {PART_NAMES[word] for word in words}
    return parts.pop() if len(parts) == 1 else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if names[5:] else "")
