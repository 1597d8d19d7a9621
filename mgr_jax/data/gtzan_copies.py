"""Copies of GTZAN that are not folders of genres: the forms in which others distribute it.

Its first host is gone. What is read here, beside the folders of `data.sources`:

- Parquet files of the Hugging Face hub (`audio` of bytes and path, and `genre` or `label`), whose
  audio is written to the cache folder once
- the lists of MARBLE (`GTZANGenre.train.jsonl`: `audio_path` and `label`)
- the index of mirdata (`gtzan_genre_index_1.0.json`)

The name of a track (`blues.00000`) tells its genre; a label that says otherwise is refused.
"""

import collections
import contextlib
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import filelock

from mgr_jax import progress
from mgr_jax.data.clips import cache_folder
from mgr_jax.data.gtzan import GENRES
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.files import parse_json, write_whole

WHERE = (
    "GTZAN is at Hugging Face (marsyas/gtzan), Kaggle"
    " (andradaolteanu/gtzan-dataset-music-genre-classification) and in mirdata (gtzan_genre);"
    " `prepare --verify` checks a copy"
)
NAME = re.compile(r"(?:.*[/\\])?((?:" + "|".join(GENRES) + r")\.\d{5})\.\w+", re.DOTALL)
_PARQUET = (".parquet", ".pq")
# What pyarrow raises for damaged files and types that it cannot read, and `_entry` for others.
_WRONG_TABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError)
_BATCH = 16  # Rows of a Parquet file in memory; 1.3 MB each.


def listed_files(root: pathlib.Path, cache: str) -> list[pathlib.Path] | None:
    """Return the audio files of a copy that lists them, or None if `root` is no such copy.

    Args:
      root: a Parquet file, list or index, or a folder with Parquet files or lists at any depth.
      cache: `data.cache`; the audio of Parquet files is written below it.

    Raises:
      UserError: if a file is damaged, names no track, or a label is not that of its track.
      OSError: if the cache folder cannot be written.
    """
    if root.is_file():
        if root.suffix.lower() in _PARQUET:
            return _unpack([root], cache)
        if root.suffix.lower() in (".jsonl", ".json"):
            return _read_list(root)
        hint = "; unpack it first" if root.suffix.lower() in (".gz", ".tgz", ".tar", ".zip") else ""
        raise UserError(
            f"data.root {root}: neither a folder nor a Parquet file, jsonl list or mirdata index"
            f" of GTZAN{hint}"
        )
    files = _files(root, (*_PARQUET, ".jsonl", ".json"))
    if tables := [file for file in files if file.suffix in _PARQUET]:
        return _unpack(tables, cache)
    lists = [file for file in files if file.suffix == ".jsonl"] or [
        file for file in files if file.name.startswith("gtzan_genre_index")
    ]
    # The same tracks may be in lists of several tasks.
    return list(dict.fromkeys(path for file in lists for path in _read_list(file))) or None


def _files(root: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
    """Return the files with these suffixes below `root`, each once, sorted.

    macOS adds hidden `._` files, and snapshots of the Hugging Face cache link to the same file.
    """
    paths = sorted(p for p in root.rglob("*.*") if p.suffix in suffixes and p.name[0] != ".")
    return list({path.resolve(): path for path in paths if path.is_file()}.values())


def _read_list(file: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a jsonl list or an index; their paths are relative to it or above it."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".jsonl":
            rows = [parse_json(line) for line in text.split("\n") if line.strip()]
            entries = [(row["audio_path"], row.get("label")) for row in rows]
        else:
            index = parse_json(text)
            tracks = index.get("tracks", index)
            entries = [(track["audio"][0], None) for track in tracks.values()]
        for name, label in entries:
            _check(name, label)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"data.root {file}: not a list of GTZAN's tracks ({reason})") from error
    if not entries:
        raise UserError(f"data.root {file}: lists no track")
    for base in file.resolve().parents:
        if any((base / name).exists() for name, _ in entries):  # A copy may lack some.
            return [base / name for name, _ in entries]
    raise UserError(
        f"data.root {file}: {printable(entries[0][0])} is neither beside it nor below a folder"
        " above it; put the list where its paths lead to the audio"
    )


def _unpack(tables: Sequence[pathlib.Path], cache: str) -> list[pathlib.Path]:
    """Write the audio of Parquet files to the cache, unless it is there, and return its files."""
    stats = [path.stat() for path in tables]
    facts = [
        [str(path.resolve()), stat.st_size, int(stat.st_mtime)]
        for path, stat in zip(tables, stats, strict=True)
    ]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    folder = cache_folder(cache) / "unpacked" / f"gtzan-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):  # Two processes would write the same files.
        index = folder / "files.json"
        with contextlib.suppress(OSError, ValueError, TypeError):
            files = [folder / name for name in parse_json(index.read_bytes())]
            if all(file.is_file() for file in files):
                return files
        names = _write_audio(tables, folder)
        write_whole(index, json.dumps(names))
    return [folder / name for name in names]


def _write_audio(tables: Sequence[pathlib.Path], folder: pathlib.Path) -> list[str]:
    """Write the audio of Parquet files below `folder`, unless it is there; return the names."""
    names = []
    with progress.Progress("unpack", f"the tracks of {tables[0].parent}"):
        for name, audio in _rows(tables):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.stat().st_size != len(audio):
                write_whole(path, audio)
            names.append(name)
    repeated = [name for name, count in collections.Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"data.root {tables[0].parent}: {repeated[0]} is there twice; keep one row")
    if not names:
        raise UserError(f"data.root {tables[0]}: has no rows")
    return names


def _rows(tables: Iterable[pathlib.Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the file name below its genre (`blues/blues.00000.wav`) and the bytes of each row."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "data.root: GTZAN as Parquet needs pyarrow; pip install 'mgr_jax[parquet]'"
        ) from error
    for path in tables:
        try:
            with parquet.ParquetFile(path) as file:
                schema = file.schema_arrow
                columns = [n for n in ("audio", "file", "genre", "label") if n in schema.names]
                classes = _class_names(schema.metadata or {})
                for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                    for row in batch.to_pylist():
                        yield _entry(row, classes)
        except _WRONG_TABLE as error:
            reason = f"no column {error}" if isinstance(error, KeyError) else error
            reason = " ".join(str(reason).split())[:200]
            raise UserError(f"data.root {path}: not a Parquet file of GTZAN ({reason})") from error


def _entry(row: Mapping[str, Any], classes: Mapping[str, Sequence[str]]) -> tuple[str, bytes]:
    audio = row["audio"]
    if not isinstance(audio, dict):
        raise ValueError("column 'audio' must have bytes and path")
    for name in (audio["path"], row.get("file")):
        if name and NAME.fullmatch(name):
            break
    else:
        raise ValueError(f"{audio['path']!r} is no name of a track")
    label = next(
        (row[column] for column in ("genre", "label") if row.get(column) is not None), None
    )
    if isinstance(label, int):
        names = next((classes[c] for c in ("genre", "label") if c in classes), GENRES)
        label = names[label] if 0 <= label < len(names) else str(label)
    genre = _check(name, label)
    if not audio["bytes"]:
        raise ValueError(f"{name!r} has no audio in the file")
    return f"{genre}/{pathlib.PurePath(name.replace(chr(92), '/')).name}", audio["bytes"]


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """Return column -> names of its classes, from what `datasets` writes into a schema."""
    features = parse_json(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        name: f["names"] for name, f in features.items() if isinstance(f, dict) and "names" in f
    }


def _check(name: str, label: str | None) -> str:
    """Return the genre of the file `name`.

    Raises:
      ValueError: if it is no track, or its label is another genre.
    """
    match = NAME.fullmatch(name)
    if not match:
        raise ValueError(f"{name[:200]!r} is no name of a track")
    genre = match[1].partition(".")[0]
    if label is not None and label.lower().replace("-", "").replace(" ", "") != genre:
        raise ValueError(f"{name[:200]!r} has the label {label[:60]!r}")
    return genre
