"""What an audit looks at: the tracks with their names, files that are the same, alike audio."""

import collections
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping

import jax
import numpy as np
import tqdm

from mgr_jax import config as config_lib
from mgr_jax.data import clips, gtzan, splits
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.catalog import Catalog, make_catalog
from mgr_jax.evaluation.audit import Alike
from mgr_jax.features import fingerprint

# Audio that two clips must have in common to be found alike: half a clip, at most 8 s. Below 4 s
# too little is left to tell copies from music of one kind.
_LONGEST_COMMON, _SHORTEST_COMMON = 8.0, 4.0
_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is known of a data set besides its split.

    Attributes:
      catalog: all tracks, with the names of `data.facts` where it has any.
      readable: the tracks that a training would split, as it knows them.
      identical: pairs of tracks whose files are the same bytes.
      alike: pairs of near-identical audio; None if no audio was compared.
      unreadable: track -> why it cannot be read.
      seconds: track -> audio in its clip; empty without audio.
    """

    catalog: Catalog
    readable: Catalog
    identical: tuple[tuple[str, str], ...]
    alike: tuple[Alike, ...] | None
    unreadable: Mapping[str, str]
    seconds: Mapping[str, float]


def gather(config: config_lib.Config, *, compare_audio: bool = True) -> Evidence:
    """Reads the data set of `config`, its files' checksums and, if asked for, its audio.

    Raises:
      UserError: see `dataset.open_catalog` and `gtzan.read_facts`.
    """
    facts = gtzan.read_facts(config.data.facts) if config.data.facts else {}
    if config.data.name == "gtzan_facts":
        catalog = readable = make_catalog(config.data)
        alike, unreadable, seconds = None, {}, {}
    else:
        catalog, store = dataset_lib.open_catalog(config)
        tracks = tuple(track for track in catalog.tracks if track.id in store.row)
        readable = dataclasses.replace(catalog, tracks=tracks)
        unreadable = store.errors()
        seconds = {r.id: r.length / store.sample_rate for r in store.records if not r.error}
        alike = find_alike(store) if compare_audio else None
    return Evidence(
        catalog=_with_names(catalog, facts),
        readable=readable,
        identical=_identical(catalog, facts),
        alike=alike,
        unreadable=unreadable,
        seconds=seconds,
    )


def find_alike(store: clips.Clips) -> tuple[Alike, ...] | None:
    """Pairs of tracks of near-identical audio; None if the clips are too short to tell."""
    clip_seconds = store.samples.shape[1] / store.sample_rate
    common = min(_LONGEST_COMMON, clip_seconds / 2)
    if common < _SHORTEST_COMMON:
        return None
    ids, rows = list(store.row), list(store.row.values())
    make = jax.jit(lambda x: fingerprint.fingerprint(x, sample_rate=store.sample_rate))
    prints = []
    starts = range(0, len(rows), _BATCH)
    for start in tqdm.tqdm(starts, desc="fingerprint", unit=f"{_BATCH} tracks", disable=None):
        batch = [store.waveform(row) for row in rows[start : start + _BATCH]]
        batch += [np.zeros_like(batch[0])] * (_BATCH - len(batch))
        prints.append(np.asarray(make(np.stack(batch))))
    hop_seconds = fingerprint.frame_hop(store.sample_rate) / store.sample_rate
    pairs = fingerprint.near_identical(
        np.concatenate(prints)[: len(rows)], min_frames=int(common / hop_seconds)
    )
    return tuple(Alike(ids[i], ids[j], score, lag * hop_seconds) for i, j, score, lag in pairs)


def make_split(evidence: Evidence, config: config_lib.Config, *, seed: int) -> splits.Split:
    """The split that a training would have with this seed."""
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
    catalog: Catalog, facts: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Pairs of files of the same bytes: by their MD5, or of `facts` where there is no file."""
    sizes = collections.Counter()
    for track in catalog.tracks:
        if os.path.isfile(track.path):
            sizes[os.path.getsize(track.path)] += 1
    by_sum = collections.defaultdict(list)
    for track in catalog.tracks:
        known = facts.get(track.id, {}).get("md5", "").lower()
        if os.path.isfile(track.path):
            # A file that is alone in its size need not be read.
            if sizes[os.path.getsize(track.path)] < 2:
                continue
            known = _md5(track.path)
        if known:
            by_sum[known].append(track.id)
    pairs = {pair for ids in by_sum.values() for pair in _pairs(ids)}
    if catalog.name == "gtzan_facts":
        # Facts with a checksum of its own for either track of a pair say otherwise.
        told = {name for name, row in facts.items() if row.get("md5")}
        pairs |= {pair for pair in gtzan.identical_pairs() if not set(pair) <= told}
    return tuple(sorted(pairs))


def _pairs(ids: Iterable[str]) -> Iterable[tuple[str, str]]:
    return itertools.combinations(sorted(ids), 2)


def _md5(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError:
        return ""  # It stands among the unreadable.
