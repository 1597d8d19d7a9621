"""The metrics of an evaluation with their intervals, as JSON values.

A value that is not defined, such as the ROC AUC of a class without tracks, is null, and
`undefined` has the reason. NaN would not be valid JSON, and 0 would be wrong.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.data import gtzan
from mgr_jax.evaluation import calibration, calibration_error, intervals, metrics, stats
from mgr_jax.plural import plural

CONFIDENCES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_TOP_K = (2, 3, 5)


def measure(
    scores: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    *,
    groups: intervals.Groups | None = None,
    grouped_by: str = "artist",
    temperature: float | None = None,
) -> dict[str, Any]:
    """Return all metrics of `scores`.

    Args:
      scores: log-probabilities of the tracks [N, C].
      truth: their classes, int [N].
      labels: names of the classes [C].
      groups: name of the group of each track [N]; None if each track is its own group.
      grouped_by: what a group is, `artist` or `recording`.
      temperature: see `calibration`; None if it was not fitted.
    """
    undefined: dict[str, str] = {}
    matrix = metrics.confusion_matrix(truth, scores.argmax(axis=1), len(labels))
    correct = scores.argmax(axis=1) == truth
    values = count(correct, groups, grouped_by=grouped_by)
    # None also if no group has two tracks.
    groups = None if values["grouped_by"] == "track" else np.asarray(groups)
    if values["ci95"] is None:
        undefined["ci95"] = f"all tracks are of {plural(1, grouped_by)}"
    values |= _class_metrics(matrix, scores, truth, labels, groups, undefined, grouped_by)
    values["top_k"] = {}
    for k in _TOP_K:
        if k < len(labels):
            hits = metrics.in_top_k(scores, truth, k=k)
            values["top_k"][str(k)] = count(hits, groups, grouped_by=grouped_by)
        else:
            undefined[f"top_k.{k}"] = f"there are no more than {k} classes"
    areas = metrics.roc_auc(scores, truth)
    defined = [area for area in areas if area is not None]
    for name, area in zip(labels, areas, strict=True):
        if area is None:
            undefined[f"roc_auc.{name}"] = "no track of this class, or none of another"
    values["roc_auc"] = {
        "macro": float(np.mean(defined)) if defined else None,
        "per_class": dict(zip(labels, areas, strict=True)),
    }
    values |= _probability_metrics(scores, truth, groups, undefined)
    values["calibrated"] = None
    calibrated = scores
    if temperature is None:
        undefined["calibrated"] = "no temperature was fitted for this checkpoint"
    else:
        calibrated = calibration.scale(scores, temperature)
        values["calibrated"] = {"temperature": temperature}
        values["calibrated"] |= _probability_metrics(
            calibrated, truth, groups, undefined, "calibrated."
        )
    values["abstention"] = _abstention(calibrated, correct, groups, grouped_by)
    values["undefined"] = undefined
    return values


def count(
    correct: np.ndarray, groups: intervals.Groups | None = None, *, grouped_by: str = "artist"
) -> dict[str, Any]:
    """Return an accuracy with its counts and intervals.

    Args:
      correct: whether each track is recognised, bool [N].
      groups: name of the group of each track [N]; None if each track is its own group.
      grouped_by: what a group is, `artist` or `recording`.

    Returns:
      `accuracy`, `n`, `num_correct`, `num_groups`; `grouped_by`, which is `track` if no group has
      two; `ci95`, by group (None for a single group) or by track; and `ci95_wilson`, by track.
    """
    n, hits = len(correct), int(np.sum(correct))
    num_groups = n if groups is None else len(set(groups))
    by_track = list(stats.wilson_interval(hits, n))
    interval: Sequence[float] | None = by_track
    if num_groups < n:
        interval = intervals.accuracy_interval(correct, groups)
    return {
        "accuracy": hits / n,
        "ci95": interval and list(interval),
        "ci95_wilson": by_track,
        "n": n,
        "num_correct": hits,
        "num_groups": num_groups,
        "grouped_by": grouped_by if num_groups < n else "track",
    }


def without_faulty(
    ids: Sequence[str], correct: np.ndarray, groups: intervals.Groups | None = None
) -> dict[str, Any] | None:
    """Return the accuracy without the faulty tracks of GTZAN; None for other data.

    Faulty are the 70 tracks that the published fault-filtered split leaves out for the repetitions
    and distortions that Sturm lists; tracks with wrong labels are not among them.
    """
    facts = gtzan.facts()
    if not all(name in facts for name in ids):
        return None
    kept = np.array([facts[name].part != "" for name in ids], bool)
    values: dict[str, Any] = {"left_out": int((~kept).sum())}
    if kept.any():
        own = None if groups is None else np.asarray(groups)[kept]
        values |= count(correct[kept], own)  # GTZAN's groups are artists.
    return values


def _class_metrics(
    matrix: np.ndarray,
    scores: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    groups: intervals.Groups | None,
    undefined: dict[str, str],
    grouped_by: str,
) -> dict[str, Any]:
    one = "1 track" if groups is None else plural(1, grouped_by)
    per_class = metrics.per_class(matrix, tuple(labels))
    ends = f1_ends(truth, scores.argmax(axis=1), len(labels), groups)
    f1_intervals: dict[str, list[float] | None] = {}
    for name, (low, high) in zip((*labels, "macro avg", ""), ends.T, strict=True):
        defined = bool(np.isfinite(low))
        f1_intervals[name] = [float(low), float(high)] if defined else None
        if not defined:
            field = f"f1_ci95.{name}" if name else "balanced_accuracy_ci95"
            undefined[field] = (
                f"its tracks are of {one}, or there are none"
                if name in labels
                else f"all tracks are of {one}"
            )
    return {
        "balanced_accuracy": metrics.balanced_accuracy(matrix),
        "balanced_accuracy_ci95": f1_intervals.pop(""),
        "labels": list(labels),
        "confusion_matrix": matrix.tolist(),
        "per_class": per_class,
        "f1_ci95": f1_intervals,
    }


def f1_ends(
    truth: np.ndarray,
    predicted: np.ndarray,
    num_classes: int,
    groups: intervals.Groups | None = None,
) -> np.ndarray:
    """Return the ends of the 95 % intervals of F1 by class, macro F1 and mean recall, [2, C + 2].

    NaN for a class of fewer than two groups. Tracks that are of another class, and are not taken
    for this one, tell nothing about it.

    Args:
      truth, predicted: classes of the tracks, int [N].
      num_classes: C.
      groups: name of the group of each track [N]; None if each track is its own group.
    """
    true, chosen = np.eye(num_classes)[truth], np.eye(num_classes)[predicted]
    sums = np.stack([true * chosen, true, chosen], axis=1)
    # F1 is 2 s / (1 + s) of the share s of the hits among the tracks of a class or taken for it.
    either = np.maximum(true, chosen)
    pairs = np.stack([true * chosen, either], axis=2)
    shares = intervals.share_interval(pairs, intervals.ratio, groups=groups, counted=either)
    means = intervals.share_interval(sums, _means, groups=groups)
    return np.concatenate([2 * shares / (1 + shares), means], axis=1)


def _means(sums: np.ndarray) -> np.ndarray:
    """Return macro F1 and mean recall [R, 2] from sums [R, 3, C]: hits, tracks and predictions.

    A class without any takes no part.
    """
    hits, true, predicted = sums[:, 0], sums[:, 1], sums[:, 2]
    with np.errstate(invalid="ignore"):
        f1, recall = 2 * hits / (true + predicted), hits / true
        means = [np.nansum(x, axis=1) / np.isfinite(x).sum(axis=1) for x in (f1, recall)]
    return np.column_stack(means)


def _probability_metrics(
    scores: np.ndarray,
    truth: np.ndarray,
    groups: np.ndarray | None,
    undefined: dict[str, str],
    prefix: str = "",
) -> dict[str, Any]:
    loss = metrics.log_loss(scores, truth)
    if not math.isfinite(loss):
        undefined[f"{prefix}log_loss"] = "a track has probability 0 for its class"
    bins = calibration.reliability(scores, truth)
    return {
        "log_loss": loss if math.isfinite(loss) else None,
        "brier": metrics.brier_score(scores, truth),
        "calibration_error": calibration_error.calibration_error(
            scores, truth, groups=groups
        )._asdict(),
        "reliability": [
            {"from": low, "to": high, "n": int(n), "confidence": mean, "accuracy": share}
            for low, high, n, mean, share in zip(
                bins.edges[:-1].tolist(),
                bins.edges[1:].tolist(),
                bins.counts,
                bins.confidence.tolist(),
                bins.accuracy.tolist(),
                strict=True,
            )
            if n
        ],
    }


def _abstention(
    scores: np.ndarray, correct: np.ndarray, groups: np.ndarray | None, grouped_by: str
) -> list[dict[str, Any]]:
    """Return coverage and accuracy of a model that abstains below each of `CONFIDENCES`."""
    confidence = np.exp(scores.max(axis=1))
    rows = []
    for threshold in CONFIDENCES:
        answered = confidence >= threshold
        row: dict[str, Any] = {"confidence": threshold, "coverage": float(answered.mean())}
        if answered.any():
            own = None if groups is None else groups[answered]
            row |= count(correct[answered], own, grouped_by=grouped_by)
        else:
            row |= {"accuracy": None, "ci95": None, "n": 0, "num_correct": 0}
        rows.append(row)
    return rows
