"""Folds pooled: shares against counts by hand, intervals over groups, and the leakage gap."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError
from mgr_jax.evaluation import cross_validation, intervals, results, stats
from mgr_jax.evaluation.cross_validation import Fold
from mgr_jax.evaluation.reports import cross_validation_text

TRACKS = [Track(f"t{i:02d}", "", "ab"[i % 2], artist=f"artist {i // 4}") for i in range(24)]
IDS = [track.id for track in TRACKS]
GROUPS = [track.artist for track in TRACKS]


def folds(protocol, seed, right, num_folds=3):
    """Every third track in a fold; `right` has for each track whether its prediction is right."""
    return [
        Fold(protocol, seed, i, dict(zip(IDS[i::num_folds], right[i::num_folds], strict=True)))
        for i in range(num_folds)
    ]


@pytest.fixture(name="answers", scope="module")
def _answers():
    """For two protocols and two seeds: which of the 24 tracks are right."""
    random = np.random.default_rng(0)
    return {
        (protocol, seed): (random.random(24) < chance).tolist()
        for protocol, chance in (("kfold", 0.8), ("artist_kfold", 0.5))
        for seed in range(2)
    }


@pytest.fixture(name="report", scope="module")
def _report(answers):
    all_folds = [fold for key, right in answers.items() for fold in folds(*key, right)]
    return cross_validation.make_report(all_folds, TRACKS, system="logistic", data="folder")


def test_make_report_pools_the_folds_of_a_seed(report, answers):
    assert (report["num_folds"], report["num_seeds"]) == (3, 2)
    for (protocol, seed), right in answers.items():
        row = report["protocols"][protocol]["seeds"][seed]
        assert (row["num_correct"], row["n"]) == (sum(right), 24)
        assert row["ci95_wilson"] == list(stats.wilson_interval(sum(right), 24))
        assert row["ci95"] == list(intervals.accuracy_interval(right, GROUPS))
        by_fold = [np.mean(right[i::3]) for i in range(3)]
        assert [fold["accuracy"] for fold in row["folds"]] == by_fold
        assert row["fold_mean"] == pytest.approx(np.mean(by_fold))
        assert row["fold_sd"] == pytest.approx(np.std(by_fold, ddof=1))


def test_make_report_averages_the_seeds_with_an_interval_over_artists_and_seeds(report, answers):
    for protocol, row in report["protocols"].items():
        both = np.array([answers[protocol, 0], answers[protocol, 1]], float)
        assert row["accuracy"] == pytest.approx(both.mean())
        assert row["seed_sd"] == pytest.approx(both.mean(axis=1).std(ddof=1))
        expected = intervals.two_way_interval(both.T, GROUPS, is_share=True)
        assert row["ci95"] == pytest.approx(expected)
        assert (row["n"], row["num_groups"]) == (24, 6)


def test_make_report_pairs_the_tracks_for_the_gap(report, answers):
    shares = {
        protocol: np.array([answers[protocol, seed] for seed in range(2)], float)
        for protocol in ("kfold", "artist_kfold")
    }
    differences = shares["kfold"] - shares["artist_kfold"]
    gap = report["leakage_gap"]
    assert gap["gap"] == pytest.approx(differences.mean())
    expected = intervals.two_way_interval(differences.T, GROUPS, is_share=False)
    assert gap["ci95"] == pytest.approx(expected)
    assert (gap["n"], gap["num_groups"]) == (24, 6)


def test_make_report_takes_the_gap_over_tracks_that_both_protocols_test(answers):
    left, right = (answers[protocol, 0] for protocol in ("kfold", "artist_kfold"))
    grouped = folds("artist_kfold", 0, right)
    grouped[0] = Fold("artist_kfold", 0, 0, dict(list(grouped[0].correct.items())[1:]))
    report = cross_validation.make_report(
        folds("kfold", 0, left) + grouped, TRACKS, system="svm", data="folder"
    )
    assert report["leakage_gap"]["n"] == 23
    expected = np.mean(left[1:]) - np.mean(right[1:])
    assert report["leakage_gap"]["gap"] == pytest.approx(expected)
    differences = np.subtract(left[1:], right[1:], dtype=float)
    expected = intervals.difference_interval(differences, GROUPS[1:])
    assert report["leakage_gap"]["ci95"] == pytest.approx(expected)
    assert report["protocols"]["kfold"]["n"] == 24


def test_make_report_of_one_seed_and_protocol_has_no_gap_and_no_sd_of_seeds():
    report = cross_validation.make_report(
        folds("kfold", 0, [True] * 24), TRACKS, system="svm", data="folder"
    )
    assert "leakage_gap" not in report
    row = report["protocols"]["kfold"]
    assert (row["accuracy"], row["seed_sd"]) == (1.0, None)
    assert row["ci95"] == results.count(np.ones(24), GROUPS)["ci95"]
    text = cross_validation_text.to_text(report)
    low = 100 * row["ci95"][0]
    assert f"accuracy 100.0 % [{low:.1f}, 100.0] by artist (n = 24, 6 artists, kfold)" in text
    assert "3 folds x 1 seed\n" in text
    assert "for this one training only" in cross_validation_text.to_markdown(report)


def test_make_report_of_one_artist_gives_no_interval_and_says_so():
    tracks = [Track(name, "", "a", artist="Ann") for name in IDS]
    report = cross_validation.make_report(
        folds("kfold", 0, [True, False] * 12), tracks, system="svm", data="folder"
    )
    assert report["protocols"]["kfold"]["ci95"] is None
    assert "no interval" in cross_validation_text.to_text(report)


def test_make_report_refuses_a_track_that_is_tested_twice(answers):
    with pytest.raises(ValueError, match="twice in 'kfold'"):
        cross_validation.make_report(
            folds("kfold", 0, answers["kfold", 0]) * 2, TRACKS, system="svm", data="folder"
        )


def test_to_text_and_to_markdown_give_no_accuracy_without_n_interval_and_protocol(report):
    page = cross_validation_text.to_markdown(report)
    for line in (cross_validation_text.to_text(report) + "\n" + page).splitlines():
        if "accuracy" in line and "%" in line and "|" not in line:
            assert "] by artist and seed (n = 24, 6 artists, " in line and "kfold)" in line, line
    rows = [line for line in page.splitlines() if line.startswith(("| kfold", "| artist"))]
    assert len(rows) == 2 * 2 + 2 * 2 * 3
    assert all(
        "%" in row and "(n = " in row and ", kfold" in row.replace("artist_", "") for row in rows
    )
    assert "cover other tracks by other artists and other trainings" in page
    gap = report["leakage_gap"]
    assert f"leakage gap: {100 * gap['gap']:+.1f} points" in page
    json.dumps(report)


def test_to_text_says_what_leaks_and_what_data_cannot_show():
    leaking = [Fold("kfold", 0, i, {name: True}, shared_artists=3) for i, name in enumerate(IDS)]
    report = cross_validation.make_report(leaking, TRACKS, system="svm", data="folder")
    assert "kfold leaks: 3.0 artists per fold" in cross_validation_text.to_text(report)
    unknown = [Track(name, "", "a") for name in IDS]
    report = cross_validation.make_report(leaking, unknown, system="svm", data="folder")
    assert "no gap can show what leaks" in cross_validation_text.to_text(report)
    report["leakage_gap"] = {"gap": 0.1, "ci95": None, "n": 3, "num_groups": 3}
    for text in (cross_validation_text.to_text(report), cross_validation_text.to_markdown(report)):
        assert "leakage gap" not in text
    some = [*TRACKS[:-1], dataclasses.replace(TRACKS[-1], artist="")]
    report = cross_validation.make_report(leaking, some, system="svm", data="folder")
    of = f"of 1 of {len(TRACKS)} tracks no artist is known: artist_kfold may have some on both"
    assert of in cross_validation_text.to_text(report)


def write_evaluation(path, n=2, num_correct=1):
    folder = path / "eval" / "test"
    folder.mkdir(parents=True)
    facts = {"n": n, "num_correct": num_correct, "shared_artists": ["x"], "shared_recordings": []}
    (folder / "report.json").write_text(json.dumps(facts))
    with open(folder / "predictions.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("track_id", "label", "predicted"), ("one", "a", "a"), ("two", "a", "b")]
        )


def test_read_fold_reads_an_evaluation(tmp_path):
    assert not cross_validation.is_evaluated(tmp_path)
    write_evaluation(tmp_path)
    assert cross_validation.is_evaluated(tmp_path)
    fold = cross_validation.read_fold(tmp_path, protocol="kfold", seed=1, fold=2)
    predicted = {"one": "a", "two": "b"}
    assert fold == Fold("kfold", 1, 2, {"one": True, "two": False}, 1, 0, predicted)


def test_read_fold_refuses_inconsistent_files(tmp_path):
    write_evaluation(tmp_path, num_correct=2)
    with pytest.raises(UserError, match="delete the folder"):
        cross_validation.read_fold(tmp_path, protocol="kfold", seed=0, fold=0)
    with pytest.raises(UserError, match="cannot be read"):
        cross_validation.read_fold(tmp_path / "none", protocol="kfold", seed=0, fold=0)
