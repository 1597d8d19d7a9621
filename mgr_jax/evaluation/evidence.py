"""The inputs of an audit: tracks with their artists, identical files, near-identical audio."""

import collections
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Mapping

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import progress
from mgr_jax.data import clips, gtzan, shards, splits
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.catalog import Catalog
from mgr_jax.data.sources import make_catalog
from mgr_jax.evaluation.audit import Alike
from mgr_jax.features import fingerprint

# Seconds of audio that two near-identical clips have in common: half a clip, at most 8 s. Below
# 4 s, copies cannot be distinguished from similar music.
_MAX_COMMON, _MIN_COMMON = 8.0, 4.0
_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The facts on a data set that do not depend on its split.

    Attributes:
      catalog: all tracks, with artists and recordings from `data.facts` where it has them.
      readable: the tracks that training would split, without names from `data.facts`.
      identical: pairs of tracks whose files have the same bytes; None if there are no files.
      alike: pairs of near-identical audio; None if no audio was compared.
      unreadable: track -> why it cannot be read.
      seconds: track -> length of the audio of its clip; empty if there is no audio.
    """

    catalog: Catalog
    readable: Catalog
    identical: tuple[tuple[str, str], ...] | None
    alike: tuple[Alike, ...] | None
    unreadable: Mapping[str, str]
    seconds: Mapping[str, float]


def gather(config: config_lib.Config, *, compare_audio: bool = True) -> Evidence:
    """Read the data set of `config` and the checksums of its files, and compare its audio.

    If there are no files, the checksums are those of `data.facts`.

    Raises:
      UserError: see `dataset.open_catalog` and `gtzan.read_facts`.
    """
    facts = gtzan.read_facts(config.data.facts) if config.data.facts else {}
    if config.data.name == "gtzan_facts":
        catalog = readable = make_catalog(config.data)
        alike, unreadable, seconds = None, {}, {}
        checksums = {n: row["md5"].lower() for n, row in facts.items() if row.get("md5")}
    else:
        catalog, store = dataset_lib.open_catalog(config)
        tracks = tuple(track for track in catalog.tracks if track.id in store.row)
        readable = dataclasses.replace(catalog, tracks=tracks)
        unreadable = store.errors()
        seconds = {r.id: r.length / store.sample_rate for r in store.records if not r.error}
        if config.data.name == "embeddings":
            seconds = {}
        if isinstance(store, clips.Clips):
            alike = find_alike(store) if compare_audio else None
            in_shards = config.data.name == "shards"
            checksums = (
                shards.read_checksums(config.data.root) if in_shards else _file_checksums(catalog)
            )
        else:  # Arrays of an unknown origin, of which only the bytes can be compared.
            alike = None
            checksums = {
                record.id: hashlib.md5(store.waveform(row).tobytes()).hexdigest()
                for row, record in enumerate(store.records)
            }
    return Evidence(
        catalog=_with_names(catalog, facts),
        readable=readable,
        identical=_identical(catalog, checksums),
        alike=alike,
        unreadable=unreadable,
        seconds=seconds,
    )


def find_alike(store: clips.Clips) -> tuple[Alike, ...] | None:
    """Return the pairs of tracks of near-identical audio; None if the clips are too short."""
    clip_seconds = store.samples.shape[1] / store.sample_rate
    common_seconds = min(_MAX_COMMON, clip_seconds / 2)
    if common_seconds < _MIN_COMMON:
        return None
    ids, rows = list(store.row), list(store.row.values())
    compute = jax.jit(lambda x: fingerprint.fingerprint(x, sample_rate=store.sample_rate))
    fingerprints = []
    with progress.Progress("listen", total=len(rows), unit="track") as bar:
        for start in range(0, len(rows), _BATCH):
            batch = [store.waveform(row) for row in rows[start : start + _BATCH]]
            bar.update(len(batch))
            batch += [np.zeros_like(batch[0])] * (_BATCH - len(batch))
            fingerprints.append(np.asarray(compute(np.stack(batch))))
    hop_seconds = fingerprint.frame_hop(store.sample_rate) / store.sample_rate
    prints = np.concatenate(fingerprints)[: len(rows)]
    min_frames = int(common_seconds / hop_seconds)
    with progress.Progress("compare", "the audio of all pairs"):
        pairs = list(fingerprint.near_identical(prints, min_frames=min_frames))
    return tuple(Alike(ids[i], ids[j], score, lag * hop_seconds) for i, j, score, lag in pairs)


def make_split(evidence: Evidence, config: config_lib.Config, *, seed: int) -> splits.Split:
    """Return the split of a training with this seed."""
    return splits.make_split(
        evidence.readable,
        protocol=config.data.protocol,
        fold=config.data.fold,
        seed=seed,
        num_folds=config.data.num_folds,
    )


def _with_names(catalog: Catalog, facts: Mapping[str, Mapping[str, str]]) -> Catalog:
    tracks = []
    for track in catalog.tracks:
        row = facts.get(track.id, {})
        names = {field: row.get(field) for field in ("artist", "recording") if row.get(field)}
        tracks.append(dataclasses.replace(track, **names))
    return dataclasses.replace(catalog, tracks=tuple(tracks))


def _identical(
    catalog: Catalog, checksums: Mapping[str, str] | None
) -> tuple[tuple[str, str], ...] | None:
    """Return the pairs of tracks of equal checksum; of `gtzan_facts` also the published pairs."""
    if checksums is None:
        return None
    by_sum = collections.defaultdict(list)
    for track in catalog.tracks:
        if checksums.get(track.id):
            by_sum[checksums[track.id]].append(track.id)
    pairs = {pair for ids in by_sum.values() for pair in itertools.combinations(sorted(ids), 2)}
    if catalog.name == "gtzan_facts":
        # A published pair is kept unless both its tracks have checksums, which then decide.
        pairs |= {pair for pair in gtzan.identical_pairs() if not set(pair) <= checksums.keys()}
    return tuple(sorted(pairs))


def _file_checksums(catalog: Catalog) -> dict[str, str] | None:
    """Return track -> MD5 of its file, for files of the size of another; None without files."""
    sizes = {t.id: os.path.getsize(t.path) for t in catalog.tracks if os.path.isfile(t.path)}
    if not sizes:
        return None
    count = collections.Counter(sizes.values())
    path_of = {track.id: track.path for track in catalog.tracks}
    with progress.Progress("hash", "files of the same size"):
        return {name: _md5(path_of[name]) for name, size in sizes.items() if count[size] > 1}


def _md5(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError:
        return ""  # Already listed as unreadable.
