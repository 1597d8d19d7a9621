"""The picture of the leakage gap shows its numbers."""

import pytest

from mgr_jax.evaluation.reports import figure_files, protocol_plot
from tests.evaluation.reports import pooled_report


@pytest.fixture(name="drawn")
def _drawn(monkeypatch):
    """The figures that were made; they are not painted."""
    figures = []
    monkeypatch.setattr(figure_files, "save", lambda figure, path: figures.append(figure))
    return figures


def test_draw_has_accuracies_seeds_folds_and_the_gap_in_one_picture(drawn, tmp_path):
    report = pooled_report.make()
    protocol_plot.draw(tmp_path / "x.png", report, "title", with_gap=True)
    above, below = drawn[0].axes
    shown = {text.get_text() for axes in (above, below) for text in axes.texts}
    for protocol in report["protocols"].values():
        assert f"{100 * protocol['accuracy']:.1f} %" in shown
    gap = report["leakage_gap"]
    low, high = (100 * end for end in gap["ci95"])
    assert f"{100 * gap['gap']:+.1f} [{low:.1f}, {high:.1f}]" in shown
    sizes = [len(points.get_offsets()) for points in above.collections]
    assert sizes == [4, 2, 1] * 2  # Folds, seeds and the accuracy of each protocol.
    left, right = below.get_xlim()
    assert left < min(0, low) and max(0, high) < right


def test_draw_of_one_training_has_neither_gap_nor_seeds(drawn, tmp_path):
    report = pooled_report.make(protocols=("kfold",), seeds=1)
    report["protocols"]["kfold"]["ci95"] = None
    protocol_plot.draw(tmp_path / "x.png", report, "title", with_gap=False)
    (axes,) = drawn[0].axes
    assert [len(points.get_offsets()) for points in axes.collections] == [2, 1]
    assert "ring" not in axes.get_xlabel()
