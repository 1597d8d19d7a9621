"""The overview of several runs: its content, and separate test sets."""

import json

import numpy as np
import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation import metrics, stats
from mgr_jax.evaluation.reports import overview
from tests.evaluation import test_compare, test_pooled

pytestmark = pytest.mark.usefixtures("quick_figures")


def _run(folder, correct, **changes):
    matrix = np.array([[int(np.sum(correct)), int(np.sum(~correct))], [0, 0]])
    fields = {
        "confusion_matrix": matrix.tolist(),
        "per_class": metrics.per_class(matrix, ("a", "b")),
        "log_loss": 0.5,
        "calibration_error": {
            "error": 0.093,
            "interval": [0.051, 0.142],
            "n": 60,
            "num_bins": 4,
            "perfect": 0.061,
            "perfect95": 0.105,
        },
    }
    return test_compare._write(folder, correct.tolist(), **fields | changes)


def _write(tmp_path, shares, n=60):
    return [
        _run(tmp_path / f"run{i}", np.roll(np.arange(n) < n * share, i), system=f"<i>{i}</i>")
        for i, share in enumerate(shares)
    ]


def test_write_overview_puts_the_best_first_with_a_verdict(tmp_path):
    workdirs = _write(tmp_path, (0.3, 0.9, 0.85))
    (section,) = overview.write_overview(workdirs, "test", str(tmp_path / "out"))
    assert [system["name"] for system in section["systems"]] == ["run1", "run2", "run0"]
    best = section["systems"][0]
    described = stats.describe_accuracy(best["num_correct"], 60, "listed")
    text = overview.to_text(section)
    assert f"run1 has the highest accuracy, {described}; it is better than run0" in text
    assert "on these 60 tracks it is not distinguishable from run2." in text
    assert json.loads((tmp_path / "out/comparison.json").read_text()) == [section]
    page = (tmp_path / "out/comparison.md").read_text()
    for system in section["systems"]:
        hits = system["num_correct"]
        assert f"| {stats.describe_accuracy(hits, 60, 'listed')} |" in page
    assert page.count("points") >= 3
    assert "0.093 [0.051, 0.142] in 4 bins; perfect: 0.061, below 0.105" in page
    assert "The calibration error is the mean |confidence - accuracy| of the 60 tracks in" in page
    assert (
        "with an inverted bootstrap by track; beside it what a perfectly calibrated model" in page
    )
    assert "Intervals of accuracies are Wilson's, of 95 %." in page
    for line in page.splitlines():
        if line.startswith("!["):
            assert (tmp_path / "out" / line.split("](")[1][:-1]).exists()


def test_write_overview_makes_a_self_contained_page(tmp_path):
    overview.write_overview(_write(tmp_path, (0.5, 0.6)), "test", str(tmp_path / "out"))
    page = (tmp_path / "out/comparison.html").read_text()
    assert page.count("<img ") == page.count('src="data:image/png;base64,') == 3
    assert "http" not in page and "<script" not in page
    assert "<i>0" not in page and "&lt;i&gt;0&lt;/i&gt;" in page


def test_write_overview_never_compares_different_test_sets(tmp_path):
    workdirs = [*_write(tmp_path, (0.5, 0.6)), _run(tmp_path / "other", np.array([True, False]))]
    sections = overview.write_overview(workdirs[::-1], "test", str(tmp_path / "out"))
    assert [len(section["systems"]) for section in sections] == [2, 1]
    assert sections[1]["pairs"] == []
    assert "other has an accuracy of 50.0 %" in overview.to_text(sections[1])
    page = (tmp_path / "out/comparison.md").read_text()
    assert "2 different test sets; accuracies of different test sets cannot be compared" in page


def test_write_overview_takes_the_folds_of_one_training(tmp_path):
    answers = test_compare._two(n=12)
    for protocol in ("kfold", "artist_kfold"):
        for seed, correct in enumerate(answers):
            folder = tmp_path / "cv" / protocol / f"seed{seed}"
            test_pooled._write_folds(folder, correct.tolist(), groups="aabbccddeeff")
    chosen = [str(tmp_path / "cv" / name / "seed0") for name in ("kfold", "artist_kfold")]
    sections = overview.write_overview(chosen, "test", str(tmp_path / "out"))
    systems = [section["systems"] for section in sections]
    assert [len(section) for section in systems] == [1, 1] and systems[0][0]["n"] == 12
    assert [s[0]["name"] for s in systems] == ["cv/kfold/seed0", "cv/artist_kfold/seed0"]
    with pytest.raises(UserError, match=r"cv, kfold: has 2 trainings.*--format=latex,csv,pdf"):
        overview.write_overview([str(tmp_path / "cv")], "test", str(tmp_path / "out"))


def test_write_overview_names_a_missing_report_and_a_bad_folder(tmp_path):
    with pytest.raises(UserError, match=r"has no report\.json"):
        overview.write_overview([str(tmp_path / "none")], "test", str(tmp_path / "out"))
    workdirs = _write(tmp_path, (0.5,))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--output .*file: cannot be written"):
        overview.write_overview(workdirs, "test", str(tmp_path / "file"))
