"""Bootstrap intervals over recordings, or over groups of them such as artists.

Whole groups are drawn with replacement, since the recordings of one artist resemble each other:
a hundred of them tell less than a hundred artists. The *sums* of additive quantities are
resampled, and a statistic (a share, F1, a mean over classes) is computed from them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

NUM_RESAMPLES = 10_000
_CHUNK = 500

# Sums over recordings `[R, ...]` -> statistic `[R, ...]`, of R resamples at once.
Statistic = Callable[[np.ndarray], np.ndarray]


def interval(
    values: np.ndarray,
    statistic: Statistic,
    *,
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return the lower and upper end of the interval of `statistic`, [2, ...].

    The percentile interval, with the levels widened for few groups as by a t distribution
    (Hesterberg 2015, "What teachers should know about the bootstrap", "expanded percentile"
    interval, doi 10.1080/00031305.2015.1089789). Resamples with a statistic that is not finite are
    left out; an end is NaN if no resample is left, or if there is only one group.

    Args:
      values: additive quantities of the recordings [N, ...].
      statistic: function from their sums to the statistic.
      groups: name of the group of each recording [N]; None if each recording is its own group.
      confidence: probability that the interval covers the truth.
      num_resamples: number of resamples.
      seed: seed of the resampling.

    Raises:
      ValueError: if there are no recordings, or an argument is out of range.
    """
    values = np.asarray(values, float)
    if not len(values):
        raise ValueError("values is empty: need one recording or more")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: need 0 < confidence < 1")
    totals = values if groups is None else group_sums(values, groups)
    statistics = np.concatenate(
        [statistic(sums) for sums in _resamples(totals, num_resamples=num_resamples, seed=seed)]
    )
    if len(totals) == 1:
        return np.full((2, *statistics.shape[1:]), np.nan)
    levels = _expanded_levels(confidence, len(totals))
    if np.isfinite(statistics).all():
        return np.quantile(statistics, levels, axis=0)
    ends = []
    for column in statistics.reshape(len(statistics), -1).T:
        finite = column[np.isfinite(column)]
        ends.append(np.quantile(finite, levels) if len(finite) else np.full(2, np.nan))
    return np.stack(ends, axis=1).reshape(2, *statistics.shape[1:])


def mean_interval(
    values: np.ndarray, *, groups: Sequence[str] | None = None, **settings: Any
) -> tuple[float, float] | None:
    """Return the interval of the mean over recordings, which is an accuracy for values 0 and 1.

    Differences between two systems on the same recordings give the paired bootstrap. The interval
    is None if all values are equal or there is only one group, where resampling has no spread.

    Args:
      values: one number for each recording [N].
      groups: see `interval`, also for `settings`.

    Raises:
      ValueError: see `interval`.
    """
    values = np.asarray(values, float)
    if values.ndim != 1:
        raise ValueError(f"values has shape {values.shape}: need [N]")
    if len(values) and (values == values[0]).all():
        return None
    pairs = np.stack([values, np.ones(len(values))], axis=1)
    low, high = interval(pairs, lambda s: s[..., 0] / s[..., 1], groups=groups, **settings)
    return None if np.isnan(low) else (float(low), float(high))


def group_sums(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return the sums of `values` [N, ...] over the recordings of each group, [G, ...].

    Raises:
      ValueError: if the arguments differ in length.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(index) != len(values):
        raise ValueError(f"groups has {len(index)} values for {len(values)} recordings")
    totals = np.zeros((len(names), *values.shape[1:]))
    np.add.at(totals, index, values)
    return totals


def _resamples(totals: np.ndarray, *, num_resamples: int, seed: int):
    """Yield sums [R, ...] over G groups drawn with replacement, for R resamples at a time."""
    rng, num_groups = np.random.default_rng(seed), len(totals)
    flat = totals.reshape(num_groups, -1)
    for first in range(0, num_resamples, _CHUNK):
        count = min(_CHUNK, num_resamples - first)
        drawn = rng.integers(num_groups, size=(count, num_groups))
        cells = drawn + num_groups * np.arange(count)[:, None]
        repeats = np.bincount(cells.ravel(), minlength=count * num_groups)
        sums = repeats.reshape(count, num_groups).astype(float) @ flat
        yield sums.reshape(count, *totals.shape[1:])


def _expanded_levels(confidence: float, num_groups: int) -> tuple[float, float]:
    t = scipy_stats.t.ppf((1 + confidence) / 2, num_groups - 1)
    tail = scipy_stats.norm.cdf(-t * np.sqrt(num_groups / (num_groups - 1)))
    return float(tail), float(1 - tail)
