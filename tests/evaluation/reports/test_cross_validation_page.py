"""The pages of a cross-validation: all of its numbers, self-contained, for any protocols."""

import dataclasses
import json

import numpy as np
import pytest

from mgr_jax.evaluation import metrics
from mgr_jax.evaluation.reports import cross_validation_page as page_lib
from mgr_jax.evaluation.reports import cross_validation_text as text_lib
from tests.evaluation.reports import pooled_report

pytestmark = pytest.mark.usefixtures("quick_figures", "quick_protocols")


@pytest.fixture(name="quick_protocols")
def _quick_protocols(monkeypatch):
    def draw(path, report, title, *, with_gap):
        path.write_bytes(b"a gap" if with_gap else b"no gap")

    monkeypatch.setattr(page_lib.protocol_plot, "draw", draw)


def _write(folder, **options):
    report = pooled_report.make(**options)
    page_lib.write(folder, report)
    return report, (folder / "report.html").read_text(), (folder / "report.md").read_text()


def test_write_shows_both_protocols_their_gap_and_all_classes(tmp_path):
    report, page, text = _write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    for shown in (page, text):
        for name in report["protocols"]:
            assert f"{100 * report['protocols'][name]['accuracy']:.1f} %" in shown
            assert f"By class: {name}" in shown
        assert f"{100 * report['leakage_gap']['gap']:+.1f} points" in shown
        assert "do not cover other trainings" in shown
    assert page.count('src="data:image/png;base64,') == page.count("<img ") == 7
    assert (tmp_path / "protocols.png").read_bytes() == b"a gap"
    assert all(f"]({name})" in text and (tmp_path / name).exists() for name in report["figures"])
    # The accuracy for new artists comes first.
    own = report["protocols"]["artist_kfold"]
    assert f'<div class="number">{100 * own["accuracy"]:.1f} %</div>' in page
    assert page.index("By class: artist_kfold") < page.index("By class: kfold")
    assert "http" not in page and "<script" not in page and "<i>blues" not in page
    assert "kfold/seed1/fold0" in page and "commit cccccccccccc" in page


def test_the_classes_of_a_report_are_those_of_all_predictions(tmp_path):
    report, _, _ = _write(tmp_path)
    for protocol in report["protocols"].values():
        matrix = np.array(protocol["confusion_matrix"])
        assert matrix.sum() == 2 * protocol["n"]
        assert metrics.accuracy(matrix) == pytest.approx(protocol["accuracy"])
        for label, (low, high) in protocol["f1_ci95"].items():
            assert low <= protocol["per_class"][label]["f1"] <= high


def test_write_of_one_protocol_and_of_unknown_artists_has_no_gap(tmp_path):
    unknown = [dataclasses.replace(track, artist="") for track in pooled_report.TRACKS]
    for options in ({"protocols": ("kfold",)}, {"tracks": unknown, "seeds": 1}):
        report, page, text = _write(tmp_path, **options)
        assert (tmp_path / "protocols.png").read_bytes() == b"no gap"
        assert "leakage gap" not in page + text
        assert "tested once" in page if options.get("seeds") else "tested 2 times" in page
        assert page.count("<img ") == 1 + 3 * len(report["protocols"])


def test_verdict_says_what_the_gap_means():
    report = pooled_report.make()
    report["leakage_gap"] |= {"gap": 0.2, "ci95": [0.1, 0.3]}
    assert "(kfold), it is 20.0 points higher. A test on known artists makes this system look" in (
        text_lib.verdict(report)
    )
    report["leakage_gap"] |= {"gap": -0.1, "ci95": [-0.3, 0.1]}
    shown = text_lib.verdict(report)
    assert (
        "it is 10.0 points lower. That is not distinguishable from no difference on 24 tracks"
        in shown
    )
    assert "had not learned from it or from other tracks of its artist" in shown
    report["protocols"]["artist_kfold"]["ci95"] = [0.2, 0.6]
    assert "not distinguishable from guessing" in text_lib.verdict(report)
