"""Variances, tests and sizes against statsmodels and SciPy, which have them by other formulas."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats import contingency_tables, multitest, power, proportion, sandwich_covariance

from mgr_jax.evaluation import intervals, stats


def _ols(values):
    """Return the regression of values on a constant, whose coefficient is their mean."""
    return OLS(values, np.ones((len(values), 1))).fit()


def _answers(seed, *, num_groups=12, sizes=None):
    rng = np.random.default_rng(seed)
    sizes = np.full(num_groups, 5) if sizes is None else sizes
    groups = np.repeat(np.arange(num_groups), sizes)
    return (rng.random(len(groups)) < rng.random(num_groups)[groups]).astype(float), groups


def _jackknife(values, groups):
    pairs = np.stack([values, np.ones(len(values))], axis=1)
    _, changes = intervals.leave_out(pairs, intervals.ratio, groups=groups)
    return intervals.jackknife_variance(changes, len(changes))


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (3, 20), (20, 20), (253, 290)])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_wilson_interval(hits, n, alpha):
    expected = proportion.proportion_confint(hits, n, alpha=alpha, method="wilson")
    z = scipy_stats.norm.ppf(1 - alpha / 2)
    assert stats.wilson_interval(hits, n, z=z) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_jackknife_variance_of_equal_groups_is_the_cluster_robust_one(seed):
    """CR1, which Stata and statsmodels give; of equal groups it is that of the jackknife, CR3."""
    values, groups = _answers(seed)
    expected = sandwich_covariance.cov_cluster(_ols(values), groups)[0, 0]
    assert _jackknife(values, groups) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_jackknife_variance_of_unequal_groups_is_that_of_regressions_without_each(seed):
    values, groups = _answers(seed, num_groups=6, sizes=[1, 2, 3, 8, 13, 30])
    means = np.array([_ols(values[groups != group]).params[0] for group in range(6)])
    expected = 5 / 6 * ((means - values.mean()) ** 2).sum()
    assert _jackknife(values, groups) == pytest.approx(expected)
    smaller = sandwich_covariance.cov_cluster(_ols(values), groups)[0, 0]
    assert _jackknife(values, groups) > smaller  # Large groups leverage themselves in CR1.


@pytest.mark.parametrize("sizes", [[5] * 8, [1, 1, 2, 3, 4, 6, 9, 14]])
def test_design_effect_is_the_ratio_of_the_clustered_and_the_white_variance(sizes):
    values, groups = _answers(0, num_groups=8, sizes=sizes)
    fit = _ols(values)
    clustered = sandwich_covariance.cov_cluster(fit, groups, use_correction=False)[0, 0]
    white = sandwich_covariance.cov_white_simple(fit, use_correction=False)[0, 0]
    assert stats.design_effect(values, groups) == pytest.approx(clustered / white)


def test_two_way_interval_has_the_clustered_variances_of_both_ways():
    """Cameron, Gelbach and Miller subtract what both contain; without that, theirs is ours."""
    rng = np.random.default_rng(0)
    num_groups, num_seeds = 400, 6
    values = np.repeat(rng.choice([-0.3, 0.3], num_groups), 2)[:, None]
    values = values + 0.1 * rng.normal(size=(1, num_seeds))
    values += 0.1 * rng.normal(size=(2 * num_groups, num_seeds))
    groups = np.repeat(np.arange(num_groups), 2)
    both, by_group, by_seed = (
        matrix[0, 0]
        for matrix in sandwich_covariance.cov_cluster_2groups(
            _ols(values.ravel()), np.repeat(groups, num_seeds), np.tile(np.arange(6), len(groups))
        )
    )
    low, high = intervals.two_way_interval(values, groups, is_share=False)
    squares = scipy_stats.t.ppf(0.975, [num_groups - 1, num_seeds - 1]) ** 2
    half = np.sqrt(squares @ [by_group, by_seed])
    assert (high - low) / 2 == pytest.approx(half, rel=0.04)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.02 * half)
    assert both < by_group + by_seed


@pytest.mark.parametrize(("b", "c"), [(0, 6), (3, 3), (5, 11), (12, 11), (40, 20)])
def test_mcnemar_exact(b, c):
    first = np.array([True] * b + [False] * c + [True] * 9)
    second = np.array([False] * b + [True] * c + [True] * 9)
    expected = contingency_tables.mcnemar([[9, b], [c, 0]], exact=True)
    assert stats.mcnemar(first, second).exact == pytest.approx(expected.pvalue)
    # Half of the point probability is what mid-p leaves out of each tail.
    point = scipy_stats.binom.pmf(b, b + c, 0.5)
    assert stats.mcnemar(first, second).mid_p == pytest.approx(
        expected.pvalue - point if b != c else 1 - point / 2
    )


def test_holm():
    values = np.random.default_rng(0).random(9) ** 3
    expected = multitest.multipletests(values, method="holm")[1]
    assert stats.holm(values.tolist()) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_sign_flip_test_is_scipys_permutation_test_of_paired_sums(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 30)) < [[0.5], [0.75]]
    groups = rng.integers(0, 8, 30)
    sums = [np.bincount(groups, right, minlength=8) for right in (first, second)]
    expected = scipy_stats.permutation_test(
        sums, lambda x, y: (y - x).sum(), permutation_type="samples", n_resamples=np.inf
    )
    p = stats.sign_flip_test(first, second, groups)
    assert p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("difference", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 15])
def test_needed_n_is_the_size_of_a_z_test_with_other_variance_under_the_null(difference, alpha):
    discordant = 0.3
    expected = power.normal_sample_size_one_tail(
        difference,
        0.8,
        alpha / 2,
        std_null=discordant**0.5,
        std_alternative=(discordant - difference**2) ** 0.5,
    )
    n = stats.needed_n(difference, discordant=discordant, alpha=alpha)
    assert n == np.ceil(expected)
    smallest = stats.smallest_difference(n, discordant=discordant, alpha=alpha)
    assert smallest == pytest.approx(difference, rel=0.01)
