"""Sets of genres in words."""

import numpy as np

from mgr_jax.evaluation import conformal, set_results
from mgr_jax.evaluation.reports import sets_text


def _report(grouped_by="artist"):
    """Ten artists of two tracks each, or twenty tracks, of which two are not held at 80 %."""
    size = 2 if grouped_by == "artist" else 1
    truth = np.arange(20) % 2
    p = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
    p[:4] = p[:4, ::-1]
    groups = np.arange(20) // size
    log_p = np.log(p)
    tracks = conformal.make_calibration(log_p, truth, groups, "valid")
    rows = set_results.measure(log_p, truth, "xy", tracks, groups=groups, grouped_by=grouped_by)
    return {"sets": rows, "labels": ["x", "y"], "protocol": "listed", "grouped_by": grouped_by}


def test_tables_have_a_row_a_coverage_and_a_class():
    report = _report()
    head, rows = sets_text.coverages(report)
    assert [row[0] for row in rows] == ["80 %", "90 %", "95 %"]
    assert head[2] == "each artist once" and all(len(row) == len(head) for row in rows)
    assert rows[2][1].startswith("100.0 % ") and rows[2][-1] == "none"
    assert rows[2][3].startswith("2.00")
    head, rows = sets_text.classes(report)
    assert [row[0] for row in rows] == ["x", "y"] and head[1] == "sets of 90 % hold it"
    promised, nothing = sets_text.guarantees(report)
    assert promised.startswith("sets hold the genre of 90 %")
    assert nothing.startswith("every set has all genres: a coverage of 95 % takes 19 artists")
    (line,) = sets_text.lines(report)
    assert line.startswith("sets of 90 %: hold the genre of 100.0 % [")


def test_tables_without_artists_have_no_column_for_them():
    head, rows = sets_text.coverages(_report("track"))
    assert "each track once" not in head and all(len(row) == len(head) == 4 for row in rows)


def test_a_report_without_sets_has_no_line():
    assert sets_text.lines({"sets": None}) == [] == sets_text.lines({})
    assert sets_text.guarantees({"sets": None}) == []
