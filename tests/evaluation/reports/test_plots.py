"""Figures are drawn for any labels and numbers; their looks are not tested."""

import numpy as np
import pytest
from matplotlib import image

from mgr_jax.evaluation.reports import plots


def _read(path):
    picture = image.imread(path)
    assert picture.std() > 0.01  # Not blank.
    return picture


@pytest.mark.parametrize("num_classes", [2, 10, 45])
def test_confusion_matrix_is_drawn_at_any_size(tmp_path, num_classes):
    counts = np.random.default_rng(0).integers(0, 30, (num_classes, num_classes))
    counts[0] = 0
    labels = [f"genre {i}" for i in range(num_classes)]
    plots.confusion_matrix(tmp_path / "a.png", counts, labels, "title")
    height, width, _ = _read(tmp_path / "a.png").shape
    assert width == int(240 * 8.4 / 2.54)  # A column, see test_confusion.
    assert 0.9 < height / width < 1.4


def test_confusion_matrix_draws_any_label(tmp_path):
    labels = [r"$\frac", "a_b^c", "音楽", "x" * 300, "drum & bass\n2", "$a$"]
    plots.confusion_matrix(tmp_path / "a.png", np.eye(6, dtype=int), labels, "$ _ $ \\")
    _read(tmp_path / "a.png")


def test_confusion_matrix_shades_by_the_share_of_the_class(tmp_path):
    """The darkest cells are those where a whole class went, however few its tracks."""
    plots.confusion_matrix(tmp_path / "a.png", np.array([[2, 0], [50, 50]]), ["a", "b"], "")
    plots.confusion_matrix(tmp_path / "b.png", np.array([[4, 0], [50, 50]]), ["a", "b"], "")
    one, two = _read(tmp_path / "a.png"), _read(tmp_path / "b.png")
    # Alike but for the digit.
    assert (np.abs(one - two).max(axis=-1) > 0.05).mean() < 0.002


@pytest.mark.parametrize("num_systems", [1, 4])
def test_confusion_matrices_are_drawn_three_in_a_row(tmp_path, num_systems):
    panels = [(f"$ {i}", np.eye(3, dtype=int)) for i in range(num_systems)]
    plots.confusion_matrices(tmp_path / "a.png", panels, ["a", "$b", "c"], "title")
    height, width, _ = _read(tmp_path / "a.png").shape
    assert 1.2 < width / height * (1 if num_systems == 1 else 2) < 4


@pytest.mark.parametrize("num_epochs", [1, 2, 100])
def test_learning_curves_are_drawn_from_any_number_of_epochs(tmp_path, num_epochs):
    records = [
        {
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "valid_loss": 2.2 / epoch if epoch % 7 else float("nan"),
            "train_accuracy": 1 - 1 / epoch,
            "valid_accuracy": 0.9 - 0.9 / epoch,
        }
        for epoch in range(1, num_epochs + 1)
    ]
    plots.learning_curves(tmp_path / "a.png", records, "title")
    _read(tmp_path / "a.png")


@pytest.mark.parametrize("penalties", [(1e-4, 1e-2, 1.0), (0.0, 0.1), (0.0,), (0.1,)])
def test_regularisation_path_is_drawn_from_any_penalties(tmp_path, penalties):
    records = [
        {"l2": l2, "train_accuracy": 0.9, "valid_accuracy": 0.7, "chosen": l2 == penalties[-1]}
        for l2 in penalties
    ]
    plots.regularisation_path(tmp_path / "a.png", records, "title")
    _read(tmp_path / "a.png")


def _bins(*, n=100):
    return [
        {"from": i / 5, "to": (i + 1) / 5, "n": n // 5, "confidence": i / 5 + 0.1, "accuracy": 0.5}
        for i in range(5)
    ]


def test_confusion_matrix_shows_per_cent_or_counts(tmp_path):
    matrix = np.array([[30, 10], [0, 7]])
    plots.confusion_matrix(tmp_path / "a.png", matrix, ["a", "b"], "t")
    plots.confusion_matrix(tmp_path / "b.png", matrix, ["a", "b"], "t", normalised=True)
    assert (_read(tmp_path / "a.png") != _read(tmp_path / "b.png")).any()


def test_f1_bars_are_drawn_with_and_without_intervals(tmp_path):
    rows = {name: {"f1": 0.5, "support": 3} for name in ("$a$", "b", "macro avg", "weighted avg")}
    plots.f1_bars(tmp_path / "a.png", rows, {"$a$": [0.2, 0.9], "b": None}, "t")
    _read(tmp_path / "a.png")


def test_reliability_is_drawn_before_and_after_calibration(tmp_path):
    before = {
        "n": 100,
        "calibration_error": {"error": 0.1},
        "reliability": _bins(),
        "calibrated": None,
    }
    after = {"temperature": 2.0, "calibration_error": {"error": 0.05}, "reliability": _bins()[1:]}
    plots.reliability(tmp_path / "a.png", before, "t")
    plots.reliability(tmp_path / "b.png", before | {"calibrated": after}, "t")
    assert (_read(tmp_path / "a.png") != _read(tmp_path / "b.png")).any()


def test_abstention_is_drawn_from_the_rows_that_answer(tmp_path):
    rows = [
        {"n": 9, "coverage": 0.9, "accuracy": 0.5, "ci95": [0.3, 0.7], "confidence": 0.0},
        {"n": 4, "coverage": 0.4, "accuracy": 0.5, "ci95": None, "confidence": 0.5},
        {"n": 0, "coverage": 0.0, "accuracy": None, "ci95": None, "confidence": 0.9},
    ]
    rows = [row | {"grouped_by": "artist"} for row in rows]
    plots.abstention(tmp_path / "a.png", rows, "t")
    _read(tmp_path / "a.png")
