"""The coverage suite: the draws are as they say, and the README's tables are those of the suite."""

import importlib
import inspect
import itertools
import pathlib
import re

import numpy as np
import pytest

from experiments.benchmarks import coverage
from mgr_jax.evaluation import calibration_error, intervals, results, stats

README = pathlib.Path(intervals.__file__).with_name("README.md")


def _readme_table(case):
    """Return number -> cells, one for each ICC, of a case's table in the README."""
    text = README.read_text("utf-8").partition(f"\n`{case.function}`: {case.title}\n\n")[2]
    head, _, *lines = itertools.takewhile(lambda line: line.startswith("|"), text.splitlines())
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        case.unit,
        *(f"ICC {icc:g}" for icc in coverage._ICCS),
    ]
    return {int(number): cells for number, *cells in rows}


def _shares(cell):
    return [float(share) for share in re.findall(r"[01]\.\d\d", cell)]


def test_beta_has_the_mean_and_the_correlation():
    """The variance of a beta distribution is icc * p * (1 - p)."""
    shares = coverage._beta(np.random.default_rng(0), 0.67, 0.3, (100_000,))
    assert shares.mean() == pytest.approx(0.67, abs=0.005)
    assert shares.var() == pytest.approx(0.3 * 0.67 * 0.33, rel=0.02)
    assert (coverage._beta(np.random.default_rng(0), 0.67, 0.0, (5,)) == 0.67).all()


@pytest.mark.parametrize("icc", coverage._ICCS)
def test_sources_have_the_correlation(icc):
    """Two tracks have the same draw with probability icc."""
    groups = np.repeat(np.arange(20_000), 2)
    first, second = coverage._sources(np.random.default_rng(0), groups, icc).reshape(-1, 2).T
    assert (first == second).mean() == pytest.approx(icc, abs=0.015)


def test_accuracies_are_drawn_all_at_once():
    """And have the interval that `accuracy_interval` gives to each."""
    (low, high), share = coverage._accuracy(np.random.default_rng(0), 7, 0.3, 0.6, 4)
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(7), 5)
    shares = coverage._beta(rng, 0.6, 0.3, (7, 4))
    correct = rng.random((35, 4)) < shares[groups]
    for column, *ends in zip(correct.T, low, high, strict=True):
        assert intervals.accuracy_interval(column, groups) == pytest.approx(tuple(ends))
    assert share == 0.6


def test_every_function_that_computes_an_interval_has_a_table():
    """All but those that others of them call."""
    found = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (intervals, stats, results, calibration_error)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and re.search("[^_]*(interval|ends)$", name)
        if not name.startswith(("_", "describe"))
    }
    called = {"intervals.share_interval", "stats.sign_flip_interval"}
    others = {"results.count", "calibration_error.calibration_error"}
    assert {case.function for case in coverage.CASES} == (found - called) | others


def test_the_methods_of_the_readme_exist_and_have_tables():
    text = README.read_text("utf-8").partition("| sentence or table |")[2].partition("\n\n")[0]
    functions = set(re.findall(r"`([a-z_]+\.[a-z_0-9]+)`", text))
    for name in functions:
        module, function = name.split(".")
        assert callable(getattr(importlib.import_module(f"mgr_jax.evaluation.{module}"), function))
    assert {case.function for case in coverage.CASES} <= functions


@pytest.mark.parametrize("case", coverage.CASES, ids=lambda case: case.title)
def test_the_readme_has_every_table_and_covers_enough_from_six_groups_on(case):
    rows = _readme_table(case)
    assert tuple(rows) == case.numbers
    for number, cells in rows.items():
        assert len(cells) == len(coverage._ICCS)
        for cell in cells:
            assert cell == "refused" or len(_shares(cell)) == len(case.settings)
            if number >= intervals.MIN_GROUPS and case.function not in _APART:
                assert min(_shares(cell)) >= 0.93


# By track, for comparison; and with its own statement in the README.
_APART = ("stats.wilson_interval", "calibration_error.calibration_error")


@pytest.mark.parametrize(
    ("position", "number", "icc"),
    [(0, 3, 0.8), (0, 6, 0.8), (1, 10, 0.3), (1, 6, 0.8), (2, 6, 0.3)],
)
def test_measure_gives_the_cell_of_the_readme(position, number, icc):
    """Exactly, from the same draws."""
    case = coverage.CASES[position]
    row = coverage.measure(case, number, icc)
    assert coverage.format_cell(row) == _readme_table(case)[number][coverage._ICCS.index(icc)]


@pytest.mark.slow
@pytest.mark.parametrize("case", coverage.CASES, ids=lambda case: case.title)
def test_the_rows_of_the_readme_are_those_of_the_suite(case):
    """The line of six groups and the one of most: within the error of other draws, 4 sd."""
    table = _readme_table(case)
    for number in {6, case.numbers[-1]}:
        for icc, cell in zip(coverage._ICCS, table[number], strict=True):
            row = coverage.measure(case, number, icc)
            if cell == "refused":
                assert row["refused"] == 1
                continue
            for printed, share in zip(_shares(cell), row["coverage"], strict=True):
                sd = (max(0.01, printed * (1 - printed)) / row["draws"]) ** 0.5
                assert share == pytest.approx(printed, abs=0.005 + 4 * sd)


@pytest.mark.e2e
def test_run_fills_every_table():
    rows = coverage.run(num_draws=1)
    assert {row["title"] for row in rows} == {case.title for case in coverage.CASES}
    lines = coverage.table(rows)
    assert sum(line.startswith("| --- ") for line in lines) == len(coverage.CASES)
    five = next(row for row in rows if "difference" in row["title"] and row["number"] == 5)
    assert five["refused"] == 1 and coverage.format_cell(five) == "refused"
