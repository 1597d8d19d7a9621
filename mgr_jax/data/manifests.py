"""Manifests of shards: the contents of each, and how they are written and read.

The manifest of `shard-00003-of-00016.array_record` is the `.json` file beside it: each track of
its slice of the catalog, the outcome of decoding it, how it was made, and checksums. It is written
last, so that a shard with a manifest is whole.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from mgr_jax.data.catalog import Catalog, Track, from_tracks
from mgr_jax.data.records import Record
from mgr_jax.files import json_digest, parse_json
from mgr_jax.schema import has_types

_FORMAT = 1
_LONGEST = 1 << 40  # Samples: a year.


@dataclasses.dataclass(frozen=True)
class Collection:
    """The properties that all shards of a folder share.

    Attributes:
      name, catalog_hash, num_tracks, skipped: of the whole catalog.
      sample_rate: rate in Hz. clip_samples: length T of a clip.
      piece_samples: samples of a record of a shard, except the last one of a clip.
      decoder: versions of the code and libraries that made the samples.
    """

    name: str
    catalog_hash: str
    num_tracks: int
    skipped: tuple[tuple[str, int], ...]
    sample_rate: int
    clip_samples: int
    piece_samples: int
    decoder: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The file that a track was decoded from: bytes, nanoseconds, MD5; zeros for the band."""

    size: int
    mtime_ns: int
    md5: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One shard: its tracks and, for each, its record in the clip store and its source.

    `num_bytes` and `sha256` are those of the ArrayRecord file.
    """

    shard: int
    num_shards: int
    collection: Collection
    num_bytes: int
    sha256: str
    tracks: tuple[Track, ...]
    records: tuple[Record, ...]
    sources: tuple[Source, ...]

    def num_pieces(self) -> list[int]:
        """Return the number of records of each track in the ArrayRecord file."""
        return [-(-record.length // self.collection.piece_samples) for record in self.records]


def stem(shard: int, num_shards: int) -> str:
    """Return the name of the files of a shard, without their suffix."""
    return f"shard-{shard:05d}-of-{num_shards:05d}"


def data_path(folder: str | os.PathLike, shard: int, num_shards: int) -> pathlib.Path:
    """Return the ArrayRecord file of a shard."""
    return pathlib.Path(folder, stem(shard, num_shards) + ".array_record")


def manifest_path(folder: str | os.PathLike, shard: int, num_shards: int) -> pathlib.Path:
    """Return the JSON file that describes a shard, beside its ArrayRecord file."""
    return pathlib.Path(folder, stem(shard, num_shards) + ".json")


def slice_of(num_tracks: int, shard: int, num_shards: int) -> slice:
    """Return the slice of the sorted catalog that a shard has; lengths differ by one at most."""
    return slice(num_tracks * shard // num_shards, num_tracks * (shard + 1) // num_shards)


# Columns of a manifest: of tracks (`file` is the name of `path`), of records and of sources.
_TRACK = ("id", "label", "artist", "recording", "part")
_RECORD = ("length", "scale", "note", "error", "source", "digest")
_SOURCE = ("size", "mtime_ns", "md5")


def to_text(manifest: Manifest) -> str:
    """Return the manifest as JSON, with a checksum of itself."""
    columns = {name: [getattr(t, name) for t in manifest.tracks] for name in _TRACK}
    columns["file"] = [track.file_name for track in manifest.tracks]
    columns |= {name: [getattr(r, name) for r in manifest.records] for name in _RECORD}
    columns |= {name: [getattr(s, name) for s in manifest.sources] for name in _SOURCE}
    values = {
        "format": _FORMAT,
        "shard": manifest.shard,
        "num_shards": manifest.num_shards,
        "collection": dataclasses.asdict(manifest.collection),
        "num_tracks": len(manifest.tracks),
        "num_skipped": sum(bool(record.error) for record in manifest.records),
        "num_records": sum(manifest.num_pieces()),
        "num_bytes": manifest.num_bytes,
        "sha256": manifest.sha256,
        "tracks": columns,
    }
    return json.dumps(values | {"checksum": json_digest(values)}, indent=None) + "\n"


def read_manifest(path: pathlib.Path) -> Manifest:
    """Read the manifest of `to_text`; a track's path is its file's name below that of the shard.

    Raises:
      ValueError: if it is damaged, or was made by another version of this code.
      OSError: if it cannot be read.
    """
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        checksum = values.pop("checksum", None)
        if values.get("format") != _FORMAT:
            raise ValueError(f"format {values.get('format')!r}, not {_FORMAT}")
        if checksum != json_digest(values):
            raise ValueError("it was changed after it was written")
        common = values["collection"]
        common["skipped"] = tuple((why, count) for why, count in common["skipped"])
        columns, shared = values["tracks"], {}
        for name in ("source", "digest"):  # Manifests of earlier versions have none.
            columns.setdefault(name, [""] * len(columns["id"]))
        for name in ("label", "artist", "recording", "part", "note"):  # Equal strings share memory.
            columns[name] = [shared.setdefault(text, text) for text in columns[name]]
        data = path.with_suffix(".array_record")
        tracks = tuple(
            Track(name, file if file.startswith("band:") else f"{data}/{file}", *facts)
            for name, file, *facts in _rows(columns, ("id", "file", *_TRACK[1:]))
        )
        manifest = Manifest(
            shard=values["shard"],
            num_shards=values["num_shards"],
            collection=Collection(**common),
            num_bytes=values["num_bytes"],
            sha256=values["sha256"],
            tracks=tracks,
            records=tuple(Record(*row) for row in _rows(columns, ("id", *_RECORD))),
            sources=tuple(Source(*row) for row in _rows(columns, _SOURCE)),
        )
        _check(manifest)
        return manifest
    except UnicodeDecodeError as error:
        raise ValueError("it is not text") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check(manifest: Manifest) -> None:
    """Raise `ValueError` if a value of a manifest is of another type, or cannot be."""
    common = manifest.collection
    rows = (manifest, common, *manifest.tracks, *manifest.records, *manifest.sources)
    texts = [*common.decoder, *common.decoder.values(), *(why for why, _ in common.skipped)]
    counts = [number for _, number in common.skipped]
    lengths = [record.length for record in manifest.records]
    if not all(map(has_types, rows)) or not all(isinstance(text, str) for text in texts):
        raise ValueError("a value is of another type")
    if not all(isinstance(number, int) for number in counts):
        raise ValueError("a count is no number")
    longest = common.clip_samples
    if not 0 < common.piece_samples <= _LONGEST or not 0 < longest <= _LONGEST:
        raise ValueError("a length is no number of samples")
    if not all(0 <= length <= longest for length in lengths):
        raise ValueError("a track is longer than its clip")


def _rows(columns: dict[str, list], names: Sequence[str]) -> Iterable[tuple]:
    return zip(*(columns[name] for name in names), strict=True)


def catalog_of(shards: Sequence[Manifest]) -> Catalog:
    """Return the catalog of the tracks of all `shards`."""
    common = shards[0].collection
    tracks = [track for manifest in shards for track in manifest.tracks]
    return from_tracks(common.name, tracks, dict(common.skipped))
