"""Copies of GTZAN that are not folders of genres: the forms in which others distribute it.

Its first host is gone. What is read here, beside the folders of `data.sources`:

- Parquet files of the Hugging Face hub and Arrow files of its `datasets` (`audio` of bytes and
  path, or of one of them, and `genre` or `label`), whose audio is written to the cache folder once
- the lists of MARBLE (`GTZANGenre.train.jsonl`: `audio_path` and `label`), and those of audio
  folders (`metadata.jsonl`: `file_name`)
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

NAME = re.compile(r"(?:.*[/\\])?((?:" + "|".join(GENRES) + r")\.\d{5})\.\w+", re.DOTALL)
_TABLES = (".parquet", ".pq", ".arrow")
_PACKED = (".gz", ".tgz", ".tar", ".zip")
_LABELS, _NAMES = ("genre", "label"), ("file", "path", "file_name", "filename")
# What pyarrow raises for damaged files and types that it cannot read, and `_entry` for others.
_WRONG_TABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError)
_BATCH = 16  # Rows of a Parquet file in memory; 1.3 MB each.


def listed_files(root: pathlib.Path, cache: str) -> list[pathlib.Path] | None:
    """Return the audio files of a copy that lists them, or None if `root` is no such copy.

    Args:
      root: a table, list or index, or a folder with tables or lists at any depth.
      cache: `data.cache`; the audio of Parquet files is written below it.

    Raises:
      UserError: if a file is damaged, names no track, or a label is not that of its track.
      OSError: if the cache folder cannot be written.
    """
    if root.is_file():
        if root.suffix.lower() in _TABLES:
            return _unpack([root], cache)
        if root.suffix.lower() in (".jsonl", ".json"):
            return _read_list(root)
        hint = "; unpack it first" if root.suffix.lower() in _PACKED else ""
        raise UserError(
            f"data.root {root}: neither a folder nor a Parquet file, jsonl list or mirdata index"
            f" of GTZAN{hint}"
        )
    files = _files(root, (*_TABLES, ".jsonl", ".json"))
    # Beside its tables, `datasets` keeps what was computed from them.
    tables = [file for file in files if file.suffix.lower() in _TABLES]
    if tables := [file for file in tables if not file.name.startswith("cache-")]:
        return _unpack(tables, cache)
    lists = [file for file in files if file.suffix.lower() == ".jsonl" and _is_list(file)] or [
        file for file in files if re.match("gtzan.*index", file.name, re.IGNORECASE)
    ]
    # The same tracks may be in lists of several tasks.
    return list(dict.fromkeys(path for file in lists for path in _read_list(file))) or None


def packed(root: pathlib.Path) -> str:
    """Return `; genres.tar.gz is packed: unpack it first` if there is such a file, or nothing."""
    files = _files(root, _PACKED)
    return f"; {printable(files[0].name)} is packed: unpack it first" if files else ""


def _is_list(file: pathlib.Path) -> bool:
    """Return whether a jsonl file names audio files; others may lie in the same folder."""
    with file.open("rb") as stream:
        head = stream.read(1 << 12)
    return b'"audio_path"' in head or b'"file_name"' in head


def _files(root: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
    """Return the files with these suffixes below `root`, each once, sorted.

    macOS adds hidden `._` files, and snapshots of the Hugging Face cache link to the same file.
    """
    paths = sorted(p for p in root.rglob("[!.]*.*") if p.suffix.lower() in suffixes)
    return list({path.resolve(): path for path in paths if path.is_file()}.values())


def _read_list(file: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a jsonl list or an index.

    Their paths, or the ends of these, are relative to its folder or to one above it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".jsonl":
            rows = [parse_json(line) for line in text.split("\n") if line.strip()]
            entries = [(row.get("file_name") or row["audio_path"], _label(row)) for row in rows]
        else:
            index = parse_json(text)
            tracks = index.get("tracks", index)
            names = [track["audio"][0] for track in tracks.values()]
            entries = [(name, None) for name in names if name is not None]
        for name, label in entries:
            _check(name, label)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"data.root {file}: not a list of GTZAN's tracks ({reason})") from error
    if not entries:
        raise UserError(f"data.root {file}: lists no track")
    parts = [_parts(name) for name, _ in entries]
    for depth in range(max(map(len, parts))):
        for base in file.resolve().parents:
            paths = [base.joinpath(*p[min(depth, len(p) - 1) :]) for p in parts]
            if any(path.exists() for path in paths):  # A copy may lack some.
                return paths
    raise UserError(
        f"data.root {file}: {printable(entries[0][0])} is neither beside it nor below a folder"
        " above it; put the list where its paths lead to the audio"
    )


def _parts(name: str) -> tuple[str, ...]:
    """Return the folders and the file of a path, also of one that Windows has written."""
    return pathlib.PurePosixPath(name.replace("\\", "/")).parts


def _label(row: Mapping[str, Any]) -> str | int | None:
    """Return the genre of a row, if it has one; the labels of a list of beats are numbers."""
    label = next((row[column] for column in _LABELS if row.get(column) is not None), None)
    if isinstance(label, list):
        label = label[0] if len(label) == 1 else None
    return label if isinstance(label, str | int) else None


def _unpack(tables: Sequence[pathlib.Path], cache: str) -> list[pathlib.Path]:
    """Write the audio of tables to the cache, unless it is there, and return its files."""
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
    """Write the audio of tables below `folder`, unless it is there; return the names."""
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
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(
            "data.root: GTZAN as Parquet needs pyarrow; pip install 'mgr_jax[parquet]'"
        ) from error
    for path in tables:
        try:
            for metadata, rows in _batches(path):
                classes = _class_names(metadata)
                for row in rows:
                    yield _entry(row, classes, path)
        except _WRONG_TABLE as error:
            reason = f"no column {error}" if isinstance(error, KeyError) else error
            reason = " ".join(str(reason).split())[:200]
            raise UserError(f"data.root {path}: not a Parquet file of GTZAN ({reason})") from error


def _batches(path: pathlib.Path) -> Iterator[tuple[Mapping[bytes, bytes], list[dict[str, Any]]]]:
    """Yield the metadata of a table, and some of its rows with the columns that are read."""
    import pyarrow
    from pyarrow import parquet

    known = ("audio", *_NAMES, *_LABELS)
    if path.suffix.lower() == ".arrow":
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as reader:
            columns = [name for name in known if name in reader.schema.names]
            for batch in reader:
                for start in range(0, batch.num_rows, _BATCH):
                    rows = batch.select(columns).slice(start, _BATCH).to_pylist()
                    yield reader.schema.metadata or {}, rows
        return
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        columns = [name for name in known if name in schema.names]
        for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
            yield schema.metadata or {}, batch.to_pylist()


def _entry(
    row: Mapping[str, Any], classes: Mapping[str, Sequence[str]], table: pathlib.Path
) -> tuple[str, bytes]:
    audio: Any = row["audio"]
    if isinstance(audio, str):
        audio = {"path": audio}
    elif isinstance(audio, bytes):
        audio = {"bytes": audio}
    if not isinstance(audio, dict):
        raise ValueError("column 'audio' must have bytes and path")
    names = [audio.get("path"), *(row.get(column) for column in _NAMES)]
    names = [name for name in names if isinstance(name, str) and NAME.fullmatch(name)]
    if not names:
        raise ValueError(f"{audio.get('path')!r} is no name of a track")
    label = _label(row)
    if isinstance(label, int):
        known = next((classes[column] for column in _LABELS if column in classes), GENRES)
        label = known[label] if 0 <= label < len(known) else str(label)
    name, content = names[0], audio.get("bytes")
    genre = _check(name, label)
    # Without decoding, `datasets` keeps the path of a file alone.
    content = content or next(filter(None, (_read(name, table) for name in names)), None)
    if not content:
        raise ValueError(f"{name!r} has no audio in the file, and there is none at its path")
    return f"{genre}/{_parts(name)[-1]}", content


def _read(name: str, table: pathlib.Path) -> bytes | None:
    """Return the content of a file whose path, or its end, is relative to `table` or above it."""
    parts = _parts(name)
    for depth in range(len(parts)):
        for base in table.absolute().parents:
            if (path := base.joinpath(*parts[depth:])).is_file():
                return path.read_bytes()
    return None


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """Return column -> names of its classes, from what `datasets` writes into a schema."""
    features = parse_json(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        name: f["names"] for name, f in features.items() if isinstance(f, dict) and "names" in f
    }


def _check(name: str, label: str | int | None) -> str:
    """Return the genre of the file `name`.

    Raises:
      ValueError: if it is no track, or its label is another genre.
    """
    match = NAME.fullmatch(name)
    if not match:
        raise ValueError(f"{name[:200]!r} is no name of a track")
    genre = match[1].partition(".")[0]
    if isinstance(label, str) and label.lower().replace("-", "").replace(" ", "") != genre:
        raise ValueError(f"{name[:200]!r} has the label {label[:60]!r}")
    return genre
