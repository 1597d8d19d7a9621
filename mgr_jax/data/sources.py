"""Data sets by name: reads the catalog of tracks with their labels, artists and recordings."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import soundfile

from mgr_jax import config as config_lib
from mgr_jax import progress
from mgr_jax.data import (
    arrays,
    audio_tags,
    ballroom,
    csv_manifest,
    embeddings,
    fma,
    gtzan,
    gtzan_copies,
    layouts,
    same_file,
)
from mgr_jax.data.catalog import Catalog, Track, check_labels, from_tracks
from mgr_jax.errors import UserError
from mgr_jax.escape import printable

# Those that ffmpeg reads.
_FFMPEG_SUFFIXES = (
    "3gp aac ac3 adts amr ape asf avi dff dsf dts eac3 flv latm m4a m4b m4r mka mkv mlp mov mp4 mpc"
    " nut ra rm shn spx tak thd tta webm wma wmv wv"
    " 3g2 ec3 f4a f4v m2ts mpeg mpg mpp mts mxf ogv ogx oma rmvb ts vob"
)
# The formats of libsndfile and of ffmpeg, with common other suffixes; all else in a data set is not
# audio. RAW has no header that gives its rate.
AUDIO_SUFFIXES = frozenset(
    {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
    | {".aif", ".aifc", ".mp1", ".mp2", ".mpga", ".oga", ".opus", ".snd"}
    | {f".{name}" for name in _FFMPEG_SUFFIXES.split()}
)

# Folders of genres below the root: as first released, on Kaggle, of mirdata.
_GTZAN_BASES = ("", "genres", "genres_original", "Data/genres_original", "gtzan_genre/genres")

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
        tracks, skipped = _READERS[data.name](data)
        if data.name in _FOLDERS:
            tracks, skipped = _one_label_a_file(tracks, skipped)
        catalog = from_tracks(data.name, tracks, skipped)
    try:
        check_labels(catalog.labels)
    except ValueError as error:
        raise UserError(f"data.root {data.root}: {error}") from error
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
    """Read `root/<class>/**/*.{wav,au,...}`, or another of `layouts.classes`, and their tags."""
    root = _existing_folder(data.root)
    skipped = collections.Counter()
    classes: list[pathlib.Path] = []
    files: list[pathlib.Path] = []
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
        files += _audio_files(folder, skipped)
    if not files:
        lists = sorted(root.glob("[!.]*.[ct]sv"))
        hint = (
            f"; if {lists[0].name} lists them, give data.name=manifest and its path"
            if lists
            else ""
        )
        raise UserError(
            f"data.root {root}: no audio file in {len(classes)} class folder(s); expected"
            f" root/<class>/*.wav (or au, flac, ogg, mp3, m4a){hint}"
        )
    # Files that differ only in their suffix are taken for one recording, encoded twice.
    stems = collections.Counter(path.with_suffix("") for path in files)
    names = [path.relative_to(root) for path in files]
    try:
        places = layouts.classes(names)
    except ValueError as error:
        raise UserError(f"data.root {root}: {error}") from error
    tracks = []
    rows = zip(files, names, places, strict=True)
    with progress.Progress("tags", total=len(files), unit="file") as bar:
        for path, name, (label, part) in rows:
            artist, recording = audio_tags.read(path)
            if stems[path.with_suffix("")] > 1:
                recording = name.with_suffix("").as_posix()
            tracks.append(Track(name.as_posix(), str(path), label, artist, recording, part))
            bar.update()
    return tracks, skipped


def _one_label_a_file(tracks: Sequence[Track], skipped: Mapping[str, int]) -> Tracks:
    """Leave out the tracks of a file that links put in two classes; others are one recording."""
    changed: dict[str, Track | None] = {}
    skipped = collections.Counter(skipped)
    for members in same_file.groups(tracks):
        if len({track.label for track in members}) > 1:
            names = " = ".join(printable(track.id) for track in members[:3])
            skipped[f"the same file under two labels ({names})"] += len(members)
            changed |= {track.id: None for track in members}
        else:
            recording = members[0].recording or members[0].id
            changed |= {t.id: dataclasses.replace(t, recording=recording) for t in members}
    kept = [changed.get(track.id, track) for track in tracks]
    return [track for track in kept if track is not None], skipped


def _gtzan(data: config_lib.Data) -> Tracks:
    """Read GTZAN as folders of genres, wherever they are below the root, or as `gtzan_copies`."""
    root, skipped = pathlib.Path(os.path.expanduser(data.root)), collections.Counter()
    if not root.exists():
        raise UserError(
            f"data.root {data.root}: no such folder or file; {config_lib.GTZAN_SOURCES}"
        )
    bases = [] if root.is_file() else [_existing_folder(data.root) / name for name in _GTZAN_BASES]
    base = next((b for b in bases if any((b / genre).is_dir() for genre in gtzan.GENRES)), None)
    if base is not None:
        files = [path for genre in gtzan.GENRES for path in _audio_files(base / genre, skipped)]
    else:
        files = gtzan_copies.listed_files(root, data.cache) or [
            path for path in _audio_files(root, skipped) if gtzan_copies.NAME.fullmatch(path.name)
        ]
        if not files:
            raise UserError(
                f"data.root {root}: no genre folder (blues, classical, ...) in it, no Parquet file,"
                " list or index; point it at the folder that holds the audio"
                f"{gtzan_copies.packed(root)}. {config_lib.GTZAN_SOURCES}"
            )
    facts = gtzan.facts()
    tracks, paths = [], collections.defaultdict(list)
    for path in files:
        name, genre = path.stem, path.stem.partition(".")[0]
        in_base = base is None or genre in path.relative_to(base).parts[:1]
        if name not in facts or not in_base:
            skipped["not a GTZAN track name"] += 1
            continue
        paths[name].append(path.name)
        tracks.append(Track(name, str(path), genre, *facts[name]))
    repeated = [" and ".join(names) for names in paths.values() if len(names) > 1]
    if repeated:
        raise UserError(f"data.root {root}: {_some(repeated)} are one track each; keep one file")
    if not tracks:
        raise UserError(
            f"data.root {root}: no GTZAN track (blues/blues.00000.wav, ...); use data.name=folder"
            " for other collections"
        )
    return tracks, skipped


def _manifest(data: config_lib.Data) -> Tracks:
    root = pathlib.Path(os.path.expanduser(data.root))
    if not root.is_file():
        raise UserError(f"data.root {root}: no such file; data.name 'manifest' needs a CSV file")
    return csv_manifest.read(root), {}


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
        skipped[f"folder that cannot be read ({printable(error.filename)}: {error.strerror})"] += 1

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
                suffix = printable(pathlib.Path(name).suffix.lower())
                skipped[f"not audio ({suffix or 'no suffix'})"] += 1
    if not files:
        skipped[f"folder without audio ({printable(folder.name)})"] += 1
    return sorted(files)


def _some(items: list[str]) -> str:
    """Return the first five items, and how many more there are."""
    return "; ".join(items[:5]) + (f"; and {len(items) - 5} more" if len(items) > 5 else "")


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_audio(name: str) -> bool:
    return pathlib.Path(name).suffix.lower() in AUDIO_SUFFIXES


# Data sets whose files are found by looking into folders.
_FOLDERS = ("folder", "gtzan", "ballroom")
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
