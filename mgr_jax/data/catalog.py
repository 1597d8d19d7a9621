"""Catalogs: which tracks a data set has, with their labels, artists and recordings."""

import csv
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable

from mgr_jax import config as config_lib
from mgr_jax.data import gtzan
from mgr_jax.errors import UserError

# What libsndfile decodes; other files in a data set are companions, not audio.
AUDIO_SUFFIXES = frozenset(
    (".wav", ".au", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".snd", ".caf")
)
PARTS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
class Catalog:
    """Tracks sorted by id and labels sorted by name; a track's class is its label's index.

    `skipped` counts, by reason, the files that are no track (`._*` files, other formats).
    """

    name: str
    tracks: tuple[Track, ...]
    labels: tuple[str, ...]
    skipped: tuple[tuple[str, int], ...] = ()

    def hash(self) -> str:
        """SHA-256 of what the tracks are, without where they lie."""
        facts = [[t.id, t.label, t.artist, t.recording, t.part] for t in self.tracks]
        return hashlib.sha256(json.dumps([self.labels, facts]).encode()).hexdigest()


def make_catalog(data: config_lib.Data) -> Catalog:
    """The catalog that `data.name` and `data.root` name.

    Raises:
      UserError: if the root is missing or holds no audio, a row of a manifest is wrong, or there
        are fewer than two classes.
    """
    catalog = _CATALOGS[data.name](data)
    if len(catalog.labels) < 2:
        raise UserError(
            f"data.root {data.root}: only one class ({catalog.labels[0]}); a classifier needs two"
            " or more, one folder (or label) each"
        )
    return catalog


def _make(name: str, tracks: Iterable[Track], skipped: dict[str, int]) -> Catalog:
    tracks = tuple(sorted(tracks, key=lambda track: track.id))
    labels = tuple(sorted({track.label for track in tracks}))
    return Catalog(name, tracks, labels, tuple(sorted(skipped.items())))


def _band(data: config_lib.Data) -> Catalog:
    from mgr_jax.data import band  # Here, since the band makes `Track`s.

    tracks = band.tracks(
        num_grooves=data.num_grooves, clips_per_groove=data.clips_per_groove, seed=data.seed
    )
    return _make("band", tracks, {})


def _folder(data: config_lib.Data) -> Catalog:
    """`root/<class>/**/*.{wav,au,...}`: the label is the folder below the root."""
    root = _existing_folder(data.root)
    tracks, skipped = [], {}
    classes = [path for path in root.iterdir() if path.is_dir() and not _is_hidden(path)]
    for folder in classes:
        for path in _audio_files(folder, skipped):
            name = path.relative_to(root).as_posix()
            tracks.append(Track(id=name, path=str(path), label=folder.name))
    if not tracks:
        raise UserError(
            f"data.root {root}: no audio file in {len(classes)} class folder(s); expected"
            " root/<class>/*.wav (or au, flac, ogg, mp3)"
        )
    return _make("folder", tracks, skipped)


def _gtzan(data: config_lib.Data) -> Catalog:
    """GTZAN as first released (`genres/`), as on Kaggle (`Data/genres_original/`) or bare."""
    root = _existing_folder(data.root)
    nested = ("", "genres", "genres_original", "Data/genres_original")
    bases = [root / name for name in nested]
    base = next((b for b in bases if any((b / genre).is_dir() for genre in gtzan.GENRES)), None)
    if base is None:
        raise UserError(
            f"data.root {root}: no genre folder (blues, classical, ...) in it, in genres/ or in"
            " Data/genres_original/; point it at the folder that holds them"
        )
    known = gtzan.facts()
    tracks, skipped, paths = [], {}, {}
    for genre in gtzan.GENRES:
        for path in _audio_files(base / genre, skipped):
            name = path.stem
            if name not in known or not name.startswith(f"{genre}."):
                skipped["not a GTZAN track name"] = skipped.get("not a GTZAN track name", 0) + 1
                continue
            paths.setdefault(name, []).append(path.name)
            fact = known[name]
            tracks.append(
                Track(name, str(path), genre, fact.artist, fact.recording, part=fact.part)
            )
    repeated = [" and ".join(names) for names in paths.values() if len(names) > 1]
    if repeated:
        raise UserError(f"data.root {base}: {_some(repeated)} are one track each; keep one file")
    if not tracks:
        raise UserError(
            f"data.root {base}: no GTZAN track (blues/blues.00000.wav, ...); use data.name=folder"
            " for other collections"
        )
    return _make("gtzan", tracks, skipped)


def _manifest(data: config_lib.Data) -> Catalog:
    """A CSV with `path,label` and, where known, `id,artist,recording,split`.

    Paths are relative to the CSV. Every wrong row is listed, not only the first.
    """
    root = pathlib.Path(data.root)
    if not root.is_file():
        raise UserError(f"data.root {root}: no such file; data.name 'manifest' needs a CSV file")
    tracks, wrong, seen = [], [], set()
    try:
        with open(root, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"path", "label"} - set(rows.fieldnames or ())
            if missing:
                raise UserError(f"data.root {root}: column {min(missing)!r} is missing; add it")
            for row in rows:
                track = _manifest_track(row, root.parent)
                if track.id in seen:
                    wrong.append(f"line {rows.line_num} repeats {track.id!r}")
                if not track.label or not row["path"]:
                    wrong.append(f"line {rows.line_num} has no path or no label")
                if track.part not in ("", *PARTS):
                    wrong.append(f"line {rows.line_num} has split {track.part!r}")
                seen.add(track.id)
                tracks.append(track)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.root {root}: not a readable CSV ({error})") from error
    if wrong:
        raise UserError(f"data.root {root}: {_some(wrong)}; correct these rows")
    if not tracks:
        raise UserError(f"data.root {root}: the CSV has no rows; add one per track")
    return _make("manifest", tracks, {})


def _manifest_track(row: dict[str, str | None], folder: pathlib.Path) -> Track:
    value = {name: (text or "").strip() for name, text in row.items() if name is not None}
    return Track(
        id=value.get("id") or value["path"],
        path=str(folder / value["path"]),
        label=value["label"],
        artist=value.get("artist", ""),
        recording=value.get("recording", ""),
        part=value.get("split", ""),
    )


def _existing_folder(root: str) -> pathlib.Path:
    path = pathlib.Path(root).expanduser()
    if not path.is_dir():
        raise UserError(f"data.root {root}: no such folder; give the folder that holds the audio")
    return path


def _audio_files(folder: pathlib.Path, skipped: dict[str, int]) -> list[pathlib.Path]:
    """Audio files below `folder`; counts in `skipped` what is left out, by reason."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if _is_hidden(path):
            reason = "hidden file (._*, .DS_Store, ...)"
        elif path.suffix.lower() not in AUDIO_SUFFIXES:
            reason = f"not audio ({path.suffix.lower() or 'no suffix'})"
        else:
            found.append(path)
            continue
        skipped[reason] = skipped.get(reason, 0) + 1
    return found


def _some(items: list[str]) -> str:
    """The first five items, and how many more there are."""
    return "; ".join(items[:5]) + (f"; and {len(items) - 5} more" if len(items) > 5 else "")


def _is_hidden(path: pathlib.Path) -> bool:
    return path.name.startswith(".")


_CATALOGS = {"band": _band, "gtzan": _gtzan, "folder": _folder, "manifest": _manifest}
