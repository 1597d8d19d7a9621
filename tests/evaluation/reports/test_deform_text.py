"""The page on deformations."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mgr_jax.evaluation import deformed
from mgr_jax.evaluation.reports import deform_text

FACTS = {
    "system": "svm", "data": "<songs>", "part": "test", "protocol": "listed", "checkpoint_step": 0,
    "notes": ["one is left out"], "mgr_jax": "1",
}  # fmt: skip


def deform_report():
    truth = np.array([0, 1] * 10)
    rows = [
        deformed.Row("pitch", -1.0, "semitones", truth),
        deformed.Row("pitch", 3.0, "semitones", 1 - truth),
        deformed.Row("lowpass", 1000.0, "Hz", np.zeros(20, int)),
    ]
    groups = [f"a{i // 2}" for i in range(20)]
    ids = [f"t|{i}" for i in range(20)]
    report = deformed.compare(truth, rows, truth, ids=ids, labels=("a", "b"), groups=groups)
    meanings = {"pitch": "higher", "lowpass": "highest frequency left"}
    return report | FACTS | {"seed": 3, "meanings": meanings}


def test_deform_text_has_a_line_for_each_row_and_the_verdict():
    text = deform_text.to_text(deform_report())
    assert "lowpass 1000 Hz         50.0 %" in text and "p = 0.0059    10 flips" in text
    row = deform_report()["rows"][0]
    assert deform_text.line(row | {"flips": ["one"]}).endswith(" 1 flip")
    assert "as it is 100.0 %" in text and "one is left out" in text
    assert (
        "pitch +3 semitones 0.0 % (-100.0 points, p = 0.0059; a 10 -> 0 of 10, b 10 -> 0 of 10)"
        in text
    )


def test_deform_pages_have_numbers_methods_and_flips(tmp_path):
    deform_text.write(tmp_path, deform_report())
    page = (tmp_path / "report.html").read_text()
    text = (tmp_path / "report.md").read_text()
    assert "&lt;songs&gt;" in page and "<songs>" not in page and "data:image/png" in page
    for shown in (
        "sign-flip test by artist",
        "Draws of seed 3",
        "highest frequency left",
        "b 10 -&gt; 0",
    ):
        assert shown in page
    assert "| t\\|0 | a | a | b (pitch +3 semitones) |" in text
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


def test_panels_are_in_the_order_of_the_change_whatever_that_of_the_flag():
    report = deform_report()
    pitch, low = report["rows"][:2], report["rows"][2]
    for name, rows, ticks in (
        ("pitch", pitch[::-1], ["-1", "none", "3"]),
        ("lowpass", [low, low | {"strength": 4000.0}], ["none", "4000", "1000"]),
    ):
        axes = Figure().add_subplot()
        deform_text._draw_panel(axes, name, rows, report)
        assert [label.get_text() for label in axes.get_xticklabels()] == ticks


@pytest.mark.parametrize("count", [1, 7])
def test_draw_takes_any_number_of_deformations(tmp_path, count):
    report = deform_report()
    row = report["rows"][2]
    report["rows"] = [row | {"deformation": f"d{i}"} for i in range(count)]
    deform_text.draw(tmp_path / "x.png", report)
    assert (tmp_path / "x.png").exists()
