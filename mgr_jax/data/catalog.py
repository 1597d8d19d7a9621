"""Tracks and catalogs: the recordings of a data set, as values."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping

PARTS = ("train", "valid", "test")


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
    """

    name: str
    tracks: tuple[Track, ...]
    labels: tuple[str, ...]
    skipped: tuple[tuple[str, int], ...] = ()

    def hash(self) -> str:
        """Return the SHA-256 of the labels and of all fields of the tracks but their paths."""
        facts = [[t.id, t.label, t.artist, t.recording, t.part] for t in self.tracks]
        return hashlib.sha256(json.dumps([self.labels, facts]).encode()).hexdigest()


def from_tracks(name: str, tracks: Iterable[Track], skipped: Mapping[str, int]) -> Catalog:
    """Return the catalog of `tracks`, sorted; `skipped` counts what was left out, by reason."""
    tracks = tuple(sorted(tracks, key=lambda track: track.id))
    labels = tuple(sorted({track.label for track in tracks}))
    return Catalog(name, tracks, labels, tuple(sorted(skipped.items())))
