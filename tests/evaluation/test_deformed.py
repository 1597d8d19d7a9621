"""Answers to deformed tracks against those to the tracks as they are."""

import numpy as np
import pytest

from mgr_jax.evaluation import deformed, stats

LABELS = ("jazz", "pop")
TRUTH = np.array([0, 1] * 10)
IDS = [f"t{i}" for i in range(20)]
GROUPS = [f"a{i // 2}" for i in range(20)]


def compare(*predicted, clean=TRUTH, groups=GROUPS):
    rows = [deformed.Row("noise", 10.0 * i, "%", p) for i, p in enumerate(predicted, 1)]
    return deformed.compare(clean, rows, TRUTH, ids=IDS, labels=LABELS, groups=groups)


def test_compare_tests_by_artist_with_holm_and_lists_flips():
    clean = TRUTH.copy()
    clean[0] = 1
    report = compare(np.zeros(20, int), clean, clean=clean)
    row, same = report["rows"]
    assert row["name"] == "noise 10 %" and report["test"] == "sign-flip test by artist"
    assert (row["num_correct"], report["clean"]["num_correct"]) == (10, 19)
    assert row["difference"] == pytest.approx(-0.45)
    assert row["p"] == stats.sign_flip_test(clean == TRUTH, TRUTH == 0, GROUPS)
    assert row["p_holm"] == pytest.approx(2 * row["p"]) and row["distinguishable"]
    low, high = row["difference_ci95"]
    assert low < -0.45 < high < 0
    assert (row["only_clean"], row["only_deformed"]) == (10, 1)
    assert len(row["flips"]) == 11
    assert row["flips"][0] == {"id": "t0", "true": "jazz", "clean": "pop", "deformed": "jazz"}
    assert same["flips"] == [] and same["p_holm"] == 1
    assert deformed.worst_class(row, report["clean"]) == "pop 10 -> 0 of 10"
    assert deformed.worst_class(same, report["clean"]) == ""


def test_compare_of_artists_that_do_not_repeat_is_mcnemars():
    report = compare(np.zeros(20, int), groups=IDS)
    assert report["test"] == "McNemar's mid-p test"
    assert report["rows"][0]["p"] == stats.mcnemar(TRUTH == TRUTH, TRUTH == 0).mid_p


def test_verdict_names_what_changes_and_what_does_not_show():
    report = compare(np.zeros(20, int))
    assert "noise 10 % 50.0 % (-50.0 points, p = 0.002; pop 10 -> 0 of 10)" in deformed.verdict(
        report
    )
    report = compare(TRUTH)
    assert deformed.verdict(report).startswith("No deformation changes the accuracy")


def test_verdict_takes_the_strength_that_changes_most_also_where_it_helps():
    clean = np.zeros(20, int)
    half = np.where(np.arange(20) < 14, TRUTH, 0)
    report = compare(half, TRUTH, clean=clean, groups=IDS)
    assert all(row["distinguishable"] for row in report["rows"])
    assert "noise 20 % 100.0 % (+50.0 points" in deformed.verdict(report)


def test_flips_by_track_begins_with_what_changes_most():
    other = TRUTH.copy()
    other[3] = 0
    more = other.copy()
    more[5] = 0
    first, second = deformed.flips_by_track(compare(more, other))
    assert first["id"] == "t3" and first["answers"] == {"jazz": ["noise 10 %", "noise 20 %"]}
    assert second["id"] == "t5"


def test_names_have_signs_where_strengths_have():
    row = deformed.Row("pitch", 1.0, "semitones", TRUTH)
    assert row.name == "pitch +1 semitones"
    assert deformed.Row("lowpass", 4000.0, "Hz", TRUTH).name == "lowpass 4000 Hz"
