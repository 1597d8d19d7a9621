"""Intervals against SciPy, closed forms and their promise to cover."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mgr_jax.evaluation import stats

PAIRS = [(0, 1), (1, 1), (0, 20), (20, 20), (1, 30), (10, 30), (253, 290), (500, 1000)]


@pytest.mark.parametrize(("successes", "n"), PAIRS)
def test_wilson_interval_is_scipys(successes, n):
    expected = scipy_stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert stats.wilson_interval(successes, n) == pytest.approx(tuple(expected), abs=1e-12)
    expected = scipy_stats.binomtest(successes, n).proportion_ci(0.99, method="wilson")
    z = scipy_stats.norm.ppf(0.995)
    assert stats.wilson_interval(successes, n, z=z) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), PAIRS)
def test_wilson_interval_is_where_the_score_test_turns(successes, n):
    """Its ends p solve |share - p| = z * sqrt(p (1 - p) / n): Wilson's definition."""
    share = successes / n
    for p in stats.wilson_interval(successes, n):
        if 0 < p < 1:
            z = abs(share - p) / np.sqrt(p * (1 - p) / n)
            assert z == pytest.approx(1.959963984540054)
        else:
            assert share == p


@pytest.mark.parametrize(("successes", "n"), PAIRS)
def test_wilson_interval_mirrors_and_stays_inside(successes, n):
    low, high = stats.wilson_interval(successes, n)
    other_low, other_high = stats.wilson_interval(n - successes, n)
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low))
    assert 0 <= low <= successes / n <= high <= 1


@pytest.mark.parametrize("p", [0.3, 0.5, 0.75, 0.9])
def test_wilson_interval_covers_the_truth_19_times_in_20(p):
    n = 100
    counts = np.arange(n + 1)
    covered = [low <= p <= high for low, high in (stats.wilson_interval(k, n) for k in counts)]
    assert 0.93 < scipy_stats.binom.pmf(counts, n, p)[covered].sum() < 0.97


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_wilson_interval_refuses_counts_that_cannot_be(successes, n):
    with pytest.raises(ValueError, match=f"successes {successes} and n {n}"):
        stats.wilson_interval(successes, n)


def test_describe_accuracy_gives_interval_n_and_protocol():
    assert stats.describe_accuracy(47, 60, "listed") == "78.3 % [66.4, 86.9] (n = 60, listed)"
    assert stats.describe_accuracy(0, 1, "holdout") == "0.0 % [0.0, 79.3] (n = 1, holdout)"
