"""Tracks and catalogs: the recordings of a data set, as values."""

import collections
import dataclasses
import hashlib
import json
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Mapping

from mgr_jax.escape import JOINERS, printable

PARTS = ("train", "valid", "test")
# Names of the parts in tables and folders, in lower case; "" is a track in no part.
PART_NAMES = {
    **dict.fromkeys(("train", "training", "tr", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "va"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "te", "tst"), "test"),
    **dict.fromkeys(("", "-", "none", "nan", "unused", "excluded", "left_out", "skip"), ""),
}
_PART_SUFFIX = re.compile(r"(?<=\w)[ ._-]?(set|split|data|part)$")
# What pandas, spreadsheets and databases write for a missing value.
_MISSING = frozenset({"", "nan", "<na>", "na", "n/a", "none", "null", "nat"}) | {
    "#n/a", "#n/a n/a", "#na", "#ref!", "#name?", "#value!", "#div/0!", "#null!", "#num!", "-nan",
    "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "(null)", "(none)", r"\n", "undefined", "-",
    "--", "?",
}  # fmt: skip
# Characters without a shape of their own, and those that programs put in place of others.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_TYPED = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032\u00b4`", "'"))


@dataclasses.dataclass(frozen=True, slots=True)
class Track:
    """One recording of a data set.

    Attributes:
      id: unique name, the same on every machine.
      path: file that holds the audio, or `band:...` for the embedded data set.
      label: genre.
      artist: who plays; empty where unknown.
      recording: tracks of the same recording share this; empty where unknown.
      part: `train`, `valid` or `test` if the data set comes with a split, else empty.
    """

    id: str
    path: str
    label: str
    artist: str = ""
    recording: str = ""
    part: str = ""

    @property
    def file_name(self) -> str:
        """Return `path` without its folders, which differ between machines."""
        return self.path if self.path.startswith("band:") else pathlib.PurePath(self.path).name


@dataclasses.dataclass(frozen=True)
class Catalog:
    """Tracks sorted by id and labels sorted by name; a track's class is its label's index.

    `skipped` counts, by reason, what is not a track (`._*` files, other formats, empty folders).
    `content` has the hash of a track's file, once it is decoded.
    """

    name: str
    tracks: tuple[Track, ...]
    labels: tuple[str, ...]
    skipped: tuple[tuple[str, int], ...] = ()
    content: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def hash(self) -> str:
        """Return the SHA-256 of labels, files and all fields of the tracks but their paths."""
        facts = [[t.id, t.label, t.artist, t.recording, t.part] for t in self.tracks]
        content = [sorted(self.content.items())] if self.content else []
        return hashlib.sha256(json.dumps([self.labels, facts, *content]).encode()).hexdigest()


def from_tracks(name: str, tracks: Iterable[Track], skipped: Mapping[str, int]) -> Catalog:
    """Return the catalog of `tracks`, sorted; `skipped` counts what was left out, by reason.

    Ids, labels, artists and recordings are printable. Labels that are the same text in another
    Unicode form or with other spaces are one; an artist or recording like `nan` is unknown.
    """
    tracks = tuple(sorted(map(_clean, tracks), key=lambda track: track.id))
    labels = tuple(sorted({track.label for track in tracks}))
    return Catalog(name, tracks, labels, tuple(sorted(skipped.items())))


def _clean(track: Track) -> Track:
    clean = {
        "id": printable(track.id),
        "label": clean_label(track.label),
        "artist": _known(track.artist),
        "recording": _known(track.recording),
    }
    if all(getattr(track, name) == text for name, text in clean.items()):
        return track
    return dataclasses.replace(track, **clean)


def clean_label(label: str) -> str:
    """Return `label` printable, in composed Unicode (NFC), with single spaces between words."""
    visible = "".join(c for c in label if unicodedata.category(c) != "Cf" or c in JOINERS)
    return printable(" ".join(unicodedata.normalize("NFC", visible).split()))


def _known(name: str) -> str:
    return "" if name.strip().lower() in _MISSING else printable(name)


def part_of(text: str) -> str | None:
    """Return the part that a cell or a folder names, "" for no part, None for another word."""
    name = clean_label(text).lower().strip(" ._-")
    return PART_NAMES.get(name, PART_NAMES.get(_PART_SUFFIX.sub("", name)))


def check_labels(labels: Iterable[str]) -> None:
    """Raise `ValueError` for a label that is a missing value, or two that look the same."""
    spellings = collections.defaultdict(list)
    for label in sorted(labels):
        shape = _shape(label)
        if shape in _MISSING:
            raise ValueError(f"label {label!r} is a missing value; name the class of each track")
        spellings[shape].append(label)
    for names in spellings.values():
        if len(names) > 1:
            raise ValueError(
                f"labels {' and '.join(map(ascii, names))} differ in case or in the form of their"
                " letters alone; spell each class in one way"
            )


def _shape(label: str) -> str:
    """Return `label` without differences of case, dashes, apostrophes and invisible characters."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", label)).translate(_TYPED)
    text = "".join("-" if unicodedata.category(c) == "Pd" else c for c in text)
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())
