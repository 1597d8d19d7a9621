"""Intervals, tests and sample sizes for accuracies; `bootstrap` has the resampled intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats


class McNemar(NamedTuple):
    """Two-sided p values that two systems are right equally often; see `mcnemar`."""

    only_first: int
    only_second: int
    exact: float
    mid_p: float


def wilson_interval(successes: int, n: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); `z` of 1.96 gives 95 %.

    Unlike p +- z * sd, it stays inside [0, 1] and covers as promised for small n.

    Raises:
      ValueError: if not 0 <= successes <= n with n >= 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes {successes} and n {n}: need 0 <= successes <= n and n >= 1")
    share, squared = successes / n, z * z
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = z / (1 + squared / n) * math.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def describe_accuracy(successes: int, n: int, protocol: str) -> str:
    """`78.3 % [66.4, 86.9] (n = 60, listed)`: no accuracy goes without these."""
    low, high = wilson_interval(successes, n)
    return f"{100 * successes / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}] (n = {n}, {protocol})"


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's test of two systems on the same recordings: bool `[N]` each, true where right.

    Only recordings that one of them has right and the other wrong say anything; under the null
    hypothesis each falls to either side like a coin. The mid-p value counts the outcome itself by
    half, and is recommended over the exact one, which is too cautious (Fagerland, Lydersen and
    Laake 2013, "The McNemar test for binary matched-pairs data", doi 10.1186/1471-2288-13-91).

    Raises:
      ValueError: if `first` and `second` differ in shape.
    """
    first, second = _pair(first, second)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    coins, smaller = only_first + only_second, min(only_first, only_second)
    tail = scipy_stats.binom.cdf(smaller, coins, 0.5)
    mid = 2 * tail - scipy_stats.binom.pmf(smaller, coins, 0.5)
    if only_first == only_second:  # Both tails hold the outcome itself.
        mid = 1 - 0.5 * scipy_stats.binom.pmf(smaller, coins, 0.5) if coins else 1.0
    return McNemar(only_first, only_second, min(1.0, float(2 * tail)), float(mid))


def sign_flip_test(first: np.ndarray, second: np.ndarray, groups: Sequence[str]) -> float:
    """McNemar's exact test for recordings that come in groups: the two-sided p value.

    Recordings of one artist are right or wrong together, so the coin is tossed for each group:
    under the null hypothesis the names of the two systems may be exchanged in any group. The
    distribution of the difference over all 2^G exchanges is computed exactly, by convolution.
    With groups of one recording this is McNemar's exact test.

    Args:
      first: bool `[N]`, true where the first system is right.
      second: likewise.
      groups: name of the group of each recording `[N]`.

    Raises:
      ValueError: if the arguments differ in length.
    """
    first, second = _pair(first, second)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(index) != len(first):
        raise ValueError(f"groups has {len(index)} values for {len(first)} recordings")
    sums = np.zeros(len(names), int)
    np.add.at(sums, index, first.astype(int) - second)
    sizes = np.abs(sums[sums != 0])
    # Chances of the sums -total, ..., total.
    chances = np.ones(1)
    for size in sizes:
        coin = np.zeros(2 * size + 1)
        coin[[0, -1]] = 0.5
        chances = np.convolve(chances, coin)
    distance = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return min(1.0, float(chances[distance >= abs(sums.sum())].sum()))


def design_effect(values: np.ndarray, groups: Sequence[str]) -> float:
    """By how much grouping raises the variance of a mean over recordings (Kish 1965).

    `[N]` values of recordings in named groups; 1 where each stands for itself, m for groups of m
    equal values. N recordings say as much as N / design effect independent ones.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    residuals = np.asarray(values, float) - np.mean(values)
    if not residuals.any():
        return 1.0
    return float((np.bincount(index, residuals) ** 2).sum() / (residuals**2).sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for having looked at several (Holm 1979), in the order given.

    An adjusted value below 0.05 is a difference; the chance that any such finding is false stays
    below 5 %.

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
    """Recordings needed to see a difference of two accuracies on the same recordings.

    The formula of Connor (1987, "Sample size for testing differences in proportions for the
    paired-sample design", Biometrics 43), for independent recordings.

    Args:
      difference: difference of the accuracies, in (0, 1].
      discordant: share of the recordings that one system has right and the other wrong. It cannot
        be smaller than the difference, and is raised to it.
      power: chance that the difference is found.
      alpha: chance that one is found where there is none.

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
    """The inverse of `needed_n`: the least difference that `n` recordings show.

    None where `n` is too small for any.

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
        low, high = (
            (low, middle) if _connor(middle, discordant, power, alpha) <= n else (middle, high)
        )
    return high


def _connor(difference: float, discordant: float, power: float, alpha: float) -> float:
    share = max(discordant, difference)
    under_null = scipy_stats.norm.ppf(1 - alpha / 2) * math.sqrt(share)
    otherwise = scipy_stats.norm.ppf(power) * math.sqrt(share - difference**2)
    return ((under_null + otherwise) / difference) ** 2


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
