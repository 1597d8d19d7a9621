"""Intervals by group: against closed forms and SciPy, and by how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mgr_jax.evaluation import intervals, results


def _draw(rng, *, num_groups, size, share, icc):
    """Draw right and wrong answers [G * size], and groups of intraclass correlation `icc`."""
    shares = np.full(num_groups, share)
    if icc:
        spread = (1 - icc) / icc
        shares = rng.beta(share * spread, (1 - share) * spread, num_groups)
    groups = np.repeat(np.arange(num_groups), size)
    return rng.random(len(groups)) < shares[groups], groups


def _coverage(*, num_draws, share=0.67, **settings):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(num_draws):
        low, high = intervals.accuracy_interval(*_draw(rng, share=share, **settings))
        covered += low <= share <= high
    return covered / num_draws


def test_difference_interval_is_agresti_and_mins_written_out():
    """Half a difference is added for either side and one for neither, then Wald's interval."""
    only_first, only_second, n = 3, 9, 40
    values = np.repeat([-1.0, 1.0, 0.0], [only_first, only_second, n - 12])
    # Of single recordings, the jackknife variance has n - 1 in the place of n.
    effect = (only_second * n / (n - 1) + 1) / (only_second + 1)
    total = n / effect + 2
    b, c = (count * n / effect / n + 0.5 for count in (only_second, only_first))
    mean, t = (b - c) / total, scipy_stats.t.ppf(0.975, n - 1)
    half = t * np.sqrt(b + c - (b - c) ** 2 / total) / total
    assert intervals.difference_interval(values) == pytest.approx((mean - half, mean + half))


def test_difference_interval_of_many_groups_is_scipys_t_interval_of_their_means():
    means = np.random.default_rng(0).choice([-0.5, 0, 0.5, 1], 4000)
    values, groups = np.repeat(means, 5), np.repeat(np.arange(4000), 5)
    for confidence in (0.5, 0.95):
        expected = scipy_stats.t.interval(confidence, 3999, means.mean(), scipy_stats.sem(means))
        actual = intervals.difference_interval(values, groups, confidence=confidence)
        assert actual == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("value", [-1, 0, 0.5, 1])
def test_difference_interval_has_a_width_where_all_groups_agree(value):
    for groups in (None, np.repeat(np.arange(10), 2)):
        low, high = intervals.difference_interval(np.full(20, value), groups)
        assert low < value < high or (abs(value) == 1 and high - low > 0.1)
        assert -1 <= low < high <= 1
    wide = intervals.difference_interval(np.zeros(20), np.repeat(np.arange(2), 10))
    assert wide == (-1, 1)


def test_difference_interval_covers_both_sides_where_all_differences_are_on_one():
    values = np.zeros(40)
    values[:3] = -1
    low, high = intervals.difference_interval(values, np.repeat(np.arange(8), 5))
    assert low < values.mean() < 0 < high


def test_jackknife_variance_is_that_of_leaving_out_one_group_at_a_time():
    rng = np.random.default_rng(1)
    values, groups = rng.random((40, 2)), rng.integers(0, 7, 40)
    estimate, changes = intervals.leave_out(values, intervals.ratio, groups=groups)
    whole = values[:, 0].sum() / values[:, 1].sum()
    left_out = [
        values[groups != g, 0].sum() / values[groups != g, 1].sum() for g in np.unique(groups)
    ]
    assert estimate == pytest.approx(whole)
    np.testing.assert_allclose(changes + whole, left_out)
    assert intervals.jackknife_variance(changes, 7) == pytest.approx(
        6 / 7 * ((np.array(left_out) - whole) ** 2).sum()
    )


def test_accuracy_interval_is_where_the_score_test_by_group_turns():
    """Its ends p solve |share - p| = t * sqrt(effect * p (1 - p) / n), with the design effect."""
    rng = np.random.default_rng(2)
    correct, groups = _draw(rng, num_groups=9, size=10, share=0.6, icc=0.5)
    shares = correct.reshape(9, 10).mean(axis=1)
    share = shares.mean()
    effect = shares.var(ddof=1) / 9 / (share * (1 - share) / 90)
    smaller = min((shares < share).sum(), (shares > share).sum())
    effect = (smaller * effect + 10) / (smaller + 1)
    assert 1 < effect < 10
    for p in intervals.accuracy_interval(correct, groups):
        assert abs(share - p) / np.sqrt(effect * p * (1 - p) / 90) == pytest.approx(
            scipy_stats.t.ppf(0.975, 8)
        )


def test_accuracy_interval_counts_unequal_groups_as_fewer():
    """One of 20 and ten of 1: as (30)^2 / (20^2 + 10) = 2.2 groups, where all of them agree."""
    groups = np.append(np.zeros(20), np.arange(1, 11))
    n = 30**2 / (20**2 + 10)
    low, _ = intervals.accuracy_interval(np.ones(30), groups)
    assert low == pytest.approx(n / (n + scipy_stats.t.ppf(0.975, n - 1) ** 2))


def test_accuracy_interval_has_the_degrees_of_freedom_of_its_design_effect():
    """At a share of 1/2, they are 2 / sum of (part of the variance - 1 / G)^2, written out."""
    sizes = np.array([14, 10, 6, 4, 4, 4, 4, 2])
    right = np.array([2, 8, 4, 3, 2, 2, 2, 1])
    groups = np.repeat(np.arange(8), sizes)
    correct = np.concatenate([np.arange(n) < k for n, k in zip(sizes, right, strict=True)])
    n, share = sizes.sum(), correct.mean()
    assert share == 0.5
    squares = ((right - share * sizes) / (n - sizes)) ** 2
    degrees = 2 / ((squares / squares.sum() - 1 / 8) ** 2).sum()
    assert 1 < degrees < n**2 / (sizes**2).sum() - 1
    effect = 7 / 8 * squares.sum() / (share * (1 - share) / n)
    larger, smaller = (right > share * sizes).sum(), (right < share * sizes).sum()
    weight = min(larger, smaller)
    effect = (weight * effect + (sizes**2).sum() / n) / (weight + 1)
    expected = intervals.wilson(share, n / effect, scipy_stats.t.ppf(0.975, degrees))
    assert intervals.accuracy_interval(correct, groups) == pytest.approx(tuple(expected))


def test_degrees_of_freedom_are_2_over_the_variance_of_the_log_of_the_design_effect():
    """Over 400 draws of 200 groups, of which one in twenty is much harder than the others."""
    rng, effects, expected = np.random.default_rng(0), [], []
    groups = np.repeat(np.arange(200), 20)
    for _ in range(400):
        correct = rng.random(4000) < np.where(rng.random(200) < 0.05, 0, 0.7)[groups]
        pairs = np.stack([correct, np.ones(4000)], axis=1)
        share, changes = intervals.leave_out(pairs, intervals.ratio, groups=groups)
        variance = intervals.jackknife_variance(changes, 200)
        effects.append(np.log(variance / (share * (1 - share))))
        degrees = intervals._design_effect(share, changes, np.full(200, 20))[1]
        assert degrees < 150
        expected.append(2 / degrees)
    assert np.var(effects) == pytest.approx(np.mean(expected), rel=0.1)


def test_accuracy_interval_takes_groups_that_agree_for_single_recordings():
    n, t = 8, scipy_stats.t.ppf(0.975, 7)
    low, high = intervals.accuracy_interval(np.ones(80), np.repeat(np.arange(n), 10))
    assert (low, high) == (pytest.approx(n / (n + t**2)), 1)
    assert intervals.accuracy_interval(np.zeros(8)) == pytest.approx((0, 1 - low))
    # Every artist has one of two right.
    low, high = intervals.accuracy_interval(np.tile([0, 1], 10), np.repeat(np.arange(10), 2))
    expected = intervals.wilson(0.5, 10, scipy_stats.t.ppf(0.975, 9))
    assert (low, high) == pytest.approx(tuple(expected))


def test_share_interval_takes_no_fewer_than_the_recordings_for_independent():
    """Groups that are more alike than chance allows make no interval narrower."""
    correct, groups = np.tile([0, 1], 500), np.repeat(np.arange(500), 2)
    correct[:4] = 1, 1, 0, 0
    expected = intervals.wilson(0.5, 1000, scipy_stats.t.ppf(0.975, 499))
    assert intervals.accuracy_interval(correct, groups) == pytest.approx(tuple(expected), abs=1e-3)


def test_intervals_of_a_single_group_do_not_exist():
    assert intervals.accuracy_interval(np.array([0, 1, 1]), ["a"] * 3) is None
    assert intervals.difference_interval(np.array([0, 1, 1]), ["a"] * 3) is None
    assert intervals.two_way_interval(np.eye(3), ["a"] * 3, is_share=True) is None
    assert intervals.accuracy_interval(np.ones(1)) is None


def test_two_way_interval_has_the_variances_of_artists_and_of_trainings():
    """Agresti and Min's interval at the number of recordings with their sum as variance."""
    rng = np.random.default_rng(3)
    values = np.repeat([0.3, -0.3], 10)[:, None] + 0.1 * rng.normal(size=(1, 5))
    values += 0.05 * rng.normal(size=(20, 5))
    mean, square = values.mean(), (values**2).mean()
    # Ten recordings lie on either side of the mean: the variance between them counts ten times.
    by_row = (10 * scipy_stats.sem(values.mean(axis=1)) ** 2 + (square - mean**2) / 20) / 11
    by_column = scipy_stats.sem(values.mean(axis=0)) ** 2
    t = np.hypot(
        scipy_stats.t.ppf(0.975, 19) * by_row**0.5, scipy_stats.t.ppf(0.975, 4) * by_column**0.5
    ) / np.sqrt(by_row + by_column)
    n = (square - mean**2) / (by_row + by_column)
    centre, squares = mean * n / (n + 2), (square * n + 1) / (n + 2)
    half = t * np.sqrt((squares - centre**2) / (n + 2))
    expected = pytest.approx((centre - half, centre + half))
    assert intervals.two_way_interval(values, is_share=False) == expected


def test_two_way_interval_of_repeated_recordings_is_that_of_their_groups():
    rng = np.random.default_rng(3)
    values = rng.choice([-1, 0, 0, 1], (12, 1)) * (rng.random((12, 5)) < 0.7)
    tripled, groups = np.repeat(values, 3, axis=0), np.repeat(np.arange(12), 3)
    once = intervals.two_way_interval(values, is_share=False)
    assert intervals.two_way_interval(tripled, groups, is_share=False) == pytest.approx(
        once, abs=0.05
    )


def test_two_way_interval_of_trainings_that_agree_is_that_of_the_recordings():
    correct, groups = _draw(np.random.default_rng(4), num_groups=15, size=2, share=0.7, icc=0.3)
    values = np.repeat(correct[:, None], 3, axis=1)
    for is_share, one in ((True, intervals.accuracy_interval), (False, _difference)):
        assert intervals.two_way_interval(values, groups, is_share=is_share) == pytest.approx(
            one(correct, groups)
        )
    ones = intervals.two_way_interval(np.ones((30, 3)), groups, is_share=True)
    assert ones == pytest.approx(intervals.accuracy_interval(np.ones(30), groups))
    zeros = intervals.two_way_interval(np.zeros((30, 3)), groups, is_share=False)
    assert zeros == pytest.approx(intervals.difference_interval(np.zeros(30), groups))


def _difference(correct, groups):
    return intervals.difference_interval(correct.astype(float), groups)


@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("num_groups", [2, 3, 6, 30])
def test_no_interval_has_a_width_of_0(share, num_groups):
    """Every group has the same share of four recordings right, in one training and in three."""
    correct = np.tile(np.arange(4) < 4 * share, num_groups)
    groups = np.repeat(np.arange(num_groups), 4)
    every = [
        intervals.accuracy_interval(correct, groups),
        intervals.accuracy_interval(correct),
        _difference(correct, groups),
        *(
            intervals.two_way_interval(np.tile(correct[:, None], 3), groups, is_share=is_share)
            for is_share in (True, False)
        ),
        *results.f1_ends((np.arange(len(correct)) % 3), 1 - correct, 3, groups).T,
    ]
    for low, high in every:
        assert np.isnan(low) or high - low > 0.01


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (np.zeros(0), {}, "values is empty"),
        (np.arange(3.0), {"confidence": 1.0}, "confidence 1.0"),
        (np.zeros(3), {"groups": ["a"]}, "groups has 1 values for 3"),
        (np.zeros((3, 2)), {}, "need \\[N\\]"),
        (np.arange(3.0), {}, "2 or its negative: need \\[-1, 1\\]"),
    ],
)
def test_difference_interval_names_a_bad_argument(values, settings, message):
    with pytest.raises(ValueError, match=message):
        intervals.difference_interval(values, **settings)
    with pytest.raises(ValueError, match=r"\(3, 1\): need \[N, S\]"):
        intervals.two_way_interval(np.zeros((3, 1)), is_share=True)


def test_accuracy_interval_covers_the_truth_where_wilsons_does_not():
    settings = {"num_groups": 10, "size": 10, "icc": 0.3}
    assert _coverage(**settings, num_draws=300) > 0.93
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        low, high = results.count(_draw(rng, share=0.67, **settings)[0])["ci95_wilson"]
        covered += low <= 0.67 <= high
    assert covered / 300 < 0.75


@pytest.mark.slow
@pytest.mark.parametrize("num_groups", [6, 8, 15, 50, 200])
@pytest.mark.parametrize("icc", [0, 0.3, 0.8])
@pytest.mark.parametrize("share", [0.5, 0.67, 0.9])
@pytest.mark.parametrize("size", [2, 10])
def test_accuracy_interval_covers_the_truth_from_six_groups_on(num_groups, icc, share, size):
    coverage = _coverage(num_draws=2000, num_groups=num_groups, size=size, share=share, icc=icc)
    assert coverage > 0.93


@pytest.mark.slow
def test_accuracy_interval_covers_the_truth_of_artists_of_very_different_size():
    """As in GTZAN, where 197 groups have from 1 to 100 tracks."""
    rng, covered = np.random.default_rng(0), 0
    sizes = np.maximum(1, np.round(100 / np.arange(1, 198))).astype(int)
    groups = np.repeat(np.arange(197), sizes)
    for _ in range(2000):
        shares = rng.beta(0.67 * 7 / 3, 0.33 * 7 / 3, 197)
        low, high = intervals.accuracy_interval(rng.random(len(groups)) < shares[groups], groups)
        covered += low <= 0.67 <= high
    assert covered / 2000 > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3])
def test_two_way_interval_covers_other_recordings_and_other_trainings(num_seeds, spread):
    """Right where a sum of effects of artist, training, both, and noise is positive."""
    rng, covered, share, groups = np.random.default_rng(0), 0, 0.7, np.repeat(np.arange(30), 2)
    scale = np.sqrt(1 + spread**2 + 0.25 + 1)
    for _ in range(1000):
        effects = rng.normal(size=(30, 1)) + 0.5 * rng.normal(size=(30, num_seeds))
        effects += spread * rng.normal(size=(1, num_seeds))
        total = effects[groups] + rng.normal(size=(60, num_seeds))
        correct = total + scale * scipy_stats.norm.ppf(share) > 0
        low, high = intervals.two_way_interval(correct, groups, is_share=True)
        covered += low <= share <= high
    assert covered / 1000 > 0.94


def _classes(rng, confusion, *, per_class, size):
    """Draw truth and predictions of artists of `size` tracks; a third of them err as one."""
    num_classes = len(confusion)
    truth = np.repeat(np.arange(num_classes), per_class)
    groups = np.arange(len(truth)) // size
    predicted = np.array([rng.choice(num_classes, p=confusion[label]) for label in truth])
    alike = rng.random(groups[-1] + 1) < 1 / 3
    first = predicted[groups * size]
    return truth, np.where(alike[groups], first, predicted), groups


@pytest.mark.slow
@pytest.mark.parametrize(("per_class", "size"), [(6, 1), (6, 2), (30, 1), (30, 3)])
def test_f1_intervals_cover_the_truth(per_class, size):
    rng = np.random.default_rng(0)
    recalls = np.linspace(0.3, 0.95, 10)
    confusion = rng.dirichlet(np.ones(10), 10) * (1 - recalls)[:, None] + np.diag(recalls)
    true_f1 = 2 * np.diag(confusion) / (1 + confusion.sum(axis=0))
    true_f1 = np.append(true_f1, true_f1.mean())
    ends = np.array(
        [
            results.f1_ends(truth, predicted, 10, groups)[:, :11]
            for truth, predicted, groups in (
                _classes(rng, confusion, per_class=per_class, size=size) for _ in range(500)
            )
        ]
    )
    assert np.isfinite(ends).mean() > 0.99
    coverage = ((ends[:, 0] <= true_f1) & (true_f1 <= ends[:, 1])).mean(axis=0)
    assert coverage[-1] > 0.93
    assert coverage.mean() > 0.94 and coverage.min() > 0.9
