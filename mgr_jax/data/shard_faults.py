"""Faults of a folder of shards: whether its manifests together are one whole collection."""

import collections
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Sequence

from mgr_jax.data import manifests
from mgr_jax.data.manifests import Collection, Manifest
from mgr_jax.errors import UserError

_NAME = re.compile(r"shard-(\d{5})-of-(\d{5})\.(json|array_record)")


def read_manifests(root: str) -> list[Manifest]:
    """Return the manifests of a folder in order, which together are one whole collection.

    Raises:
      UserError: if a shard is missing, repeated, cut or made from other data than the others.
    """
    folder = pathlib.Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root {root}: no such folder; give the one that prepare --shards had")
    shards, faults = find_faults(folder)
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(f"data.root {root}: {'; '.join(faults[:3])}{more}")
    return shards


def find_faults(
    folder: pathlib.Path, expected: Collection | None = None
) -> tuple[list[Manifest], list[str]]:
    """Return the sound shards of a folder, in order, and a line for each fault with its remedy.

    All shards of one count must be there, once each, with the size in their manifests, made from
    the same catalog in the same way (as most of them are, or as `expected` is); and their tracks
    together must be that catalog.
    """
    faults: list[str] = []
    by_count: dict[int, dict[int, Manifest | None]] = collections.defaultdict(dict)
    for path in sorted(folder.glob("shard-*")):
        match = _NAME.fullmatch(path.name)
        if match and (match[3] == "json" or not path.with_suffix(".json").exists()):
            shard, num_shards = int(match[1]), int(match[2])
            manifest, fault = _read_one(folder, shard, num_shards)
            by_count[num_shards][shard] = manifest
            faults += [fault] if fault else []
    if len(by_count) > 1:
        counts = " and of ".join(str(count) for count in sorted(by_count))
        return [], [f"shards of {counts} are mixed; delete those of all numbers but one"]
    if not by_count:
        return [], ["no shard in it; write them with prepare --shard=I/N"]
    [(num_shards, shards)] = by_count.items()
    faults += [
        f"shard {i}/{num_shards} is missing; {remedy(i, num_shards)}"
        for i in range(num_shards)
        if i not in shards
    ]
    readable = [manifest for _, manifest in sorted(shards.items()) if manifest]
    expected = expected or _most_common(readable)
    same = []
    for manifest in readable:
        words = differences(manifest.collection, expected or manifest.collection)
        if words:
            which = f"shard {manifest.shard}/{num_shards}"
            faults.append(f"{which} has {words}; {remedy(manifest.shard, num_shards)}")
        else:
            same.append(manifest)
    return same, faults or _incomplete(same)


def remedy(shard: int, num_shards: int) -> str:
    """Return the advice that rewrites a faulty shard."""
    return f"run prepare with --shard={shard}/{num_shards}"


def _read_one(folder: pathlib.Path, shard: int, num_shards: int) -> tuple[Manifest | None, str]:
    """Return the manifest of a shard, or what is wrong with it."""
    path = manifests.manifest_path(folder, shard, num_shards)
    which, advice = f"shard {shard}/{num_shards}", remedy(shard, num_shards)
    try:
        manifest = manifests.read_manifest(path)
    except FileNotFoundError:
        return None, f"{which} has no manifest, so it is not finished; {advice}"
    except (OSError, ValueError) as error:
        return None, f"{which} has a damaged manifest ({_reason(error)}); {advice}"
    if (manifest.shard, manifest.num_shards) != (shard, num_shards):
        same = f"{manifest.shard}/{manifest.num_shards}"
        return None, f"{which} is a copy of shard {same}; delete {path.name}, then {advice}"
    fault = wrong_size(folder, manifest)
    return (None, f"{which} {fault}; {advice}") if fault else (manifest, "")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def wrong_size(folder: pathlib.Path, manifest: Manifest) -> str:
    """Return what is wrong with the size of the file of a manifest; empty if nothing."""
    path = manifests.data_path(folder, manifest.shard, manifest.num_shards)
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"has no {path.name} ({error.strerror})"
    if size != manifest.num_bytes:
        return f"is cut or overwritten: {size} bytes, {manifest.num_bytes} in its manifest"
    return ""


def _most_common(shards: Sequence[Manifest]) -> Collection | None:
    """Return the collection that most shards are made of."""
    if not shards:
        return None
    texts = [json.dumps(dataclasses.asdict(m.collection), sort_keys=True) for m in shards]
    [(most_common, _)] = collections.Counter(texts).most_common(1)
    return shards[texts.index(most_common)].collection


def differences(actual: Collection, expected: Collection) -> str:
    """Return `another catalog (3 tracks, not 4), another sample_rate (8000, not 16000)`, or ""."""
    words = []
    if actual.catalog_hash != expected.catalog_hash:
        words.append(f"another catalog ({actual.num_tracks} tracks, not {expected.num_tracks})")
    for name in ("sample_rate", "clip_samples", "piece_samples"):
        ours, theirs = getattr(actual, name), getattr(expected, name)
        if ours != theirs:
            words.append(f"another {name} ({ours}, not {theirs})")
    other = [k for k, v in expected.decoder.items() if actual.decoder.get(k) != v]
    if other:
        words.append(f"another decoder ({', '.join(other)})")
    if actual.name != expected.name:
        words.append(f"another data set ({actual.name}, not {expected.name})")
    return ", ".join(words)


def _incomplete(shards: Sequence[Manifest]) -> list[str]:
    """Return lines for the tracks that the shards repeat, or lack, of their common catalog."""
    shard_of, faults = {}, []
    for manifest in shards:
        twice = [t.id for t in manifest.tracks if t.id in shard_of]
        shard_of |= dict.fromkeys((t.id for t in manifest.tracks), manifest.shard)
        if twice:
            which = f"{manifest.shard}/{manifest.num_shards}"
            faults.append(
                f"shard {which} repeats {len(twice)} track(s) of others ({twice[0]});"
                f" {remedy(manifest.shard, manifest.num_shards)}"
            )
    if not faults:
        common = shards[0].collection
        if manifests.catalog_of(shards).hash() != common.catalog_hash:
            faults.append(
                f"the {len(shard_of)} tracks of all shards are not the {common.num_tracks} of the"
                " catalog; write all shards again"
            )
    return faults
