"""The metrics of an evaluation with their intervals, as JSON values.

A value that is not defined, such as the ROC AUC of a class without tracks, is null, and
`undefined` has the reason. NaN would not be valid JSON, and 0 would be wrong.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.data import gtzan
from mgr_jax.evaluation import bootstrap, calibration, metrics, stats

CONFIDENCES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_TOP_K = (2, 3, 5)


def measure(
    scores: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    temperature: float | None = None,
) -> dict[str, Any]:
    """Return all metrics of `scores`.

    Args:
      scores: log-probabilities of the tracks [N, C].
      truth: their classes, int [N].
      labels: names of the classes [C].
      groups: name of the group (artist) of each track [N]; None if each track is its own group.
      temperature: see `calibration`; None if it was not fitted.
    """
    undefined: dict[str, str] = {}
    matrix = metrics.confusion_matrix(truth, scores.argmax(axis=1), len(labels))
    correct = scores.argmax(axis=1) == truth
    values = count(int(correct.sum()), len(truth))
    values["ci95_bootstrap"] = _interval(correct, groups, undefined)
    values["num_groups"] = len(truth) if groups is None else len(set(groups))
    values |= _class_metrics(matrix, scores, truth, labels, groups, undefined)
    values["top_k"] = {}
    for k in _TOP_K:
        if k < len(labels):
            hits = metrics.top_k_hits(scores, truth, k=k)
            values["top_k"][str(k)] = count(hits, len(truth))
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
    values |= _probability_metrics(scores, truth, undefined)
    values["calibrated"] = None
    calibrated = scores
    if temperature is None:
        undefined["calibrated"] = "no temperature was fitted for this checkpoint"
    else:
        calibrated = calibration.scale(scores, temperature)
        values["calibrated"] = {"temperature": temperature}
        values["calibrated"] |= _probability_metrics(calibrated, truth, undefined, "calibrated.")
    values["abstention"] = _abstention(calibrated, correct)
    values["undefined"] = undefined
    return values


def count(hits: int, n: int) -> dict[str, Any]:
    """Return an accuracy with its Wilson interval and its counts."""
    interval = list(stats.wilson_interval(hits, n))
    return {"accuracy": hits / n, "ci95": interval, "n": n, "num_correct": hits}


def without_faulty(ids: Sequence[str], correct: np.ndarray) -> dict[str, Any] | None:
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
        values |= count(int(correct[kept].sum()), int(kept.sum()))
    return values


def _interval(
    correct: np.ndarray, groups: Sequence[str] | None, undefined: dict[str, str]
) -> list[float] | None:
    interval = bootstrap.mean_interval(correct, groups=groups)
    if interval is None:
        undefined["ci95_bootstrap"] = "all tracks are right, all wrong, or all of one artist"
    return interval and list(interval)


def _class_metrics(
    matrix: np.ndarray,
    scores: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str] | None,
    undefined: dict[str, str],
) -> dict[str, Any]:
    per_class = metrics.per_class(matrix, tuple(labels))
    # Every ratio is one of sums over tracks of these: hits, tracks and predictions by class.
    true, predicted = np.eye(len(labels))[truth], np.eye(len(labels))[scores.argmax(axis=1)]
    ends = bootstrap.interval(
        np.stack([true * predicted, true, predicted], axis=1), _ratios, groups=groups
    )
    intervals: dict[str, list[float] | None] = {}
    for name, (low, high) in zip((*labels, "macro avg", ""), ends.T, strict=True):
        defined = bool(np.isfinite(low) and low < high)
        intervals[name] = [float(low), float(high)] if defined else None
        if not defined and name:
            undefined[f"f1_ci95.{name}"] = "resampling gives one value only, or none"
    return {
        "balanced_accuracy": metrics.balanced_accuracy(matrix),
        "balanced_accuracy_ci95": intervals.pop(""),
        "labels": list(labels),
        "confusion_matrix": matrix.tolist(),
        "per_class": per_class,
        "f1_ci95": intervals,
    }


def _ratios(sums: np.ndarray) -> np.ndarray:
    """Return F1 by class, macro F1 and mean recall [R, C + 2] from sums [R, 3, C].

    F1 is NaN for a class without tracks and predictions.
    """
    hits, true, predicted = sums[:, 0], sums[:, 1], sums[:, 2]
    with np.errstate(invalid="ignore"):
        f1, recall = 2 * hits / (true + predicted), hits / true
    return np.column_stack([f1, np.nanmean(f1, axis=1), np.nanmean(recall, axis=1)])


def _probability_metrics(
    scores: np.ndarray, truth: np.ndarray, undefined: dict[str, str], prefix: str = ""
) -> dict[str, Any]:
    loss = metrics.log_loss(scores, truth)
    if not math.isfinite(loss):
        undefined[f"{prefix}log_loss"] = "a track has probability 0 for its class"
    bins = calibration.reliability(scores, truth)
    return {
        "log_loss": loss if math.isfinite(loss) else None,
        "brier": metrics.brier_score(scores, truth),
        "ece": calibration.expected_calibration_error(scores, truth),
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


def _abstention(scores: np.ndarray, correct: np.ndarray) -> list[dict[str, Any]]:
    """Return coverage and accuracy of a model that abstains below each of `CONFIDENCES`."""
    confidence = np.exp(scores.max(axis=1))
    rows = []
    for threshold in CONFIDENCES:
        answered = confidence >= threshold
        row: dict[str, Any] = {"confidence": threshold, "coverage": float(answered.mean())}
        if answered.any():
            row |= count(int(correct[answered].sum()), int(answered.sum()))
        else:
            row |= {"accuracy": None, "ci95": None, "n": 0, "num_correct": 0}
        rows.append(row)
    return rows
