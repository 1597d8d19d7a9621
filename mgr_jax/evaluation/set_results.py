"""How often sets of genres hold the right one, and how large they are; see `conformal`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.evaluation import conformal, intervals, results


def measure(
    log_probabilities: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    tracks: conformal.Calibration,
    *,
    groups: intervals.Groups,
    grouped_by: str,
) -> list[dict[str, Any]]:
    """Return how often the sets hold the genre and how large they are, for each of `COVERAGES`.

    Args:
      log_probabilities: those of the tracks at the temperature of the model [N, C].
      truth: classes, int [N]. labels: names of the classes [C].
      tracks: calibration tracks.
      groups: name of the group of each track [N]. grouped_by: see `results.measure`.

    Returns:
      For each coverage JSON values: `held`, the `results.count` of the tracks whose set holds their
      genre; `by_group`, the same share and its interval with each artist counting once, which is
      what is guaranteed; `mean_size` and `mean_size_ci95` of the sets; `single`, the count of the
      sets of one genre that are right; and `held` and `mean_size` of each class, in `per_class`.
    """
    groups, num_classes = np.asarray(groups), len(labels)
    rows = []
    for coverage in conformal.COVERAGES:
        rule = conformal.make_rule(tracks, coverage, num_classes=num_classes)
        inside = conformal.members(log_probabilities, rule)
        held, sizes = inside[np.arange(len(truth)), truth], inside.sum(axis=1)
        single, classes = sizes == 1, [truth == label for label in range(num_classes)]
        per_class = {
            name: {
                "held": results.count(held[own], groups[own], grouped_by=grouped_by),
                "mean_size": float(sizes[own].mean()),
            }
            if own.any()
            else None
            for name, own in zip(labels, classes, strict=True)
        }
        rows.append(
            {
                "coverage": coverage,
                "guarantee": conformal.describe(tracks, rule),
                "held": results.count(held, groups, grouped_by=grouped_by),
                "by_group": _by_group(held, groups),
                "mean_size": float(sizes.mean()),
                "mean_size_ci95": mean_size_interval(sizes, groups, num_classes=num_classes),
                "single": results.count(held[single], groups[single], grouped_by=grouped_by)
                if single.any()
                else None,
                "per_class": per_class,
            }
        )
    return rows


def mean_size_interval(
    sizes: np.ndarray, groups: intervals.Groups, *, num_classes: int
) -> list[float] | None:
    """Return the 95 % interval of the mean size of sets of at most C genres; None for one group.

    That of `intervals.difference_interval`, for sizes scaled to [-1, 1].
    """
    if num_classes < 2:
        return None
    half = (num_classes - 1) / 2
    ends = intervals.difference_interval((sizes - 1) / half - 1, groups)
    return ends and [1 + half * (1 + end) for end in ends]


def _by_group(held: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Return the mean over groups of the share of tracks that are covered, and its interval."""
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / sizes[index]
    pairs = np.stack([weights * held, weights], axis=1)
    low, high = intervals.share_interval(pairs, intervals.ratio, groups=groups, counted=weights)
    ends = None if np.isnan(low) else [float(low), float(high)]
    return {"share": float(pairs[:, 0].sum() / len(sizes)), "ci95": ends, "num_groups": len(sizes)}
