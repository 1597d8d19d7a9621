"""The coverage suite: the draws are as they say, and every cell has a coverage."""

import numpy as np
import pytest

from experiments.benchmarks import coverage


def test_beta_has_the_mean_and_the_correlation():
    """The variance of a beta distribution is icc * p * (1 - p)."""
    shares = coverage._beta(np.random.default_rng(0), 0.67, 0.3, 100_000)
    assert shares.mean() == pytest.approx(0.67, abs=0.005)
    assert shares.var() == pytest.approx(0.3 * 0.67 * 0.33, rel=0.02)
    assert (coverage._beta(np.random.default_rng(0), 0.67, 0.0, 5) == 0.67).all()


@pytest.mark.e2e
def test_run_fills_every_table():
    rows = coverage.run(num_draws=1)
    assert {row["case"] for row in rows} == {case.title for case in coverage._CASES}
    lines = coverage.table(rows)
    assert sum(line.startswith("| --- ") for line in lines) == len(coverage._CASES)
    five = next(row for row in rows if "difference" in row["case"] and row["number"] == 5)
    assert five["refused"] == 1 and coverage._cell(five) == "refused"
