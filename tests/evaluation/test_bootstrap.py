"""Bootstrap intervals: against closed forms and SciPy, and by how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mgr_jax.evaluation import bootstrap


def _share(sums):
    return sums[..., 0] / sums[..., 1]


def test_mean_interval_is_nearly_the_t_interval_of_many_recordings():
    values = np.random.default_rng(0).normal(3, 2, 400)
    expected = scipy_stats.t.interval(0.95, 399, values.mean(), values.std() / np.sqrt(399))
    assert bootstrap.mean_interval(values) == pytest.approx(expected, abs=0.02)


def test_mean_interval_is_scipys_percentile_bootstrap_of_many_recordings():
    values = (np.random.default_rng(1).random(500) < 0.8).astype(float)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert bootstrap.mean_interval(values) == pytest.approx(tuple(theirs), abs=0.004)


def test_mean_interval_of_equal_groups_is_that_of_their_means():
    rng = np.random.default_rng(2)
    means = rng.random(40)
    values, groups = np.repeat(means, 5), np.repeat(np.arange(40), 5)
    assert bootstrap.mean_interval(values, groups=groups) == pytest.approx(
        bootstrap.mean_interval(means)
    )
    narrow = np.ptp(bootstrap.mean_interval(values))
    assert np.ptp(bootstrap.mean_interval(means)) == pytest.approx(narrow * 5**0.5, rel=0.1)


def test_mean_interval_is_the_same_from_the_same_seed_and_any_names():
    values = np.random.default_rng(3).random(30)
    one = bootstrap.mean_interval(values, groups=[f"a{i // 2:02}" for i in range(30)])
    two = bootstrap.mean_interval(values, groups=[i // 2 for i in range(30)])
    assert one == two
    assert one != bootstrap.mean_interval(values, groups=[i // 2 for i in range(30)], seed=1)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_mean_interval_grows_with_confidence(confidence):
    values = np.random.default_rng(4).normal(size=300)
    low, high = bootstrap.mean_interval(values, confidence=confidence)
    width = 2 * scipy_stats.norm.ppf((1 + confidence) / 2) * values.std() / 300**0.5
    assert high - low == pytest.approx(width, rel=0.06)


def test_mean_interval_is_none_where_resampling_has_no_spread():
    assert bootstrap.mean_interval(np.ones(20)) is None
    assert bootstrap.mean_interval(np.zeros(1)) is None
    assert bootstrap.mean_interval(np.array([0, 1, 1]), groups=["a"] * 3) is None


def _coverage(*, num_groups, size, num_draws, grouped=True):
    """How often the interval holds 0.7: the accuracy of artists drawn from Beta(2.1, 0.9)."""
    rng, covered = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(num_groups), size)
    for seed in range(num_draws):
        values = rng.random(num_groups * size) < np.repeat(rng.beta(2.1, 0.9, num_groups), size)
        ends = bootstrap.mean_interval(
            values, groups=groups if grouped else None, num_resamples=500, seed=seed
        )
        covered += ends is not None and ends[0] <= 0.7 <= ends[1]
    return covered / num_draws


def test_mean_interval_covers_the_truth_19_times_in_20():
    assert 0.92 < _coverage(num_groups=30, size=4, num_draws=400) < 0.975
    # Without groups, the interval is too narrow.
    assert _coverage(num_groups=30, size=4, num_draws=400, grouped=False) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_groups", "size"), [(15, 2), (30, 2), (30, 10), (100, 1), (100, 3), (300, 1)]
)
def test_mean_interval_covers_the_truth_for_any_number_of_artists(num_groups, size):
    assert 0.925 < _coverage(num_groups=num_groups, size=size, num_draws=2000) < 0.97


def test_interval_is_of_the_sums_and_of_any_shape():
    rng = np.random.default_rng(5)
    values = rng.random((60, 3, 2))
    ends = bootstrap.interval(values, _share)
    assert ends.shape == (2, 3)
    for column in range(3):
        one = bootstrap.interval(values[:, column], _share)
        np.testing.assert_allclose(ends[:, column], one, rtol=1e-12)
    point = values[..., 0].sum(axis=0) / values[..., 1].sum(axis=0)
    assert ((ends[0] < point) & (point < ends[1])).all()


def test_interval_leaves_out_resamples_without_a_value():
    """A rare class is in some resamples only."""
    values = np.zeros((20, 2, 2))
    values[:, 0] = np.random.default_rng(6).random((20, 2)) + 0.5
    values[:3, 1] = [[1, 1], [0, 1], [1, 1]]
    with np.errstate(invalid="ignore"):
        ends = bootstrap.interval(values, _share)
        assert np.isfinite(ends).all()
        assert ends[0, 1] == 0 and ends[1, 1] == 1
        values[:, 1] = 0
        assert np.isnan(bootstrap.interval(values, _share)[:, 1]).all()


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (np.zeros(0), {}, "values is empty"),
        (np.arange(3.0), {"confidence": 1.0}, "confidence 1.0"),
        (np.arange(3.0), {"groups": ["a"]}, "groups has 1 values for 3"),
        (np.zeros((3, 2)), {}, "need \\[N\\]"),
    ],
)
def test_mean_interval_names_a_bad_argument(values, settings, message):
    with pytest.raises(ValueError, match=message):
        bootstrap.mean_interval(values, **settings)
