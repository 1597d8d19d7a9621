"""Data sets by name: reads the catalog of tracks with their labels, artists and recordings."""

import collections
import csv
import os
import pathlib
import unicodedata
from collections.abc import Mapping, Sequence

import soundfile

from mgr_jax import config as config_lib
from mgr_jax.data import arrays, ballroom, embeddings, fma, gtzan
from mgr_jax.data.catalog import PARTS, Catalog, Track, from_tracks
from mgr_jax.errors import UserError

# The formats of libsndfile, with common other suffixes; all else in a data set is not audio. RAW
# has no header that gives its rate.
AUDIO_SUFFIXES = frozenset(
    {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
    | {".aif", ".aifc", ".oga", ".opus", ".snd"}
)

Tracks = tuple[Sequence[Track], Mapping[str, int]]


def make_catalog(data: config_lib.Data) -> Catalog:
    """Return the catalog that `data.name` and `data.root` name.

    Raises:
      UserError: if the root is missing or holds no audio, a row of a manifest is wrong, or there
        are fewer than two classes.
    """
    if data.name == "shards":  # The data set that they were made of keeps its name.
        from mgr_jax.data import shards

        catalog = shards.read_catalog(data.root)
    else:
        catalog = from_tracks(data.name, *_READERS[data.name](data))
    if len(catalog.labels) < 2:
        raise UserError(
            f"data.root {data.root}: only one class ({', '.join(catalog.labels)}); a classifier"
            " needs two or more, one folder (or label) each"
        )
    return catalog


def _band(data: config_lib.Data) -> Tracks:
    from mgr_jax.data.band import render  # Imported here: SciPy is slow to start.

    tracks = render.tracks(
        num_grooves=data.num_grooves, clips_per_groove=data.clips_per_groove, seed=data.seed
    )
    return tracks, {}


def _folder(data: config_lib.Data) -> Tracks:
    """Read `root/<class>/**/*.{wav,au,...}`: the label is the folder below the root."""
    root = _existing_folder(data.root)
    skipped = collections.Counter()
    classes, files = [], []
    for path in root.iterdir():
        if _is_hidden(path.name):
            continue
        if path.is_dir() and root.resolve().is_relative_to(path.resolve()):
            skipped["link back to the root"] += 1
        elif path.is_dir():
            classes.append(path)
        elif _is_audio(path.name):
            skipped["audio outside of a class folder"] += 1
    for folder in classes:
        files += [(folder.name, path) for path in _audio_files(folder, skipped)]
    if not files:
        raise UserError(
            f"data.root {root}: no audio file in {len(classes)} class folder(s); expected"
            " root/<class>/*.wav (or au, flac, ogg, mp3)"
        )
    # Files that differ only in their suffix are taken for one recording, encoded twice.
    stems = collections.Counter(path.with_suffix("") for _, path in files)
    tracks = []
    for label, path in files:
        name, stem = path.relative_to(root), path.with_suffix("")
        recording = _text(stem.relative_to(root).as_posix()) if stems[stem] > 1 else ""
        tracks.append(Track(_text(name.as_posix()), str(path), _text(label), recording=recording))
    return tracks, skipped


def _gtzan(data: config_lib.Data) -> Tracks:
    """Read GTZAN as first released (`genres/`), as on Kaggle (`Data/genres_original/`) or bare."""
    root = _existing_folder(data.root)
    bases = [root / name for name in ("", "genres", "genres_original", "Data/genres_original")]
    base = next((b for b in bases if any((b / genre).is_dir() for genre in gtzan.GENRES)), None)
    if base is None:
        raise UserError(
            f"data.root {root}: no genre folder (blues, classical, ...) in it, in genres/ or in"
            " Data/genres_original/; point it at the folder that holds them"
        )
    facts = gtzan.facts()
    tracks, skipped, paths = [], collections.Counter(), collections.defaultdict(list)
    for genre in gtzan.GENRES:
        for path in _audio_files(base / genre, skipped):
            name = path.stem
            if name not in facts or not name.startswith(f"{genre}."):
                skipped["not a GTZAN track name"] += 1
                continue
            paths[name].append(path.name)
            tracks.append(Track(name, str(path), genre, *facts[name]))
    repeated = [" and ".join(names) for names in paths.values() if len(names) > 1]
    if repeated:
        raise UserError(f"data.root {base}: {_some(repeated)} are one track each; keep one file")
    if not tracks:
        raise UserError(
            f"data.root {base}: no GTZAN track (blues/blues.00000.wav, ...); use data.name=folder"
            " for other collections"
        )
    return tracks, skipped


def _manifest(data: config_lib.Data) -> Tracks:
    """Read a CSV with `path,label` and, where known, `id,artist,recording,split`.

    Paths are relative to the CSV. Every wrong row is listed, not only the first.
    """
    root = pathlib.Path(os.path.expanduser(data.root))
    if not root.is_file():
        raise UserError(f"data.root {root}: no such file; data.name 'manifest' needs a CSV file")
    tracks: list[Track] = []
    wrong: list[str] = []
    try:
        with open(root, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"path", "label"} - set(rows.fieldnames or ())
            if missing:
                raise UserError(f"data.root {root}: column {min(missing)!r} is missing; add it")
            ids, paths = set(), set()
            for row in rows:
                value = {name: (row[name] or "").strip() for name in rows.fieldnames or ()}
                track = _manifest_track(value, root.parent)
                faults = {
                    "has no path or no label": not value["path"] or not track.label,
                    "has a path with a null character": "\0" in value["path"],
                    f"repeats id {track.id!r}": track.id in ids,
                    # Under another id it could be in two parts.
                    f"repeats path {value['path']!r}": track.path in paths and track.id not in ids,
                    f"has split {track.part!r}": track.part not in ("", *PARTS),
                }
                wrong += [
                    f"line {rows.line_num} {fault}" for fault, is_so in faults.items() if is_so
                ]
                ids.add(track.id)
                paths.add(track.path)
                tracks.append(track)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.root {root}: not a readable CSV ({error})") from error
    if wrong:
        raise UserError(f"data.root {root}: {_some(wrong)}; correct these rows")
    if not tracks:
        raise UserError(f"data.root {root}: the CSV has no rows; add one per track")
    return tracks, {}


def _manifest_track(value: dict[str, str], folder: pathlib.Path) -> Track:
    return Track(
        id=_text(value.get("id") or value["path"]),
        path=str(folder / value["path"]),
        label=_text(value["label"]),
        artist=value.get("artist", ""),
        recording=value.get("recording", ""),
        part=value.get("split", ""),
    )


def _existing_folder(root: str) -> pathlib.Path:
    path = pathlib.Path(os.path.expanduser(root))
    if not os.path.isdir(path):
        raise UserError(f"data.root {root}: no such folder; give the folder that holds the audio")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UserError(f"data.root {root}: permission denied; make the folder readable")
    return path


def _audio_files(folder: pathlib.Path, skipped: collections.Counter) -> list[pathlib.Path]:
    """Return the audio files below `folder`; count in `skipped` what is left out, by reason.

    Only the names are checked: the decoder reports a broken link or a pipe. Links to folders are
    not followed, since they may form a cycle.
    """
    files = []

    def refuse(error: OSError) -> None:
        skipped[f"folder that cannot be read ({_text(error.filename)}: {error.strerror})"] += 1

    for parent, folders, names in os.walk(folder, onerror=refuse):
        for name in folders:
            if os.path.islink(os.path.join(parent, name)):
                skipped["link to a folder"] += 1
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in names:
            if _is_hidden(name):
                skipped["hidden file (._*, .DS_Store, ...)"] += 1
            elif _is_audio(name):
                files.append(pathlib.Path(parent, name))
            else:
                suffix = _text(pathlib.Path(name).suffix.lower())
                skipped[f"not audio ({suffix or 'no suffix'})"] += 1
    if not files:
        skipped[f"folder without audio ({_text(folder.name)})"] += 1
    return sorted(files)


def _text(name: str) -> str:
    """Return `name` as one printable line: line breaks and invalid bytes are escaped."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    breaks = {c for c in name if unicodedata.category(c) in ("Cc", "Zl", "Zp")}
    return name.translate({ord(c): c.encode("unicode_escape").decode() for c in breaks})


def _some(items: list[str]) -> str:
    """Return the first five items, and how many more there are."""
    return "; ".join(items[:5]) + (f"; and {len(items) - 5} more" if len(items) > 5 else "")


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_audio(name: str) -> bool:
    return pathlib.Path(name).suffix.lower() in AUDIO_SUFFIXES


_READERS = {
    "band": _band,
    "gtzan": _gtzan,
    "gtzan_facts": lambda data: (gtzan.tracks(), {}),
    "folder": _folder,
    "manifest": _manifest,
    "fma": lambda data: fma.read(_existing_folder(data.root), data.subset),
    "ballroom": lambda data: ballroom.read(_existing_folder(data.root)),
    "extended_ballroom": lambda data: ballroom.read_extended(_existing_folder(data.root)),
    "arrays": lambda data: (arrays.read_tracks(data.root), {}),
    "embeddings": lambda data: (embeddings.read_tracks(data.root), {}),
}
