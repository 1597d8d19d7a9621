"""Confidence intervals for recordings that come in groups, such as those of one artist.

The recordings of an artist resemble each other, so that a hundred of them tell less than a hundred
artists. Variances are those of the jackknife over groups (MacKinnon, Nielsen and Webb 2023, "Fast
and reliable jackknife and bootstrap methods for cluster-robust inference", doi 10.1002/jae.2969),
quantiles those of Student's t with one degree of freedom less than there are groups, and less yet
where they differ in size. `README.md` in this folder has the simulated coverage of each method.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats as scipy_stats

# From fewer groups, an interval is a rough guide.
MIN_GROUPS = 6
# Changes that are not more than rounding.
_TINY = 1e-9

# Name of the group of each recording.
Groups = Sequence[str] | np.ndarray
# Sums over recordings `[R, ...]` -> statistic `[R, ...]`, of R sums at once.
Statistic = Callable[[np.ndarray], np.ndarray]


def wilson(share: np.ndarray | float, n: np.ndarray | float, z: np.ndarray | float) -> np.ndarray:
    """Return the ends [2, ...] of Wilson's score interval of shares of `n` (Wilson 1927).

    They are the p with |share - p| = z * sqrt(p (1 - p) / n). Unlike p +- z * sd, the interval
    stays inside [0, 1] and keeps its coverage for small n.
    """
    squared = np.square(z) / n
    centre = (share + squared / 2) / (1 + squared)
    half = np.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return np.clip([centre - half, centre + half], 0.0, 1.0)


def share_interval(
    values: np.ndarray,
    statistic: Statistic,
    *,
    groups: Groups | None = None,
    counted: np.ndarray | None = None,
    confidence: float = 0.95,
) -> np.ndarray:
    """Return the lower and upper end of the interval of a statistic in [0, 1], [2, ...].

    Wilson's interval at the effective number of recordings, as surveys use it for clustered samples
    (Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of
    positive counts", Survey Methodology 24; Franco, Little, Louis and Slud 2019, PMC6690503). That
    number is n divided by the design effect, the jackknife variance relative to that of independent
    recordings. Where few groups lie on one side of the mean, this variance is little known, so that
    the design effect is averaged with its largest value, that of groups whose recordings are all
    alike, which has the weight of one group on that side. Where all groups agree, each counts as
    one recording. The degrees of freedom of Student's t are those of the design effect
    (Satterthwaite 1946, "An approximate distribution of estimates of variance components",
    Biometrics Bulletin 2), at most one less than the number of groups, of which those of unequal
    size count as fewer (Kish 1965, "Survey Sampling").

    Args:
      values: additive quantities of the recordings [N, ...].
      statistic: function from their sums to the statistic; NaN where it is not defined.
      groups: name of the group of each recording [N]; None if each recording is its own group.
      counted: bool [N, ...], whether a recording takes part in each statistic; None if all do.
      confidence: probability that the interval covers the truth.

    Returns:
      The ends; NaN for a statistic in which fewer than two groups take part.

    Raises:
      ValueError: if there are no recordings, or an argument is out of range.
    """
    values = np.asarray(values, float)
    _check(values, confidence)
    estimate, changes = leave_out(values, statistic, groups=groups)
    if counted is None:
        counted = np.ones((len(values), *estimate.shape))
    sizes = np.asarray(counted, float) if groups is None else group_sums(counted, groups)
    effect, degrees = _design_effect(estimate, changes, sizes)
    t = scipy_stats.t.ppf((1 + confidence) / 2, degrees)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = wilson(estimate, sizes.sum(axis=0) / np.maximum(1, effect), t)
    return np.where((sizes > 0).sum(axis=0) > 1, ends, np.nan)


def accuracy_interval(
    correct: np.ndarray, groups: Groups | None = None
) -> tuple[float, float] | None:
    """Return the 95 % `share_interval` of an accuracy by group; None for a single group.

    Args:
      correct: whether each recording is recognised, bool [N].
      groups: name of the group of each recording [N]; None if each recording is its own group.
    """
    pairs = np.stack([np.asarray(correct, float), np.ones(len(correct))], axis=1)
    low, high = share_interval(pairs, ratio, groups=groups)
    return None if np.isnan(low) else (float(low), float(high))


def difference_interval(
    values: np.ndarray, groups: Groups | None = None, *, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval of the mean of paired differences, by group.

    Agresti and Min's interval (2005, "Simple improved confidence intervals for comparing matched
    proportions", doi 10.1002/sim.1781) at the effective number of recordings, which is that of
    `share_interval`, so that it has a width even where all groups agree.

    Args:
      values: one difference for each recording, in [-1, 1], [N].
      groups: name of the group of each recording [N]; None if each recording is its own group.
      confidence: probability that the interval covers the truth.

    Returns:
      The ends; None for a single group.

    Raises:
      ValueError: if there are no recordings, or an argument is out of range.
    """
    values = np.asarray(values, float)
    _check(values, confidence)
    if values.ndim != 1:
        raise ValueError(f"values has shape {values.shape}: need [N]")
    mean, square, effect, degrees = _mean_effect(values[:, None], groups)
    if np.isnan(effect):
        return None
    t = float(scipy_stats.t.ppf((1 + confidence) / 2, degrees))
    return _agresti_min(mean, square, len(values) / max(1.0, effect), t)


def two_way_interval(
    values: np.ndarray, groups: Groups | None = None, *, is_share: bool
) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean over recordings and over trainings.

    It covers the mean over other recordings, by other artists, and over other trainings. The
    variance is that between groups plus that between trainings. What both contain counts twice,
    which makes it an upper bound (Cameron, Gelbach and Miller 2011, "Robust inference with multiway
    clustering", doi 10.1198/jbes.2010.07136, subtract it). The quantile is the weighted mean of
    those of Student's t for the two variances (Cochran 1964, "Approximate significance levels of
    the Behrens-Fisher test", Biometrics 20).

    Args:
      values: one number for each recording and training [N, S], S of at least 2, in [-1, 1].
      groups: name of the group of each recording [N]; None if each recording is its own group.
      is_share: whether the mean is a share, whose interval is Wilson's as in `share_interval`, or
        one of differences, whose interval is Agresti and Min's as in `difference_interval`.

    Returns:
      The ends; None for a single group.

    Raises:
      ValueError: if `values` is empty, has one training only, or others than in [-1, 1].
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or not len(values) or values.shape[1] < 2:
        raise ValueError(f"values has shape {values.shape}: need [N, S] with S of at least 2")
    num_seeds = values.shape[1]
    mean, square, effect, degrees = _mean_effect(values, groups)
    if np.isnan(effect):
        return None
    independent = max(square - mean**2, _TINY)
    by_group = effect * independent / len(values)
    by_seed = float(values.mean(axis=0).var(ddof=1) / num_seeds)
    variance = by_group + by_seed
    squares = np.square(scipy_stats.t.ppf(0.975, [degrees, num_seeds - 1]))
    t = float(np.sqrt(squares @ [by_group, by_seed] / variance))
    n = min(independent / variance, values.size)
    low, high = wilson(mean, n, t) if is_share else _agresti_min(mean, square, n, t)
    return float(low), float(high)


def _agresti_min(mean: float, square: float, n: float, t: float) -> tuple[float, float]:
    """Return Agresti and Min's interval of a mean of `n` differences, from that of their squares.

    It is Wald's after half a difference of 1, half a one of -1, and one of 0 are added.
    """
    total = n + 2
    mean, square = mean * n / total, (square * n + 1) / total
    half = t * math.sqrt((square - mean**2) / total)
    return max(-1.0, mean - half), min(1.0, mean + half)


def _mean_effect(values: np.ndarray, groups: Groups | None) -> tuple[float, float, float, float]:
    """Return mean and mean square of values [N, S], the design effect and its degrees of freedom.

    The design effect, of the mean, is NaN for a single group.
    """
    if np.abs(values).max() > 1:
        raise ValueError(f"values has {np.abs(values).max():g} or its negative: need [-1, 1]")
    n = len(values)
    columns = np.stack([values.mean(axis=1), np.square(values).mean(axis=1), np.ones(n)], axis=1)
    estimate, changes = leave_out(columns, _mean_and_square, groups=groups)
    if len(changes) < 2:
        return float(estimate[0]), float(estimate[1]), np.nan, np.nan
    sizes = np.ones(n) if groups is None else group_sums(np.ones(n), groups)
    effect, degrees = _design_effect(
        estimate[0], changes[:, 0], sizes, square=estimate[1], square_changes=changes[:, 1]
    )
    return float(estimate[0]), float(estimate[1]), float(effect), float(degrees)


def _mean_and_square(sums: np.ndarray) -> np.ndarray:
    return np.stack([ratio(sums[..., [0, 2]]), ratio(sums[..., 1:])], axis=-1)


def _design_effect(
    estimate: np.ndarray,
    changes: np.ndarray,
    sizes: np.ndarray,
    *,
    square: np.ndarray | None = None,
    square_changes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the design effect of `share_interval` [...] and its degrees of freedom [...].

    The degrees of freedom are 2 / variance of the log of the design effect, to first order: the
    squared contributions of the groups to it, which are those to the log of the jackknife variance
    less those to that of independent recordings. So groups whose recordings are all right or all
    wrong lose none. Groups of unequal size contribute by their size as well, which errs on the wide
    side. What lies below a design effect of 1, the least that is used, counts for little.

    Args:
      estimate: means [...].
      changes: see `leave_out` [G, ...].
      sizes: number of recordings of each group that take part [G, ...].
      square, square_changes: the same for the mean square; None for shares, where it is the mean.
    """
    if square is None or square_changes is None:
        square, square_changes = estimate, changes
    n, num_groups = sizes.sum(axis=0), (sizes > 0).sum(axis=0)
    smaller_side = np.minimum((changes > _TINY).sum(axis=0), (changes < -_TINY).sum(axis=0))
    squares = np.square(changes)
    with np.errstate(divide="ignore", invalid="ignore"):
        num_equal = n**2 / np.square(sizes).sum(axis=0)
        independent = square - estimate**2
        effect = jackknife_variance(changes, num_groups) * n / independent
        of_variance = squares / squares.sum(axis=0) - (sizes > 0) / num_groups
        of_independent = (2 * estimate * changes - square_changes) / independent
        spread = np.square(of_variance - of_independent).sum(axis=0)
        degrees = 2 / spread / np.minimum(1, effect) ** 2
    largest = n / np.maximum(1, num_equal)
    effect = np.where(smaller_side > 0, effect, largest)
    degrees = np.where(smaller_side > 0, np.minimum(degrees, num_equal - 1), num_equal - 1)
    return (smaller_side * effect + largest) / (smaller_side + 1), np.maximum(1, degrees)


def leave_out(
    values: np.ndarray, statistic: Statistic, *, groups: Groups | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a statistic [...] and how leaving out each group changes it [G, ...].

    Args:
      values: additive quantities of the recordings [N, ...].
      statistic: function from their sums to the statistic.
      groups: name of the group of each recording [N]; None if each recording is its own group.
    """
    totals = values if groups is None else group_sums(values, groups)
    whole = totals.sum(axis=0)
    estimate = statistic(whole[None])[0]
    return estimate, statistic(whole - totals) - estimate


def jackknife_variance(changes: np.ndarray, num_groups: np.ndarray | int) -> np.ndarray:
    """Return the variance [...] of a statistic from the changes [G, ...] of `leave_out`.

    `num_groups` [...] is how many of the groups take part in it.
    """
    return (num_groups - 1) / num_groups * np.square(changes).sum(axis=0)


def ratio(sums: np.ndarray) -> np.ndarray:
    """Return the ratio of two sums [..., 2]; NaN if the second is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


def group_sums(values: np.ndarray, groups: Groups) -> np.ndarray:
    """Return the sums of `values` [N, ...] over the recordings of each group, [G, ...].

    Raises:
      ValueError: if the arguments differ in length.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(index) != len(values):
        raise ValueError(f"groups has {len(index)} values for {len(values)} recordings")
    totals = np.zeros((len(names), *np.shape(values)[1:]))
    np.add.at(totals, index, values)
    return totals


def _check(values: np.ndarray, confidence: float) -> None:
    if not len(values):
        raise ValueError("values is empty: need one recording or more")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: need 0 < confidence < 1")
