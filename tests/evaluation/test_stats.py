"""Intervals and tests against SciPy, closed forms and simulated coverage."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mgr_jax.evaluation import intervals, stats

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
def test_wilson_interval_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match=f"successes {successes} and n {n}"):
        stats.wilson_interval(successes, n)


def test_describe_accuracy_gives_interval_n_and_protocol():
    assert stats.describe_accuracy(47, 60, "listed") == "78.3 % [66.4, 86.9] (n = 60, listed)"
    assert stats.describe_accuracy(0, 1, "holdout") == "0.0 % [0.0, 79.3] (n = 1, holdout)"


def _answers(only_first, only_second, both=5, neither=3):
    """Right or wrong of two systems, with these counts."""
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    order = np.random.default_rng(0).permutation(len(first))
    return np.array(first, bool)[order], np.array(second, bool)[order]


TABLES = [(0, 0), (1, 0), (0, 6), (3, 3), (5, 11), (12, 11), (40, 20), (0, 30)]


@pytest.mark.parametrize(("b", "c"), TABLES)
def test_mcnemar_is_a_binomial_test_of_the_discordant_pairs(b, c):
    result = stats.mcnemar(*_answers(b, c))
    assert (result.only_first, result.only_second) == (b, c)
    expected = scipy_stats.binomtest(b, b + c).pvalue if b + c else 1
    assert result.exact == pytest.approx(expected)
    # Mid-p written out: outcomes rarer than this one, and half of those just as rare.
    coins = b + c
    pmf = scipy_stats.binom.pmf(np.arange(coins + 1), coins, 0.5)
    distance = np.abs(2 * np.arange(coins + 1) - coins)
    observed = abs(b - c)
    mid = pmf[distance > observed].sum() + 0.5 * pmf[distance == observed].sum()
    if b == c:
        # Fagerland's definition: 2 * one-sided exact p - point probability.
        mid = 1 - 0.5 * pmf[distance == observed].sum() if coins else 1
    assert result.mid_p == pytest.approx(mid)
    assert result.mid_p <= result.exact


def test_mcnemar_is_the_published_example():
    """Fagerland et al. 2013, table 1: 1 and 7 discordant of 21; exact 0.070, mid-p 0.039."""
    result = stats.mcnemar(*_answers(1, 7, both=8, neither=5))
    assert result.exact == pytest.approx(0.0703, abs=1e-4)
    assert result.mid_p == pytest.approx(0.0391, abs=1e-4)


def test_mcnemar_is_symmetric_in_the_systems():
    first, second = _answers(4, 9)
    one, two = stats.mcnemar(first, second), stats.mcnemar(second, first)
    assert (one.exact, one.mid_p) == (two.exact, two.mid_p)
    with pytest.raises(ValueError, match=r"first \(21,\) and second \(20,\)"):
        stats.mcnemar(first, second[1:])


@pytest.mark.parametrize(("b", "c"), TABLES)
def test_sign_flip_test_of_single_recordings_is_mcnemars_exact_test(b, c):
    first, second = _answers(b, c)
    groups = [f"artist {i}" for i in range(len(first))]
    assert stats.sign_flip_test(first, second, groups) == pytest.approx(
        stats.mcnemar(first, second).exact
    )


@pytest.mark.parametrize("seed", range(5))
def test_sign_flip_test_counts_all_exchanges(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 30)) < [[0.8], [0.5]]
    groups = rng.integers(0, 9, 30).astype(str)
    sums = [(first[groups == g].astype(int) - second[groups == g]).sum() for g in set(groups)]
    signs = np.array(list(np.ndindex(*[2] * len(sums)))) * 2 - 1
    expected = (np.abs(signs @ sums) >= abs(sum(sums))).mean()
    assert stats.sign_flip_test(first, second, groups) == pytest.approx(expected)


def test_sign_flip_test_keeps_its_level_where_mcnemar_does_not():
    """Two equal systems, ten recordings an artist, all right or wrong together."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10).astype(str)
    rejected = {"coins": 0, "groups": 0}
    for _ in range(300):
        first, second = np.repeat(rng.random((2, 20)) < 0.7, 10, axis=1)
        rejected["coins"] += stats.mcnemar(first, second).exact < 0.05
        rejected["groups"] += stats.sign_flip_test(first, second, groups) < 0.05
    assert rejected["groups"] / 300 < 0.08
    assert rejected["coins"] / 300 > 0.3


@pytest.mark.parametrize("seed", range(4))
def test_sign_flip_interval_holds_the_differences_that_no_sign_flip_test_rejects(seed):
    """All exchanges of eight artists, written out, at differences just inside and outside."""
    rng = np.random.default_rng(seed)
    groups = np.sort(np.append(np.arange(8), rng.integers(0, 8, 24)))
    first, second = rng.random((2, 32)) < [[0.5], [0.7]]
    sums = np.array(
        [(second[groups == g].astype(int) - first[groups == g]).sum() for g in range(8)]
    )
    sizes = np.bincount(groups)
    signs = np.array(list(np.ndindex(*[2] * 8))) * 2 - 1

    def p(difference):
        rest = sums - difference * sizes
        return (np.abs(signs @ rest) >= abs(rest.sum()) - 1e-9).mean()

    low, high = stats.sign_flip_interval(first, second, groups)
    assert p(low) >= 0.05 and p(high) >= 0.05
    assert p(low - 1e-6) < 0.05 and p(high + 1e-6) < 0.05
    assert (low <= 0 <= high) == (stats.sign_flip_test(first, second, groups) >= 0.05)


@pytest.mark.parametrize("seed", range(6))
def test_sign_flip_interval_of_single_recordings_agrees_with_mcnemars_mid_p(seed):
    """From exact tables and, for the larger ones, from random subsets."""
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 40 * 3**seed)) < [[0.6], [0.6 + 0.25 / 1.6**seed]]
    low, high = stats.sign_flip_interval(first, second)
    assert (low <= 0 <= high) == (stats.mcnemar(first, second).mid_p >= 0.05)
    difference = second.astype(float) - first
    expected = scipy_stats.t.interval(
        0.95, len(first) - 1, difference.mean(), scipy_stats.sem(difference)
    )
    np.testing.assert_allclose((low, high), expected, atol=0.1 * (high - low))


def test_sign_flip_interval_is_none_of_five_artists_and_of_equal_differences():
    right, wrong = np.ones(20, bool), np.zeros(20, bool)
    mixed = np.arange(20) % 3 > 0
    assert stats.sign_flip_interval(mixed, right, np.repeat(range(5), 4)) is None
    assert stats.sign_flip_interval(mixed, right, np.arange(20) // 3) is not None
    assert stats.sign_flip_interval(right, wrong, np.repeat(range(10), 2)) is None
    assert stats.sign_flip_interval(right, right) is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("grouped", [True, False])
def test_paired_interval_contains_0_where_the_test_does_not_reject(seed, grouped):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 48)) < [[0.5], [0.5 + seed / 20]]
    groups = np.arange(48) // 4 if grouped else None
    inverted = stats.sign_flip_interval(first, second, groups)
    low, high = stats.paired_interval(first, second, groups)
    wide = intervals.difference_interval(second.astype(float) - first, groups)
    assert (low <= 0 <= high) == (inverted[0] <= 0 <= inverted[1])
    assert low <= inverted[0] and high >= inverted[1]
    assert low in (inverted[0], wide[0]) and high in (inverted[1], wide[1])


def test_paired_interval_reaches_past_0_where_no_group_favours_the_other_system():
    first, second = np.ones(40, bool), np.arange(40) > 1
    groups = np.repeat(np.arange(8), 5)
    assert stats.sign_flip_interval(first, second, groups)[1] == 0
    assert stats.paired_interval(first, second, groups)[1] > 0.05
    assert stats.paired_interval(first, second, np.repeat(np.arange(5), 8)) is None


def test_sign_flip_test_names_groups_of_another_length():
    with pytest.raises(ValueError, match="groups has 1 values for 2 recordings"):
        stats.sign_flip_test(np.ones(2, bool), np.ones(2, bool), ["a"])


def test_holm_is_written_out():
    """Holm (1979): the i-th smallest of m is multiplied by m - i + 1, and never falls."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.2]) == [0.2]
    assert stats.holm([]) == []
    assert stats.holm([0.9, 0.8]) == [1, 1]
    with pytest.raises(ValueError, match="p_values"):
        stats.holm([0.5, 1.2])


@pytest.mark.parametrize("seed", range(5))
def test_holm_lies_between_no_correction_and_bonferroni(seed):
    values = np.random.default_rng(seed).random(7) ** 3
    adjusted = np.array(stats.holm(values))
    assert (adjusted >= values).all()
    assert (adjusted <= np.minimum(1, 7 * values) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(values)]) >= 0).all()


@pytest.mark.parametrize(("difference", "discordant"), [(0.05, 0.2), (0.1, 0.3), (0.1, 0.15)])
def test_needed_n_has_the_power_that_it_promises(difference, discordant):
    n = stats.needed_n(difference, discordant=discordant)
    rng = np.random.default_rng(0)
    b_share, c_share = (discordant + difference) / 2, (discordant - difference) / 2
    draws = rng.multinomial(n, [b_share, c_share, 1 - b_share - c_share], size=4000)
    b, c = draws[:, 0], draws[:, 1]
    # McNemar's asymptotic test, which the formula is for.
    detected = (b - c) ** 2 / np.maximum(b + c, 1) > scipy_stats.norm.ppf(0.975) ** 2
    assert detected.mean() == pytest.approx(0.8, abs=0.03)


def test_needed_n_is_connors_formula():
    za, zb = scipy_stats.norm.ppf([0.975, 0.9])
    expected = (za * 0.5 + zb * (0.25 - 0.01) ** 0.5) ** 2 / 0.01
    assert stats.needed_n(0.1, discordant=0.25, power=0.9) == np.ceil(expected)
    assert stats.needed_n(0.1, discordant=0.0) == stats.needed_n(0.1, discordant=0.1)


@pytest.mark.parametrize("n", [4, 10, 60, 290, 1000])
@pytest.mark.parametrize("discordant", [0.0, 0.1, 0.4, 1.0])
def test_smallest_difference_is_the_inverse_of_needed_n(n, discordant):
    value = stats.smallest_difference(n, discordant=discordant)
    assert 0 < value <= 1
    assert stats.needed_n(value, discordant=discordant) <= n
    assert stats.needed_n(value * 0.97, discordant=discordant) >= n


def test_smallest_difference_is_none_where_nothing_can_be_detected():
    assert stats.smallest_difference(3, discordant=0.5) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"difference": 0.0, "discordant": 0.1}, "difference 0.0"),
        ({"difference": 0.1, "discordant": 1.1}, "discordant 1.1"),
        ({"difference": 0.1, "discordant": 0.1, "power": 1.0}, "power 1.0"),
        ({"difference": 0.1, "discordant": 0.1, "alpha": 0.0}, "alpha 0.0"),
    ],
)
def test_needed_n_names_a_bad_argument(settings, message):
    with pytest.raises(ValueError, match=message):
        stats.needed_n(**settings)
    with pytest.raises(ValueError, match="n 0"):
        stats.smallest_difference(0, discordant=0.1)


def test_design_effect_is_the_size_of_groups_that_agree():
    values = np.random.default_rng(0).random(12)
    assert stats.design_effect(values, list(range(12))) == pytest.approx(1)
    assert stats.design_effect(np.repeat(values, 5), np.repeat(range(12), 5)) == pytest.approx(5)
    assert stats.design_effect(np.ones(3), ["a", "a", "b"]) == 1


def test_design_effect_of_groups_that_do_not_agree_is_near_1():
    values = np.random.default_rng(0).random(5000)
    assert stats.design_effect(values, np.repeat(range(1000), 5)) == pytest.approx(1, abs=0.1)
