"""The page on groups of tracks."""

import numpy as np

from mgr_jax.evaluation import subset_results
from mgr_jax.evaluation.reports import subset_text
from tests.evaluation.reports.test_deform_text import FACTS


def subset_report():
    correct = np.array([True] * 20 + [False] * 10)
    columns = {"format": [".wav"] * 20 + ["<.mp3>"] * 10, "same": ["x"] * 30}
    return (
        subset_results.compare(correct, columns, groups=[f"g{i // 2}" for i in range(30)]) | FACTS
    )


def test_subset_pages_list_the_worst_first(tmp_path):
    report = subset_report()
    subset_text.write(tmp_path, report)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert page.index("&lt;.mp3&gt;") < page.index(".wav</td>") and "permutation test" in page
    assert "the same for all tracks: same (x)" in text and "| 0 of 10 |" in text
    lines = subset_text.to_text(report).splitlines()
    assert lines[4].startswith("format  <.mp3>  0 of 10   0.0 %") and "Distinguishable" in lines[-2]


def test_subset_text_without_groups_has_no_table():
    names = [f"g{i}" for i in range(4)]
    report = subset_results.compare([True] * 4, {"artist": ["unknown"] * 4}, groups=names) | FACTS
    text = subset_text.to_text(report)
    assert "There is nothing to compare" in text and "group" not in text.splitlines()
    assert text.endswith("the same for all tracks: artist (unknown)")
