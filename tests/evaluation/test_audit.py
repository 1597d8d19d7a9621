"""Audits of splits: small ones counted by hand, and the published figures of GTZAN."""

import itertools
import json
import statistics

import pytest

from mgr_jax.data import gtzan, split_file, splits
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.split_file import Assignment
from mgr_jax.evaluation import audit
from mgr_jax.evaluation.audit import Alike
from mgr_jax.evaluation.reports import audit_text

GTZAN = Catalog("gtzan_facts", gtzan.tracks(), gtzan.GENRES)
SMALL = Catalog(
    "folder",
    (
        Track("a1", "", "a", "X", "song"),
        Track("a2", "", "a", "x ", ""),
        Track("a3", "", "a", "Y", "tune"),
        Track("b1", "", "b", "", "SONG"),
        Track("b2", "", "b", "Z", ""),
        Track("b3", "", "b", "z", "tune"),
    ),
    ("a", "b"),
)


def _audit(parts, **kwargs):
    findings = audit.audit(SMALL, Assignment(parts, has_folds=kwargs.pop("folds", False)), **kwargs)
    # Findings are valid JSON, and can be formatted.
    assert json.loads(json.dumps(findings)) == findings
    audit_text.to_text(findings | {"protocol": "listed", "num_folds": len(parts)})
    return findings


def _of_gtzan(protocol, **kwargs):
    split = splits.make_split(GTZAN, protocol=protocol, **kwargs)
    return audit.audit(GTZAN, split_file.of_split(split), identical=gtzan.identical_pairs())


def test_audit_counts_artists_and_recordings_in_two_parts():
    findings = _audit({"train": ("a1", "b2"), "valid": ("b3",), "test": ("a2", "a3", "b1")})
    # a2 has the artist of a1; b1 the recording of a1, and a3 that of b3, which validates.
    assert findings["artist_overlap"] == pytest.approx(1 / 3)
    assert findings["recording_overlap"] == pytest.approx(2 / 3)
    assert findings["crossing_artists"] == [
        {"artist": "X", "spellings": ["X", "x "], "parts": {"train": ["a1"], "test": ["a2"]}},
        {"artist": "Z", "spellings": ["Z", "z"], "parts": {"train": ["b2"], "valid": ["b3"]}},
    ]
    assert [row["recording"] for row in findings["crossing_recordings"]] == ["SONG", "tune"]
    assert findings["unknown_artists"] == 1
    assert findings["label_conflicts"] == 2
    assert [row["tracks"] for row in findings["label_conflicts_rows"]] == [
        ["a1", "b1"],
        ["a3", "b3"],
    ]
    assert findings["class_balance"]["b"] == {"train": 1, "valid": 1, "test": 1}
    assert findings["leaks"] == 4


def test_audit_tests_every_fold_once():
    folds = {"0": ("a1", "a2"), "1": ("a3", "b1"), "2": ("b2",)}
    findings = _audit(folds, folds=True)
    assert findings["artist_overlap"] == 0
    assert findings["recording_overlap"] == pytest.approx(2 / 5)
    assert findings["left_out"] == ["b3"]
    assert [row["parts"] for row in findings["crossing_recordings"]] == [{"0": ["a1"], "1": ["b1"]}]
    assert findings["leaks"] == 1


def test_audit_counts_a_track_in_two_parts():
    findings = _audit({"train": ("a1", "b2", "b1"), "test": ("b1", "a3")})
    assert findings["tracks_in_two_parts"] == ["b1"]
    # Of unknown artist, but trained on itself.
    assert findings["artist_overlap"] == 0.5
    assert findings["leaks"] == 2


def test_audit_of_a_clean_split_finds_nothing():
    findings = _audit({"train": ("a1", "a2", "b2"), "valid": (), "test": ("a3",)}, alike=())
    assert (findings["leaks"], findings["artist_overlap"], findings["recording_overlap"]) == (
        0,
        0,
        0,
    )
    assert (findings["crossing_artists"], findings["near_identical_pairs"]) == ([], 0)
    assert audit.is_clean(findings)
    lines = audit_text.to_text(findings).splitlines()
    assert lines[-1] == "verdict   nothing leaks"
    assert "  0.0 % of the test tracks share their artist with train or valid" in lines


@pytest.mark.parametrize("known", ["", "train", "test"])
def test_audit_says_not_known_where_artists_are_known_on_one_side_at_most(known):
    parts = {"train": ("a1", "b1"), "test": ("a2", "b2")}
    tracks = tuple(
        Track(name, "", name[0], *((f"artist {name}", f"song {name}") if part == known else ()))
        for part, ids in parts.items()
        for name in ids
    )
    catalog = Catalog("folder", tracks, ("a", "b"))
    findings = audit.audit(catalog, Assignment(parts, has_folds=False))
    assert json.loads(json.dumps(findings)) == findings
    assert (findings["artist_overlap"], findings["recording_overlap"]) == (None, None)
    assert findings["leaks"] == 0 and not audit.is_clean(findings)
    text = audit_text.to_text(findings)
    assert "nothing leaks" not in text and "%" not in text
    assert [line.split()[-2:] for line in text.splitlines()[3:5]] == [["not", "known"]] * 2
    for field in ("artist", "recording"):
        assert f"not known whether test tracks share their {field} with train or valid" in text
    unknown = findings["unknown_artists"]
    assert unknown == (2 if known else 4)
    assert text.splitlines()[-1] == (
        f"verdict   no leak is known; whether more leaks is not known: {unknown} of 4 tracks have"
        " no artist, the audio was not compared"
    )
    reason = " on one side of the split" if known else ""
    assert f"with train or valid: no artist known{reason}\n" in text
    for pairs in ("byte-identical pairs", "same audio under two labels, pairs"):
        (line,) = (line for line in text.splitlines() if line.startswith(pairs))
        assert ("not compared" in line) == (pairs.startswith("byte") or not known)


def test_audit_of_some_unknown_artists_gives_a_lower_bound():
    findings = _audit({"train": ("a1", "b1"), "test": ("a3", "b2")})
    assert findings["artist_overlap"] == 0 and not audit.is_clean(findings)
    text = audit_text.to_text(findings)
    assert "  0.0 % or more of the test tracks share their artist" in text
    assert "verdict   no leak is known" in text
    findings = _audit({"train": ("a1", "b1"), "test": ("a2", "b2")})
    assert "1 leak; whether more leaks is not known: 1 of 4" in audit_text.to_text(findings)


def test_audit_marks_the_pairs_that_cross():
    parts = {"train": ("a1", "a2"), "test": ("b2", "a3")}
    findings = _audit(
        parts,
        identical=[("a2", "a1"), ("b2", "a1"), ("b1", "a3")],
        alike=[Alike("a2", "a3", 0.9, -1.5), Alike("a1", "b2", 1.0, 0.0)],
        unreadable={"b1": "is silent"},
        seconds={"a1": 30.0, "a2": 10.0, "a3": 20.0},
    )
    assert findings["identical_pairs"] == 3
    rows = {tuple(row["tracks"]): row for row in findings["identical_pairs_rows"]}
    assert {pair: row["crosses"] for pair, row in rows.items()} == {
        ("a1", "a2"): False,
        ("a1", "b2"): True,
        ("a3", "b1"): False,  # b1 is left out.
    }
    assert rows["a3", "b1"]["parts"] == ["test", ""]
    # The byte-identical pair is not listed twice.
    assert findings["near_identical_pairs"] == 1
    assert findings["near_identical_pairs_rows"][0] == {
        "tracks": ["a2", "a3"],
        "labels": ["a", "a"],
        "parts": ["train", "test"],
        "crosses": True,
        "similarity": 0.9,
        "shift_seconds": -1.5,
    }
    conflicts = {tuple(row["tracks"]) for row in findings["label_conflicts_rows"]}
    assert conflicts == {("a1", "b1"), ("a3", "b3"), ("a1", "b2"), ("a3", "b1")}
    assert findings["durations"] == {
        "min_seconds": 10.0,
        "median_seconds": 20.0,
        "max_seconds": 30.0,
        "total_hours": 60 / 3600,
    }
    assert findings["leaks"] == 2
    text = audit_text.to_text(findings)
    for line in (
        "a2 (train) = a3 (test), similarity 0.90, -1.5 s",
        "a3 (test) = b1 (left out)",
        "b1: is silent",
        "verdict   2 leaks",
    ):
        assert line in text


def test_audit_of_two_parts_tests_the_last():
    findings = _audit({"train": ("a1",), "valid": ("a2",)})
    assert findings["artist_overlap"] == 1


def test_audit_of_gtzan_gives_the_known_figures():
    """78 % and 13 % of a random 90/10 (both our count of the facts), 14 pairs, one conflict."""
    draws = [_of_gtzan("holdout", seed=seed) for seed in range(60)]
    for field, expected in (("artist_overlap", 0.783), ("recording_overlap", 0.135)):
        values = [findings[field] for findings in draws]
        # Expected shares over all draws; four deviations of the mean of 60.
        error = 4 * statistics.stdev(values) / 60**0.5
        assert statistics.fmean(values) == pytest.approx(expected, abs=error)
        assert error < 0.022
    for findings in draws[:2]:
        assert findings["identical_pairs"] == 14
        assert findings["label_conflicts"] == 1
        assert findings["label_conflicts_rows"][0]["tracks"] == ["metal.00058", "rock.00016"]
        assert findings["leaks"] > 50


@pytest.mark.parametrize(
    ("protocol", "fold"), [("fault_filtered", 0), *(("artist_kfold", fold) for fold in range(5))]
)
def test_audit_of_gtzan_finds_nothing_in_the_sound_protocols(protocol, fold):
    findings = _of_gtzan(protocol, fold=fold)
    assert (findings["artist_overlap"], findings["recording_overlap"]) == (0, 0)
    assert (findings["crossing_artists"], findings["crossing_recordings"]) == ([], [])
    assert findings["leaks"] == 0
    # The pairs are still listed, within a part or left out.
    assert (findings["identical_pairs"], findings["label_conflicts"]) == (14, 1)


def test_audit_of_gtzan_finds_the_artists_of_a_random_3_fold():
    parts = {str(f): GTZAN.tracks[f::3] for f in range(3)}
    ids = {fold: tuple(track.id for track in tracks) for fold, tracks in parts.items()}
    findings = audit.audit(GTZAN, Assignment(ids, has_folds=True))
    artists = [{track.artist for track in tracks} for tracks in parts.values()]
    crossing = {a for x, y in itertools.combinations(artists, 2) for a in x & y}
    assert {row["artist"] for row in findings["crossing_artists"]} == crossing
    assert len(findings["crossing_artists"]) == len(crossing) > 90


def test_fold_balance_counts_every_track():
    findings = audit.fold_balance(SMALL, {"a1": 0, "a2": 2, "b1": 2}, 3)
    assert findings == {"a": [1, 0, 1], "b": [0, 0, 1], "all": [1, 0, 2]}
