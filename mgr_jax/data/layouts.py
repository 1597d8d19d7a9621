"""Layouts of class folders: which folder of a path is the class, and which the part of a split."""

import pathlib
import re
from collections.abc import Sequence

from mgr_jax.data.catalog import PART_NAMES

# Words that name a part in a longer name, as in `train_set`.
_PART_WORDS = frozenset(
    {"train", "training", "valid", "validation", "val", "dev", "test", "testing", "eval"}
)
_FOLD = re.compile(r"(folds?|splits?|cv|parts?|partition|subset)[ _.-]?\d+", re.IGNORECASE)


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
    part_of = {name: _exact_part(name) or _part_in(name) for name in first}
    if all(_FOLD.fullmatch(name) for name in first):
        raise ValueError(
            f"its folders ({_some(first)}) are folds, not classes; move the files to class folders,"
            " and give the folds as a manifest with a column split"
        )
    if all(part_of.values()) and (len(set(part_of.values())) > 1 or exact):
        return _below_parts(files, first, part_of)
    named = [name for name in first if part_of[name]]
    if exact and len({part_of[name] for name in named}) > 1:
        other = next(name for name in first if name not in named)
        raise ValueError(
            f"its folders {_some(named)} are parts of a split, but {other!r} is none; give folders"
            " of classes, or of parts with classes in them"
        )
    if all(len(file.parts) > 2 for file in files):
        second = {_exact_part(file.parts[1]) for file in files}
        if "" not in second and len(second) > 1:
            return [(file.parts[0], _exact_part(file.parts[1])) for file in files]
    return [(file.parts[0], "") for file in files]


def _below_parts(
    files: Sequence[pathlib.PurePath], first: Sequence[str], part_of: dict[str, str]
) -> list[tuple[str, str]]:
    if len(set(part_of.values())) < 2:
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
    return [(file.parts[1], part_of[file.parts[0]]) for file in files]


def _exact_part(name: str) -> str:
    return PART_NAMES.get(name.strip().lower(), "")


def _part_in(name: str) -> str:
    """Return the one part that a word of `name` names, or ""."""
    words = set(re.split(r"[\W_]+", name.lower())) & _PART_WORDS
    parts = {PART_NAMES[word] for word in words}
    return parts.pop() if len(parts) == 1 else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if names[5:] else "")
