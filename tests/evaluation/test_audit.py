"""Audits of splits: counted by hand on small ones, and what is known of GTZAN."""

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
    found = audit.audit(SMALL, Assignment(parts, has_folds=kwargs.pop("folds", False)), **kwargs)
    # What is told must survive a file, and be told to people too.
    assert json.loads(json.dumps(found)) == found
    audit_text.to_text(found | {"protocol": "listed", "num_folds": len(parts)})
    return found


def _of_gtzan(protocol, **kwargs):
    split = splits.make_split(GTZAN, protocol=protocol, **kwargs)
    return audit.audit(GTZAN, split_file.of_split(split), identical=gtzan.identical_pairs())


def test_audit_counts_artists_and_recordings_in_two_parts():
    found = _audit({"train": ("a1", "b2"), "valid": ("b3",), "test": ("a2", "a3", "b1")})
    # a2 has the artist of a1; b1 the recording of a1, and a3 that of b3, which validates.
    assert found["artist_overlap"] == pytest.approx(1 / 3)
    assert found["recording_overlap"] == pytest.approx(2 / 3)
    assert found["crossing_artists"] == [
        {"artist": "X", "spellings": ["X", "x "], "parts": {"train": ["a1"], "test": ["a2"]}},
        {"artist": "Z", "spellings": ["Z", "z"], "parts": {"train": ["b2"], "valid": ["b3"]}},
    ]
    assert [row["recording"] for row in found["crossing_recordings"]] == ["SONG", "tune"]
    assert found["unknown_artists"] == 1
    assert found["label_conflicts"] == 2
    assert [row["tracks"] for row in found["label_conflicts_rows"]] == [["a1", "b1"], ["a3", "b3"]]
    assert found["class_balance"]["b"] == {"train": 1, "valid": 1, "test": 1}
    assert found["leaks"] == 4


def test_audit_tests_every_fold_once():
    folds = {"0": ("a1", "a2"), "1": ("a3", "b1"), "2": ("b2",)}
    found = _audit(folds, folds=True)
    assert found["artist_overlap"] == 0
    assert found["recording_overlap"] == pytest.approx(2 / 5)
    assert found["left_out"] == ["b3"]
    assert [row["parts"] for row in found["crossing_recordings"]] == [{"0": ["a1"], "1": ["b1"]}]
    assert found["leaks"] == 1


def test_audit_counts_a_track_in_two_parts():
    found = _audit({"train": ("a1", "b2", "b1"), "test": ("b1", "a3")})
    assert found["tracks_in_two_parts"] == ["b1"]
    # Of unknown artist, but trained on itself.
    assert found["artist_overlap"] == 0.5
    assert found["leaks"] == 2


def test_audit_of_a_clean_split_finds_nothing():
    found = _audit({"train": ("a1", "a2", "b1"), "valid": ("a3",), "test": ("b2",)}, alike=())
    assert (found["leaks"], found["artist_overlap"], found["recording_overlap"]) == (0, 0, 0)
    assert (found["crossing_artists"], found["near_identical_pairs"]) == ([], 0)
    assert "nothing leaks" in audit_text.to_text(found)


def test_audit_tells_pairs_that_cross_from_those_that_do_not():
    parts = {"train": ("a1", "a2"), "test": ("b2", "a3")}
    found = _audit(
        parts,
        identical=[("a2", "a1"), ("b2", "a1"), ("b1", "a3")],
        alike=[Alike("a2", "a3", 0.9, -1.5), Alike("a1", "b2", 1.0, 0.0)],
        unreadable={"b1": "is silent"},
        seconds={"a1": 30.0, "a2": 10.0, "a3": 20.0},
    )
    assert found["identical_pairs"] == 3
    rows = {tuple(row["tracks"]): row for row in found["identical_pairs_rows"]}
    assert {pair: row["crosses"] for pair, row in rows.items()} == {
        ("a1", "a2"): False,
        ("a1", "b2"): True,
        ("a3", "b1"): False,  # b1 is left out.
    }
    assert rows["a3", "b1"]["parts"] == ["test", ""]
    # The byte-identical pair is not told twice.
    assert found["near_identical_pairs"] == 1
    assert found["near_identical_pairs_rows"][0] == {
        "tracks": ["a2", "a3"],
        "labels": ["a", "a"],
        "parts": ["train", "test"],
        "crosses": True,
        "similarity": 0.9,
        "shift_seconds": -1.5,
    }
    conflicts = {tuple(row["tracks"]) for row in found["label_conflicts_rows"]}
    assert conflicts == {("a1", "b1"), ("a3", "b3"), ("a1", "b2"), ("a3", "b1")}
    assert found["durations"] == {
        "min_seconds": 10.0,
        "median_seconds": 20.0,
        "max_seconds": 30.0,
        "total_hours": 60 / 3600,
    }
    assert found["leaks"] == 2
    text = audit_text.to_text(found)
    for line in (
        "a2 (train) = a3 (test), similarity 0.90, -1.5 s",
        "a3 (test) = b1 (left out)",
        "b1: is silent",
        "verdict   2 leak(s)",
    ):
        assert line in text


def test_audit_of_two_parts_tests_the_last():
    found = _audit({"train": ("a1",), "valid": ("a2",)})
    assert found["artist_overlap"] == 1


def test_audit_of_gtzan_gives_the_known_figures():
    """78 % and 13 % of a random 90/10 (both our count of the facts), 14 pairs, one conflict."""
    draws = [_of_gtzan("holdout", seed=seed) for seed in range(60)]
    for field, expected in (("artist_overlap", 0.783), ("recording_overlap", 0.135)):
        values = [found[field] for found in draws]
        # Expected shares over all draws; four deviations of the mean of 60.
        error = 4 * statistics.stdev(values) / 60**0.5
        assert statistics.fmean(values) == pytest.approx(expected, abs=error)
        assert error < 0.022
    for found in draws[:2]:
        assert found["identical_pairs"] == 14
        assert found["label_conflicts"] == 1
        assert found["label_conflicts_rows"][0]["tracks"] == ["metal.00058", "rock.00016"]
        assert found["leaks"] > 50


@pytest.mark.parametrize(
    ("protocol", "fold"), [("fault_filtered", 0), *(("artist_kfold", fold) for fold in range(5))]
)
def test_audit_of_gtzan_finds_nothing_in_the_sound_protocols(protocol, fold):
    found = _of_gtzan(protocol, fold=fold)
    assert (found["artist_overlap"], found["recording_overlap"]) == (0, 0)
    assert (found["crossing_artists"], found["crossing_recordings"]) == ([], [])
    assert found["leaks"] == 0
    # The pairs are there all the same, within a part or left out.
    assert (found["identical_pairs"], found["label_conflicts"]) == (14, 1)


def test_audit_of_gtzan_finds_the_artists_of_a_random_3_fold():
    parts = {str(f): GTZAN.tracks[f::3] for f in range(3)}
    ids = {fold: tuple(track.id for track in tracks) for fold, tracks in parts.items()}
    found = audit.audit(GTZAN, Assignment(ids, has_folds=True))
    artists = [{track.artist for track in tracks} for tracks in parts.values()]
    crossing = {a for x, y in itertools.combinations(artists, 2) for a in x & y}
    assert {row["artist"] for row in found["crossing_artists"]} == crossing
    assert len(found["crossing_artists"]) == len(crossing) > 90


def test_fold_balance_counts_every_track():
    found = audit.fold_balance(SMALL, {"a1": 0, "a2": 2, "b1": 2}, 3)
    assert found == {"a": [1, 0, 1], "b": [0, 0, 1], "all": [1, 0, 2]}
