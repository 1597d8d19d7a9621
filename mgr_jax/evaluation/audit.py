"""Audit of a split: artists, recordings and audio that leak between its parts.

Findings are plain JSON values, which `reports.audit_text` formats. An artist, a recording, a file
or a piece of audio leaks if it is in two parts (or folds). A leak between train and valid biases
the choice of the model, one between these and test makes the accuracy too high.
"""

import collections
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.folds import name_key
from mgr_jax.data.split_file import Assignment


class Alike(NamedTuple):
    """Two tracks of near-identical audio: ids, similarity, and the delay of `right` in seconds."""

    left: str
    right: str
    similarity: float
    shift_seconds: float


def audit(
    catalog: Catalog,
    assignment: Assignment,
    *,
    identical: Iterable[Sequence[str]] | None = None,
    alike: Iterable[Alike] | None = None,
    unreadable: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return the leaks between the parts of a split, and other defects of its data.

    Args:
      catalog: all tracks, including those in no part.
      assignment: the parts or folds.
      identical: pairs of tracks whose files have the same bytes; None if no file was compared.
      alike: pairs of tracks of near-identical audio; None if no audio was compared.
      unreadable: track -> why it cannot be read.
      seconds: track -> length of its audio; None if there is no audio.

    Returns:
      JSON values: `artist_overlap` and `recording_overlap`, the `overlap` of test part and others;
      `crossing_artists`, `crossing_recordings`, `identical_pairs`, `near_identical_pairs` and
      `label_conflicts` with their rows, None if nothing was compared; sizes, class balance and
      durations; `unknown_artists` and `unknown_recordings`, the numbers of tracks of which they are
      not known; and `leaks`, the number of artists, recordings, pairs and tracks in two parts.
    """
    track_of = {track.id: track for track in catalog.tracks}
    parts_of = collections.defaultdict(list)
    for part, ids in assignment.parts.items():
        for name in ids:
            parts_of[name].append(part)
    parts_of = dict(parts_of)

    def row(left: str, right: str, **more: Any) -> dict[str, Any]:
        ids = (left, right)
        return {
            "tracks": list(ids),
            "labels": [track_of[name].label for name in ids],
            "parts": ["+".join(parts_of.get(name, ())) for name in ids],
            "crosses": _crosses(parts_of, ids),
            **more,
        }

    same_bytes = sorted({(min(pair), max(pair)) for pair in identical or ()})
    # None stands for pairs that were not compared.
    identical_rows = None if identical is None else [row(*pair) for pair in same_bytes]
    near = None
    if alike is not None:
        near = [
            row(a.left, a.right, similarity=round(a.similarity, 3), shift_seconds=a.shift_seconds)
            for a in sorted(alike)
            if tuple(sorted((a.left, a.right))) not in same_bytes
        ]
    artists = _crossing(catalog.tracks, parts_of, assignment.parts, "artist")
    recordings = _crossing(catalog.tracks, parts_of, assignment.parts, "recording")
    conflicts = [row(*pair) for pair in _conflicts(catalog.tracks, same_bytes, near or ())]
    has_recordings = any(track.recording for track in catalog.tracks)
    compared = identical is not None or near is not None or has_recordings
    findings: dict[str, Any] = {
        "data": catalog.name,
        "has_folds": assignment.has_folds,
        "n": {part: len(ids) for part, ids in assignment.parts.items()},
        "artist_overlap": overlap(track_of, assignment, "artist"),
        "recording_overlap": overlap(track_of, assignment, "recording"),
        "unknown_artists": sum(not track_of[name].artist for name in parts_of),
        "unknown_recordings": sum(not track_of[name].recording for name in parts_of),
        "crossing_artists": artists,
        "crossing_recordings": recordings,
        "identical_pairs": None if identical is None else len(same_bytes),
        "identical_pairs_rows": identical_rows,
        "near_identical_pairs": None if near is None else len(near),
        "near_identical_pairs_rows": near,
        "label_conflicts": len(conflicts) if compared else None,
        "label_conflicts_rows": conflicts if compared else None,
        "tracks_in_two_parts": sorted(name for name, parts in parts_of.items() if len(parts) > 1),
        "class_balance": _class_balance(catalog, track_of, assignment),
        "left_out": sorted(track_of.keys() - parts_of.keys()),
        "unknown_names": list(assignment.unknown),
        "unreadable": dict(sorted((unreadable or {}).items())),
        "durations": _durations(seconds),
    }
    crossing_pairs = sum(pair["crosses"] for pair in [*(identical_rows or ()), *(near or ())])
    crossing_tracks = len(findings["tracks_in_two_parts"])
    findings["leaks"] = len(artists) + len(recordings) + crossing_pairs + crossing_tracks
    return findings


def is_clean(findings: Mapping[str, Any]) -> bool:
    """Return whether nothing leaks, which takes an artist known of every track."""
    return not findings["leaks"] and not findings["unknown_artists"]


def overlap(track_of: Mapping[str, Track], assignment: Assignment, field: str) -> float | None:
    """Return the share of the test tracks that are, or whose `field` is, also in another part.

    Each fold is the test part once. A track of unknown `field` counts as not shared; the share is
    None if that leaves nothing to compare, since `field` is unknown of all tracks on one side.
    """
    parts = assignment.parts
    # A split may lack a test part; then its last part is the one that results are reported on.
    test_parts = list(parts) if assignment.has_folds else list(parts)[-1:]
    shared, total, comparable = 0, 0, False
    for test in test_parts:
        names = {name for part in parts if part != test for name in parts[part]}
        train_keys = {name_key(getattr(track_of[name], field)) for name in names} - {""}
        keys = {name: name_key(getattr(track_of[name], field)) for name in parts[test]}
        total += len(keys)
        shared += sum(name in names or key in train_keys for name, key in keys.items())
        comparable |= bool(train_keys and any(keys.values()))
    return shared / total if comparable or shared else None


def _crosses(parts_of: Mapping[str, Sequence[str]], names: Iterable[str]) -> bool:
    """Return whether the tracks are in more than one part."""
    return len({part for name in names for part in parts_of.get(name, ())}) > 1


def _crossing(
    tracks: Iterable[Track], parts_of: Mapping[str, Sequence[str]], order: Iterable[str], field: str
) -> list[dict[str, Any]]:
    """Return the artists or recordings in more than one part, with their tracks in each."""
    groups = collections.defaultdict(list)
    for track in tracks:
        groups[name_key(getattr(track, field))].append(track)
    rows = []
    for key, group in groups.items():
        if key and _crosses(parts_of, [track.id for track in group]):
            parts = collections.defaultdict(list)
            for track in group:
                for part in parts_of.get(track.id, ()):
                    parts[part].append(track.id)
            parts = {part: parts[part] for part in order if part in parts}
            spellings = sorted({getattr(track, field) for track in group if track.id in parts_of})
            rows.append({field: spellings[0], "spellings": spellings, "parts": parts})
    return sorted(rows, key=lambda row: (len(row[field]), row[field]))


def _conflicts(
    tracks: Iterable[Track], same_bytes: Iterable[tuple[str, str]], near: Iterable[dict[str, Any]]
) -> list[tuple[str, str]]:
    """Return the pairs of tracks of the same audio under two labels."""
    tracks = tuple(tracks)
    label = {track.id: track.label for track in tracks}
    pairs = {*same_bytes, *(tuple(sorted(row["tracks"])) for row in near)}
    recordings = collections.defaultdict(list)
    for track in tracks:
        if track.recording:
            recordings[name_key(track.recording)].append(track.id)
    for ids in recordings.values():
        pairs.update(itertools.combinations(sorted(ids), 2))
    return sorted((left, right) for left, right in pairs if label[left] != label[right])


def _class_balance(
    catalog: Catalog, track_of: Mapping[str, Track], assignment: Assignment
) -> dict[str, dict[str, int]]:
    counts = {
        part: collections.Counter(track_of[name].label for name in ids)
        for part, ids in assignment.parts.items()
    }
    return {label: {part: counts[part][label] for part in counts} for label in catalog.labels}


def fold_balance(
    catalog: Catalog, folds: Mapping[str, int], num_folds: int
) -> dict[str, list[int]]:
    """Return the number of tracks in each fold by class, and under `all` the sizes of the folds."""
    label_of = {track.id: track.label for track in catalog.tracks}
    counts = {label: [0] * num_folds for label in (*catalog.labels, "all")}
    for name, fold in folds.items():
        counts[label_of[name]][fold] += 1
        counts["all"][fold] += 1
    return counts


def _durations(seconds: Mapping[str, float] | None) -> dict[str, float] | None:
    if not seconds:
        return None
    values = np.array(list(seconds.values()))
    return {
        "min_seconds": float(values.min()),
        "median_seconds": float(np.median(values)),
        "max_seconds": float(values.max()),
        "total_hours": float(values.sum() / 3600),
    }
