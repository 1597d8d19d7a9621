"""Manifests of shards: what is in each, and whether all of them together are the collection.

Beside `shard-00003-of-00016.array_record` lies `shard-00003-of-00016.json`: every track of that
slice of the catalog, what became of it, how it was made, and checksums. It is written last, so that
a shard with a manifest is whole.
"""

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError

_FORMAT = 1
_NAME = re.compile(r"shard-(\d{5})-of-(\d{5})\.(json|array_record)")


@dataclasses.dataclass(frozen=True)
class Collection:
    """What all shards of a folder have in common.

    Attributes:
      name, catalog_hash, num_tracks, skipped: of the whole catalog.
      sample_rate: rate in Hz. clip_samples: length T of a clip. piece_samples: samples of a record
        of a shard, but for the last one of a clip.
      decoder: versions of what made the samples.
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
    """The file that a track was decoded from: bytes, nanoseconds, MD5; zeros for the band's."""

    size: int
    mtime_ns: int
    md5: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One shard: its tracks and, of each, its record in the clip store and its source.

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
        """Records of the ArrayRecord file that each track has."""
        return [-(-record.length // self.collection.piece_samples) for record in self.records]


def stem(shard: int, num_shards: int) -> str:
    """Name of the files of a shard, without their suffix."""
    return f"shard-{shard:05d}-of-{num_shards:05d}"


def data_path(folder: str | os.PathLike, shard: int, num_shards: int) -> pathlib.Path:
    return pathlib.Path(folder, stem(shard, num_shards) + ".array_record")


def manifest_path(folder: str | os.PathLike, shard: int, num_shards: int) -> pathlib.Path:
    return pathlib.Path(folder, stem(shard, num_shards) + ".json")


def slice_of(num_tracks: int, shard: int, num_shards: int) -> slice:
    """The tracks of a shard: a run of the sorted catalog, as long as all others to within one."""
    return slice(num_tracks * shard // num_shards, num_tracks * (shard + 1) // num_shards)


# Columns of a manifest: of tracks (`file` is the name of `path`), of records and of sources.
_TRACK = ("id", "label", "artist", "recording", "part")
_RECORD = ("length", "scale", "note", "error")
_SOURCE = ("size", "mtime_ns", "md5")


def to_text(manifest: Manifest) -> str:
    """The manifest as JSON, with a checksum of itself."""
    columns = {name: [getattr(t, name) for t in manifest.tracks] for name in _TRACK}
    columns["file"] = [_file_name(track.path) for track in manifest.tracks]
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
    return json.dumps(values | {"checksum": _checksum(values)}, indent=None) + "\n"


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _file_name(path: str) -> str:
    """Without its folders, which are of one machine; the band's tracks are no files."""
    return path if path.startswith("band:") else pathlib.PurePath(path).name


def read_manifest(path: pathlib.Path) -> Manifest:
    """The manifest of `to_text`. A track's path is its file's name below that of the shard.

    Raises:
      ValueError: if it is damaged, or was made by another version of this code.
      OSError: if it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        checksum = values.pop("checksum", None)
        if values.get("format") != _FORMAT:
            raise ValueError(f"format {values.get('format')!r}, not {_FORMAT}")
        if checksum != _checksum(values):
            raise ValueError("it was changed after it was written")
        common = values["collection"]
        common["skipped"] = tuple((why, count) for why, count in common["skipped"])
        columns, shared = values["tracks"], {}
        for name in ("label", "artist", "recording", "part", "note"):  # One string for all equals.
            columns[name] = [shared.setdefault(text, text) for text in columns[name]]
        data = path.with_suffix(".array_record")
        tracks = tuple(
            Track(name, file if file.startswith("band:") else f"{data}/{file}", *facts)
            for name, file, *facts in _rows(columns, ("id", "file", *_TRACK[1:]))
        )
        return Manifest(
            shard=values["shard"],
            num_shards=values["num_shards"],
            collection=Collection(**common),
            num_bytes=values["num_bytes"],
            sha256=values["sha256"],
            tracks=tracks,
            records=tuple(Record(*row) for row in _rows(columns, ("id", *_RECORD))),
            sources=tuple(Source(*row) for row in _rows(columns, _SOURCE)),
        )
    except UnicodeDecodeError as error:
        raise ValueError("it is not text") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _rows(columns: dict[str, list], names: Sequence[str]) -> Iterable[tuple]:
    return zip(*(columns[name] for name in names), strict=True)


def read_manifests(root: str) -> list[Manifest]:
    """The manifests of a folder in order, which together are one whole collection.

    Raises:
      UserError: if a shard is missing, repeated, cut or made of something else than the others.
    """
    folder = pathlib.Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root {root}: no such folder; give the one that prepare --shards had")
    manifests, faults = find_faults(folder)
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(f"data.root {root}: {'; '.join(faults[:3])}{more}")
    return manifests


def find_faults(
    folder: pathlib.Path, wanted: Collection | None = None
) -> tuple[list[Manifest], list[str]]:
    """The shards of a folder that are well, in order, and what is wrong, each with its remedy.

    All shards of one count must be there, once each, of the size that their manifests tell, all
    made of the same catalog in the same way (as most of them are, or as `wanted` is); and their
    tracks together must be that catalog.
    """
    faults: list[str] = []
    found: dict[int, dict[int, Manifest | None]] = collections.defaultdict(dict)
    for path in sorted(folder.glob("shard-*")):
        named = _NAME.fullmatch(path.name)
        if named and (named[3] == "json" or not path.with_suffix(".json").exists()):
            shard, num_shards = int(named[1]), int(named[2])
            manifest, fault = _read_one(folder, shard, num_shards)
            found[num_shards][shard] = manifest
            faults += [fault] if fault else []
    if len(found) > 1:
        counts = " and of ".join(str(count) for count in sorted(found))
        return [], [f"shards of {counts} are mixed; delete those of all numbers but one"]
    if not found:
        return [], ["no shard in it; write them with prepare --shard=I/N"]
    [(num_shards, shards)] = found.items()
    faults += [
        f"shard {i}/{num_shards} is missing; {again(i, num_shards)}"
        for i in range(num_shards)
        if i not in shards
    ]
    manifests = [shards[i] for i in sorted(shards) if shards[i]]
    wanted = wanted or _usual(manifests)
    same = []
    for manifest in manifests:
        words = differences(manifest.collection, wanted)
        if words:
            which = f"shard {manifest.shard}/{num_shards}"
            faults.append(f"{which} has {words}; {again(manifest.shard, num_shards)}")
        else:
            same.append(manifest)
    return same, faults or _incomplete(same)


def again(shard: int, num_shards: int) -> str:
    """What to do about a faulty shard."""
    return f"run prepare with --shard={shard}/{num_shards}"


def _read_one(folder: pathlib.Path, shard: int, num_shards: int) -> tuple[Manifest | None, str]:
    """The manifest of a shard, or what is wrong."""
    path = manifest_path(folder, shard, num_shards)
    which, remedy = f"shard {shard}/{num_shards}", again(shard, num_shards)
    try:
        manifest = read_manifest(path)
    except FileNotFoundError:
        return None, f"{which} has no manifest, so it is not finished; {remedy}"
    except (OSError, ValueError) as error:
        return None, f"{which} has a damaged manifest ({_reason(error)}); {remedy}"
    if (manifest.shard, manifest.num_shards) != (shard, num_shards):
        same = f"{manifest.shard}/{manifest.num_shards}"
        return None, f"{which} is a copy of shard {same}; delete {path.name}, then {remedy}"
    fault = wrong_size(folder, manifest)
    return (None, f"{which} {fault}; {remedy}") if fault else (manifest, "")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def wrong_size(folder: pathlib.Path, manifest: Manifest) -> str:
    """What is wrong with the size of the ArrayRecord file of a manifest; empty if nothing."""
    path = data_path(folder, manifest.shard, manifest.num_shards)
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"has no {path.name} ({error.strerror})"
    if size != manifest.num_bytes:
        return f"is cut or overwritten: {size} bytes, {manifest.num_bytes} in its manifest"
    return ""


def _usual(manifests: Sequence[Manifest]) -> Collection | None:
    """What most shards are made of."""
    if not manifests:
        return None
    texts = [json.dumps(dataclasses.asdict(m.collection), sort_keys=True) for m in manifests]
    [(usual, _)] = collections.Counter(texts).most_common(1)
    return manifests[texts.index(usual)].collection


def differences(found: Collection, wanted: Collection) -> str:
    """`another catalog (3 tracks, not 4), another sample_rate (8000, not 16000)`; empty if none."""
    words = []
    if found.catalog_hash != wanted.catalog_hash:
        words.append(f"another catalog ({found.num_tracks} tracks, not {wanted.num_tracks})")
    for name in ("sample_rate", "clip_samples", "piece_samples"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        if ours != theirs:
            words.append(f"another {name} ({ours}, not {theirs})")
    other = [k for k, v in wanted.decoder.items() if found.decoder.get(k) != v]
    if other:
        words.append(f"another decoder ({', '.join(other)})")
    if found.name != wanted.name:
        words.append(f"another data set ({found.name}, not {wanted.name})")
    return ", ".join(words)


def _incomplete(manifests: Sequence[Manifest]) -> list[str]:
    """What the shards have twice, or not at all, of the catalog that all of them are made of."""
    where, faults = {}, []
    for manifest in manifests:
        twice = [t.id for t in manifest.tracks if t.id in where]
        where |= dict.fromkeys((t.id for t in manifest.tracks), manifest.shard)
        if twice:
            which = f"{manifest.shard}/{manifest.num_shards}"
            faults.append(
                f"shard {which} repeats {len(twice)} track(s) of others ({twice[0]});"
                f" {again(manifest.shard, manifest.num_shards)}"
            )
    if not faults:
        tracks = tuple(track for manifest in manifests for track in manifest.tracks)
        common = manifests[0].collection
        if catalog_of(common, tracks).hash() != common.catalog_hash:
            faults.append(
                f"the {len(tracks)} tracks of all shards are not the {common.num_tracks} of the"
                " catalog; write all shards again"
            )
    return faults


def catalog_of(common: Collection, tracks: Sequence[Track]) -> Catalog:
    """The catalog that `tracks`, those of all shards, are."""
    labels = tuple(sorted({track.label for track in tracks}))
    return Catalog(common.name, tuple(tracks), labels, common.skipped)
