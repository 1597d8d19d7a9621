"""Tests, sample sizes and intervals for accuracies; see also `intervals`."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from mgr_jax.evaluation import intervals
from mgr_jax.evaluation.intervals import group_sums
from mgr_jax.plural import plural

_MAX_SUBSETS = 2**14


class McNemar(NamedTuple):
    """Counts of the discordant recordings and two-sided p values; see `mcnemar`."""

    only_first: int
    only_second: int
    exact: float
    mid_p: float


def wilson_interval(successes: int, n: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return `intervals.wilson` of a proportion; `z` of 1.96 gives 95 %.

    Raises:
      ValueError: if not 0 <= successes <= n with n >= 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes {successes} and n {n}: need 0 <= successes <= n and n >= 1")
    low, high = intervals.wilson(successes / n, n, z)
    return float(low), float(high)


def describe_accuracy(successes: int, n: int, protocol: str) -> str:
    """Format an accuracy with interval, n and protocol: `78.3 % [66.4, 86.9] (n = 60, listed)`."""
    interval = describe_interval(wilson_interval(successes, n))
    return f"{100 * successes / n:.1f} % {interval} (n = {n}, {protocol})"


def describe(values: Mapping[str, Any], protocol: str) -> str:
    """Format an accuracy of `results.count`: the interval by artist first, Wilson's beside it.

    `63.3 % [45.7, 78.0] by artist (n = 60, 30 artists, listed; Wilson by track [50.7, 74.4])`.
    Where no artist repeats, the result of `describe_accuracy`. Below `intervals.MIN_GROUPS` artists
    the interval is said to be rough.
    """
    hits, n, by = values["num_correct"], values["n"], values.get("grouped_by", "track")
    if by == "track":
        return describe_accuracy(hits, n, protocol)
    wilson = f"Wilson by track {describe_interval(wilson_interval(hits, n))}"
    groups = f", {plural(values['num_groups'], by)}" if "num_groups" in values else ""
    if not values.get("ci95"):
        return (
            f"{100 * hits / n:.1f} % (n = {n}{groups}, {protocol}; no interval by {by}; {wilson})"
        )
    few = values.get("num_groups", intervals.MIN_GROUPS) < intervals.MIN_GROUPS
    interval = f"{describe_interval(values['ci95'])} by {by}{', roughly' if few else ''}"
    return f"{100 * hits / n:.1f} % {interval} (n = {n}{groups}, {protocol}; {wilson})"


def describe_interval(interval: Sequence[float]) -> str:
    """Format the ends of an interval of a share in percent: `[66.4, 86.9]`."""
    low, high = interval
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Return McNemar's test of two systems on the same recordings: bool [N] each, true if right.

    Only the discordant recordings count, which one system has right and the other wrong; under the
    null hypothesis each favours either system with probability 1/2. The mid-p value counts half of
    the probability of the observed outcome, and is recommended over the exact one, which is
    conservative (Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs
    data", doi 10.1186/1471-2288-13-91).

    Raises:
      ValueError: if `first` and `second` differ in shape.
    """
    first, second = _pair(first, second)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    coins, smaller = only_first + only_second, min(only_first, only_second)
    tail = scipy_stats.binom.cdf(smaller, coins, 0.5)
    mid = 2 * tail - scipy_stats.binom.pmf(smaller, coins, 0.5)
    if only_first == only_second:  # Both tails include the observed outcome.
        mid = 1 - 0.5 * scipy_stats.binom.pmf(smaller, coins, 0.5) if coins else 1.0
    return McNemar(only_first, only_second, min(1.0, float(2 * tail)), float(mid))


def sign_flip_test(first: np.ndarray, second: np.ndarray, groups: intervals.Groups) -> float:
    """Return the two-sided p value of McNemar's exact test for recordings in groups.

    Predictions for recordings of one artist are correlated, so that the two systems are exchanged
    for whole groups, which changes nothing under the null hypothesis. The distribution of the
    difference over all 2^G exchanges is computed exactly, by convolution. With groups of one
    recording this is McNemar's exact test.

    Args:
      first, second: bool [N], true where the system is right.
      groups: name of the group of each recording [N].

    Raises:
      ValueError: if the arguments differ in length.
    """
    first, second = _pair(first, second)
    sums = group_sums(first.astype(int) - second, groups).astype(int)
    # The probabilities of the sums -total, ..., total.
    probabilities = np.ones(1)
    for size in np.abs(sums[sums != 0]):
        signs = np.zeros(2 * size + 1)
        signs[[0, -1]] = 0.5
        probabilities = np.convolve(probabilities, signs)
    distance = np.abs(np.arange(len(probabilities)) - len(probabilities) // 2)
    return min(1.0, float(probabilities[distance >= abs(sums.sum())].sum()))


def sign_flip_interval(
    first: np.ndarray,
    second: np.ndarray,
    groups: intervals.Groups | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the differences, second minus first, that the deciding test does not reject.

    It contains 0 if and only if the p value of `sign_flip_test`, or of `mcnemar` (mid-p) without
    groups, is at least 1 - confidence. Its ends are among the mean differences of all subsets of
    the groups (Hartigan 1969, "Using subsample values as typical values", doi
    10.1080/01621459.1969.10501057). Where there are more than 2^14 different subsets, as many
    random ones replace them.

    Args:
      first, second: bool [N], true where the system is right.
      groups: name of the group of each recording [N]; None if each recording is its own group.
      confidence: probability that the interval covers the truth.
      seed: seed of the random subsets.

    Returns:
      The ends; None if the groups are so few that no difference is rejected, or if the difference
      is the same in all groups.
    """
    first, second = _pair(first, second)
    mid = groups is None
    if groups is None:
        p, groups = mcnemar(first, second).mid_p, np.arange(len(first))
    else:
        p = sign_flip_test(first, second, groups)
    difference = second.astype(int) - first
    totals = group_sums(np.stack([difference, np.ones_like(difference)], axis=1), groups)
    # Groups of equal sum and size are interchangeable: a subset is how many of each kind it has.
    kinds, counts = np.unique(totals, axis=0, return_counts=True)
    if math.prod(int(count) + 1 for count in counts) <= _MAX_SUBSETS:
        chosen = [np.arange(count + 1) for count in counts]
        sums, sizes = (
            functools.reduce(np.add.outer, map(np.multiply, chosen, column)).ravel()
            for column in kinds.T
        )
        chances = map(scipy_stats.binom.pmf, chosen, counts, [0.5] * len(counts))
        weight = functools.reduce(np.multiply.outer, chances).ravel()
    else:
        rng = np.random.default_rng(seed)
        sums, sizes = (rng.binomial(counts, 0.5, (_MAX_SUBSETS, len(counts))) @ kinds).T
        weight = np.full(_MAX_SUBSETS, 1 / _MAX_SUBSETS)
    means, index = np.unique(sums[sizes > 0] / sizes[sizes > 0], return_inverse=True)
    weight, empty = np.bincount(index, weight[sizes > 0]), weight[sizes == 0].sum()
    if len(means) == 1:
        return None
    # One-sided p values, whose mid-p variant counts half of the ties, at each mean.
    below = np.cumsum(weight) + empty - mid * (weight + empty) / 2
    above = np.cumsum(weight[::-1])[::-1] + empty - mid * (weight + empty) / 2
    level = 1 - confidence
    tied = weight[means == 0].sum() + empty
    tails = weight[means < 0].sum(), weight[means > 0].sum()
    drawn = 2 * (min(tails) + tied - mid * tied / 2)
    if (drawn < level) != (p < level):  # Random subsets disagree with the exact p value at 0.
        level *= drawn / p
    inside = (2 * below >= level) & (2 * above >= level)
    if empty >= level / (2 - mid) or not inside.any():
        return None
    return float(means[inside][0]), float(means[inside][-1])


def paired_interval(
    first: np.ndarray, second: np.ndarray, groups: intervals.Groups | None = None
) -> tuple[float, float] | None:
    """Return the 95 % interval of the difference, second minus first, of two accuracies.

    It is that of `sign_flip_interval`, which ends at 0 or near it where few groups or none favour
    one of the systems, widened to `intervals.difference_interval`. Where the test rejects 0, the
    end next to 0 stays: the interval contains 0 if and only if the test does not reject it.

    Args:
      first, second: bool [N], true where the system is right.
      groups: name of the group of each recording [N]; None if each recording is its own group.

    Returns:
      The ends; None where `sign_flip_interval` has none.
    """
    inverted = sign_flip_interval(first, second, groups)
    first, second = _pair(first, second)
    wide = intervals.difference_interval(second.astype(float) - first, groups)
    if inverted is None or wide is None:
        return None
    low, high = inverted
    return low if low > 0 else min(low, wide[0]), high if high < 0 else max(high, wide[1])


def design_effect(values: np.ndarray, groups: intervals.Groups) -> float:
    """Return the factor by which grouping raises the variance of a mean (Kish 1965).

    It is 1 for groups of one recording and m for groups of m equal values: N recordings are worth
    N / design effect independent ones.

    Args:
      values: one number for each recording [N].
      groups: name of the group of each recording [N].
    """
    residuals = np.asarray(values, float) - np.mean(values)
    if not residuals.any():
        return 1.0
    return float((group_sums(residuals, groups) ** 2).sum() / (residuals**2).sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for multiple testing (Holm 1979), in the order given.

    If adjusted values below 0.05 are called significant, the probability that any of them is a
    false positive is below 5 %.

    Raises:
      ValueError: if a value lies outside [0, 1].
    """
    values = np.asarray(p_values, float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values {list(p_values)}: need values in [0, 1]")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted.tolist()


def needed_n(
    difference: float, *, discordant: float, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Return the number of recordings that detect a difference of two paired accuracies.

    The formula of Connor (1987, "Sample size for testing differences in proportions for the
    paired-sample design", Biometrics 43), for independent recordings.

    Args:
      difference: difference of the accuracies, in (0, 1].
      discordant: share of the recordings that one system has right and the other wrong; at least
        `difference`, to which it is raised.
      power: probability of detecting the difference.
      alpha: probability of detecting one where there is none.

    Raises:
      ValueError: if an argument is out of range.
    """
    _check_rates(discordant=discordant, power=power, alpha=alpha)
    if not 0 < difference <= 1:
        raise ValueError(f"difference {difference}: need 0 < difference <= 1")
    return math.ceil(_connor(difference, discordant, power, alpha))


def smallest_difference(
    n: int, *, discordant: float, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Return the smallest difference that `n` recordings detect, or None if they detect none.

    The inverse of `needed_n`.

    Raises:
      ValueError: if an argument is out of range.
    """
    _check_rates(discordant=discordant, power=power, alpha=alpha)
    if n < 1:
        raise ValueError(f"n {n}: need n >= 1")
    if _connor(1.0, discordant, power, alpha) > n:
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _connor(middle, discordant, power, alpha) <= n:
            high = middle
        else:
            low = middle
    return high


def _connor(difference: float, discordant: float, power: float, alpha: float) -> float:
    share = max(discordant, difference)
    under_null = scipy_stats.norm.ppf(1 - alpha / 2) * math.sqrt(share)
    under_alternative = scipy_stats.norm.ppf(power) * math.sqrt(share - difference**2)
    return float(((under_null + under_alternative) / difference) ** 2)


def _check_rates(*, discordant: float, power: float, alpha: float) -> None:
    if not 0 <= discordant <= 1:
        raise ValueError(f"discordant {discordant}: need 0 <= discordant <= 1")
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"{name} {value}: need 0 < {name} < 1")


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"first {first.shape} and second {second.shape}: need equal shapes [N]")
    return first, second
