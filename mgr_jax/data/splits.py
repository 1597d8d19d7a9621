"""Protocols: pure functions from a catalog to disjoint train, valid and test parts.

Random protocols order the tracks by a SHA-256 of seed and id, so that a split is the same on every
machine and with every version of any library.
"""

import collections
import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from mgr_jax.data import folds as folds_lib
from mgr_jax.data import gtzan
from mgr_jax.data.catalog import PARTS, Catalog, Track
from mgr_jax.errors import UserError
from mgr_jax.files import csv_text

# Protocol of a model that was trained elsewhere, on unknown tracks.
IMPORTED = "imported"
TEST_SHARE = 0.1
VALID_SHARE = 0.1
# Below this many tracks a tenth of them is too few to test on.
_FEW_TRACKS = 300
# A copy of GTZAN that lacks a few files keeps the folds of the 1000 published tracks.
_WHOLE_GTZAN = 900


@dataclasses.dataclass(frozen=True)
class Split:
    """Track ids of the three parts, each sorted, and what is left out or shared between parts.

    Attributes:
      protocol: name of the protocol that every accuracy on this split carries.
      left_out: ids in no part.
      shared_artists: artists that are in the test part and in train or valid.
      shared_recordings: likewise for recordings.
    """

    protocol: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    shared_artists: tuple[str, ...] = ()
    shared_recordings: tuple[str, ...] = ()

    def hash(self) -> str:
        """Return the SHA-256 of the protocol's name and the ids of the parts."""
        parts = [self.protocol, self.train, self.valid, self.test]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def choose_protocol(protocol: str, catalog: Catalog, *, num_folds: int = 5) -> str:
    """Return `protocol`, or the one that `auto` means for these tracks.

    That is the split that comes with the data (of GTZAN, if the copy has enough of it); else
    `artist_kfold` where all artists are known and every class has enough of them; else `kfold` for
    fewer than 300 tracks, and `holdout` for more.
    """
    if protocol != "auto":
        return protocol
    if catalog.name in ("gtzan", "gtzan_facts"):
        learned = {track.label for track in catalog.tracks if track.part == "train"}
        parts = {track.part for track in catalog.tracks}
        if learned == set(catalog.labels) and parts >= set(PARTS):
            return "fault_filtered"
    elif any(track.part for track in catalog.tracks):
        return "listed"
    tracks = collections.Counter(track.label for track in catalog.tracks)
    groups = collections.Counter(
        label
        for group in folds_lib.artist_groups(catalog.tracks)
        for label in {track.label for track in group}
    )
    if all(track.artist for track in catalog.tracks) and min(groups.values()) >= num_folds:
        return "artist_kfold"
    small = tracks.total() < _FEW_TRACKS and min(tracks.values()) >= num_folds
    return "kfold" if small else "holdout"


def make_split(
    catalog: Catalog,
    *,
    protocol: str,
    fold: int = 0,
    seed: int = 0,
    num_folds: int = 5,
    refit: bool = False,
    needs_test: bool = True,
) -> Split:
    """Split the tracks of `catalog` into train, valid and test.

    Args:
      catalog: the tracks.
      protocol: `holdout` (10 % of each class for testing and 10 % for validation, drawn by `seed`),
        `kfold` (each of `num_folds` random stratified folds is the test part once),
        `artist_kfold` (likewise, but no artist and no recording is in two parts, and tracks of one
        recording with two labels are left out; see `folds.assign_folds`), `listed` (the split
        that comes with the data) or `fault_filtered` (the published split of GTZAN by Kereliuk,
        Sturm and Larsen). With folds, a tenth of all tracks is taken from the other folds for
        validation, by the same rule. A class with few groups of artists may be missing in the test
        or the validation part; it is always in the training part.
      fold: which fold is the test part; protocols without folds have only fold 0.
      seed: seed of the draw.
      num_folds: folds of `kfold` and `artist_kfold`.
      refit: add the validation part to the training part, and leave it empty.
      needs_test: refuse an empty test part; False if another file is to be scored.

    Raises:
      UserError: if a part would be empty, or a class has no track to train on; with `holdout` and
        `kfold`, if any part would lack a class; with folds, if a class has fewer tracks or groups
        of artists than there are folds.
    """
    with_folds = protocol in folds_lib.PROTOCOLS
    if fold and not with_folds:
        raise UserError(f"data.fold is {fold}, but data.protocol {protocol!r} has only fold 0")
    if with_folds and not 0 <= fold < max(2, num_folds):
        raise UserError(
            f"data.fold is {fold}; with data.num_folds {num_folds} it must be 0 to {num_folds - 1}"
        )
    if protocol == "fault_filtered" and not _is_gtzan(catalog):
        raise UserError(
            f"data.protocol 'fault_filtered' is a split of GTZAN, not of data.name"
            f" {catalog.name!r}; use 'holdout' or 'listed'"
        )
    if protocol == "holdout":
        parts = _holdout(catalog, seed)
    elif with_folds:
        parts = _one_fold(catalog, protocol, fold, seed, num_folds)
    else:
        parts = {track.id: track.part for track in catalog.tracks}
    if protocol == "fault_filtered":  # A file of arrays may come with another split.
        facts = gtzan.facts()
        parts |= {name: facts[name].part for name in parts if name in facts}
    if refit:
        parts = {name: "train" if part == "valid" else part for name, part in parts.items()}
    split = _from_parts(catalog, protocol, parts)
    _check_classes(catalog, split, optional=["valid"] * refit + ["test"] * (not needs_test))
    return split


def make_folds(
    catalog: Catalog, *, protocol: str, seed: int = 0, num_folds: int = 5
) -> dict[str, int]:
    """Return track id -> fold whose test part has it (`folds.assign_folds`), for tracks in a fold.

    For GTZAN these are the folds of its 1000 published tracks, so that a damaged file does not
    change the folds of the others; a copy that lacks more than a hundred is divided on its own.
    """
    whole = _published(catalog)
    assigned = folds_lib.assign_folds(whole, protocol=protocol, num_folds=num_folds, seed=seed)
    present = {track.id for track in catalog.tracks}
    return {name: fold for name, fold in assigned.items() if name in present}


def _one_fold(
    catalog: Catalog, protocol: str, fold: int, seed: int, num_folds: int
) -> dict[str, str]:
    whole = _published(catalog)
    options = {"protocol": protocol, "num_folds": num_folds, "seed": seed}
    assigned = folds_lib.assign_folds(whole, **options)
    others = [track for track in whole.tracks if assigned.get(track.id, fold) != fold]
    valid = folds_lib.valid_tracks(others, fold=fold, **options)
    part_of = {name: "test" if here == fold else "train" for name, here in assigned.items()}
    part_of |= dict.fromkeys(valid, "valid")
    return {track.id: part_of.get(track.id, "") for track in catalog.tracks}


def _is_gtzan(catalog: Catalog) -> bool:
    if catalog.name in ("arrays", "embeddings"):
        return all(track.id in gtzan.facts() for track in catalog.tracks)
    return catalog.name in ("gtzan", "gtzan_facts")


def _published(catalog: Catalog) -> Catalog:
    """Return the catalog that folds are made of: all of GTZAN, for a copy of nearly all of it."""
    if not _is_gtzan(catalog) or len(catalog.tracks) < _WHOLE_GTZAN:
        return catalog
    tracks = gtzan.tracks()
    if not {track.id for track in catalog.tracks} <= {track.id for track in tracks}:
        return catalog
    return dataclasses.replace(catalog, tracks=tracks, labels=gtzan.GENRES)


def _holdout(catalog: Catalog, seed: int) -> dict[str, str]:
    parts = {}
    for label in catalog.labels:
        ids = [track.id for track in catalog.tracks if track.label == label]
        if len(ids) < 3:
            raise UserError(
                f"data.protocol 'holdout': class {label!r} has {len(ids)} readable track(s); it"
                " needs 3 or more, one each to train, validate and test on; add some, or leave the"
                " class out"
            )
        ids.sort(key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
        num_test, num_valid = (max(1, _round(len(ids) * s)) for s in (TEST_SHARE, VALID_SHARE))
        for rank, name in enumerate(ids):
            parts[name] = PARTS[(rank < num_test + num_valid) + (rank < num_test)]
    return parts


def _round(value: float) -> int:
    """Round half up: Python's `round` takes 2.5 to 2 and 3.5 to 4."""
    return math.floor(value + 0.5)


def _from_parts(catalog: Catalog, protocol: str, parts: dict[str, str]) -> Split:
    ids = {part: tuple(sorted(n for n, p in parts.items() if p == part)) for part in ("", *PARTS)}
    by_id = {track.id: track for track in catalog.tracks}
    learned = [by_id[name] for part in ("train", "valid") for name in ids[part]]
    tested = [by_id[name] for name in ids["test"]]
    return Split(
        protocol=protocol,
        train=ids["train"],
        valid=ids["valid"],
        test=ids["test"],
        left_out=ids[""],
        shared_artists=_shared(learned, tested, "artist"),
        shared_recordings=_shared(learned, tested, "recording"),
    )


def _shared(learned: Sequence[Track], tested: Sequence[Track], field: str) -> tuple[str, ...]:
    left, right = (
        {folds_lib.name_key(getattr(track, field)): getattr(track, field) for track in tracks}
        for tracks in (learned, tested)
    )
    return tuple(sorted(right[key] for key in (left.keys() & right.keys()) - {""}))


def _check_classes(catalog: Catalog, split: Split, *, optional: Sequence[str] = ()) -> None:
    label_of = {track.id: track.label for track in catalog.tracks}
    for part in PARTS:
        ids = getattr(split, part)
        if not ids and part in optional:
            continue
        if not ids:
            why = "the data set lists none, so use 'holdout' or add a split"
            if part == "valid":
                why += ", or set train.refit=True to do without"
            if split.protocol in folds_lib.PROTOCOLS:
                why = "the groups of artists are too few; add tracks or use another protocol"
            raise UserError(f"data.protocol {split.protocol!r}: no track in part {part!r}; {why}")
        # A published split of a partial copy may lack a class in testing, but not in training.
        missing = set(catalog.labels) - {label_of[name] for name in ids}
        if missing and (part == "train" or split.protocol in ("holdout", "kfold")):
            raise UserError(
                f"data.protocol {split.protocol!r}: part {part!r} has no track of class"
                f" {min(missing)!r}; add tracks or use another protocol"
            )


def to_json(split: Split) -> dict[str, Any]:
    """Return `split` as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(split)))


def from_json(values: dict[str, Any]) -> Split:
    """Return the split of `to_json`.

    Raises:
      UserError: if a field is missing or of a wrong type, or a track is in two parts.
    """
    fields = [field.name for field in dataclasses.fields(Split)]
    missing = [name for name in fields if name not in values]
    if missing:
        raise UserError(f"split file: field {missing[0]!r} is missing; restore the file")
    for name in fields:
        value = values[name]
        listed = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not (isinstance(value, str) if name == "protocol" else listed):
            raise UserError(f"split file: field {name!r} is damaged; restore the file")
    lists = {name: tuple(values[name]) for name in fields if name != "protocol"}
    split = Split(protocol=values["protocol"], **lists)
    sizes = [len(getattr(split, part)) for part in PARTS]
    if len({*split.train, *split.valid, *split.test}) != sum(sizes):
        raise UserError("split file: a track is in two parts; remove it from one")
    return split


def to_csv(split: Split) -> str:
    """Return `track_id,part` lines, for use elsewhere."""
    rows = ((name, part) for part in PARTS for name in getattr(split, part))
    return csv_text(["track_id", "part"], rows)
