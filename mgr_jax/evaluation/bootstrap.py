"""Bootstrap intervals over recordings, by groups (artists) where recordings come in groups.

Whole groups are drawn, with replacement: the recordings of one artist resemble each other, so that
a hundred of them say less than a hundred artists do. What is resampled is a *sum* over recordings
of any additive quantities, from which a statistic (a share, F1, a mean over classes) is computed.
"""

from collections.abc import Callable, Sequence

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
    """Interval of `statistic`, lower and upper end `[2, ...]`.

    Percentiles, with the levels widened for few groups as by a t distribution (the "expanded
    percentile" interval of Hesterberg 2015, "What teachers should know about the bootstrap",
    doi 10.1080/00031305.2015.1089789). Resamples in which the statistic is not finite are left
    out; an end is NaN where it never is, or where all groups are one.

    Args:
      values: additive quantities of the recordings `[N, ...]`.
      statistic: from their sums to what is wanted.
      groups: name of the group of each recording `[N]`; None where each stands for itself.
      confidence: chance that the interval holds the truth.
      num_resamples: resamples drawn.
      seed: seed of the draw; the same seed gives the same interval.

    Raises:
      ValueError: if there are no recordings, or an argument is out of range.
    """
    values = np.asarray(values, float)
    if not len(values):
        raise ValueError("values is empty: need one recording or more")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: need 0 < confidence < 1")
    totals = _totals(values, groups)
    drawn = np.concatenate(
        [statistic(sums) for sums in _resamples(totals, num_resamples=num_resamples, seed=seed)]
    )
    if len(totals) == 1:
        return np.full((2, *drawn.shape[1:]), np.nan)
    levels = _expanded(confidence, len(totals))
    finite = np.isfinite(drawn)
    if finite.all():
        return np.quantile(drawn, levels, axis=0)
    columns, kept = drawn.reshape(len(drawn), -1), finite.reshape(len(drawn), -1)
    ends = [
        np.quantile(column[keep], levels) if keep.any() else np.full(2, np.nan)
        for column, keep in zip(columns.T, kept.T, strict=True)
    ]
    return np.stack(ends, axis=1).reshape(2, *drawn.shape[1:])


def mean_interval(
    values: np.ndarray, *, groups: Sequence[str] | None = None, **settings: float
) -> tuple[float, float] | None:
    """Interval of the mean over recordings, `[N]`: of an accuracy, if the values are 0 and 1.

    For the difference of two systems on the same recordings, give the differences: the paired
    bootstrap. None where all recordings agree or are of one group: resampling tells nothing then.

    Args:
      values: one number for each recording `[N]`.
      groups: see `interval`, as the other settings.

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


def _totals(values: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Sums by group `[G, ...]`."""
    if groups is None:
        return values
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(index) != len(values):
        raise ValueError(f"groups has {len(index)} values for {len(values)} recordings")
    totals = np.zeros((len(names), *values.shape[1:]))
    np.add.at(totals, index, values)
    return totals


def _resamples(totals: np.ndarray, *, num_resamples: int, seed: int):
    """Sums `[R, ...]` over G groups drawn from G, some resamples at a time."""
    rng, num_groups = np.random.default_rng(seed), len(totals)
    flat = totals.reshape(num_groups, -1)
    for first in range(0, num_resamples, _CHUNK):
        count = min(_CHUNK, num_resamples - first)
        drawn = rng.integers(num_groups, size=(count, num_groups))
        cells = drawn + num_groups * np.arange(count)[:, None]
        times = np.bincount(cells.ravel(), minlength=count * num_groups)
        sums = times.reshape(count, num_groups).astype(float) @ flat
        yield sums.reshape(count, *totals.shape[1:])


def _expanded(confidence: float, num_groups: int) -> tuple[float, float]:
    t = scipy_stats.t.ppf((1 + confidence) / 2, num_groups - 1)
    tail = scipy_stats.norm.cdf(-t * np.sqrt(num_groups / (num_groups - 1)))
    return tail, 1 - tail
