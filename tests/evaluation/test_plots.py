"""Figures: that they are drawn, for any labels and numbers; how they look is for the eye."""

import numpy as np
import pytest
from matplotlib import image

from mgr_jax.evaluation import plots


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
    assert height == width
    assert 500 <= width <= 3000


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
