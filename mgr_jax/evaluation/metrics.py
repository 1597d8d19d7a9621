"""Figures of merit of a classifier, in scikit-learn's words, as sums and ratios of sums."""

from typing import Any

import numpy as np
from scipy import stats as scipy_stats


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts `[C, C]`: row is the true class, column the predicted one; int `[N]` each."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    """Share of the examples of a confusion matrix `[C, C]` that lie on its diagonal."""
    return float(np.trace(matrix) / matrix.sum())


def balanced_accuracy(matrix: np.ndarray) -> float:
    """Mean recall of the classes that have examples, of a confusion matrix `[C, C]`."""
    support = matrix.sum(axis=1)
    there = support > 0
    return float((np.diag(matrix)[there] / support[there]).mean())


def top_k_hits(log_probabilities: np.ndarray, labels: np.ndarray, *, k: int) -> int:
    """How many labels are among the k most probable classes: `[N, C]`, int `[N]`.

    Of equal probabilities the class with the lower number counts as the more probable.
    """
    order = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :k]
    return int((order == labels[:, None]).any(axis=1).sum())


def roc_auc(log_probabilities: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Area under the ROC curve of each class against the rest: `[N, C]`, int `[N]`.

    The share of pairs, one of the class and one not, that are in the right order (Mann and
    Whitney); ties count by half. None where a class has no examples, or all of them.
    """
    areas: list[float | None] = []
    for label, scores in enumerate(log_probabilities.T):
        positive = labels == label
        count, rest = int(positive.sum()), int((~positive).sum())
        if not count or not rest:
            areas.append(None)
            continue
        ranks = scipy_stats.rankdata(scores)[positive].sum()
        areas.append(float((ranks - count * (count + 1) / 2) / (count * rest)))
    return areas


def brier_score(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance of the probabilities to the truth (Brier 1950), from 0 to 2.

    Args:
      log_probabilities: `[N, C]`.
      labels: int `[N]`.
    """
    wanted = np.eye(log_probabilities.shape[1])[labels]
    return float(((np.exp(log_probabilities) - wanted) ** 2).sum(axis=1).mean())


def abstention_curve(confidence: np.ndarray, correct: np.ndarray) -> dict[str, np.ndarray]:
    """What is answered, and how well, if the model stays silent below a confidence.

    Args:
      confidence: probability of the chosen class `[N]`.
      correct: whether it is right `[N]`.

    Returns:
      `threshold`, `answered` (tracks at or above it) and `correct` (those answered rightly), for
      every confidence that occurs, the highest first.
    """
    order = np.argsort(-confidence, kind="stable")
    values, hits = confidence[order], np.cumsum(np.asarray(correct, int)[order])
    last = np.flatnonzero(np.append(np.diff(values) != 0, True))
    return {"threshold": values[last], "answered": last + 1, "correct": hits[last]}


def log_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label) in nats: `[N, C]`, int `[N]`."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def per_class(matrix: np.ndarray, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support by class, with macro and weighted averages.

    Like scikit-learn's `classification_report`, 0 where a ratio has no examples; the macro average
    is over the classes that are there or are predicted.
    """
    hits = np.diag(matrix).astype(float)
    predicted, support = matrix.sum(axis=0), matrix.sum(axis=1)
    precision = _ratio(hits, predicted)
    recall = _ratio(hits, support)
    f1 = _ratio(2 * hits, predicted + support)
    values = np.stack([precision, recall, f1], axis=1)
    seen = (support + predicted) > 0
    rows = {
        name: _row(value, count) for name, value, count in zip(names, values, support, strict=True)
    }
    total = support.sum()
    rows["macro avg"] = _row(values[seen].mean(axis=0), total)
    rows["weighted avg"] = _row((values * support[:, None]).sum(axis=0) / total, total)
    return rows


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def _row(values: np.ndarray, support: Any) -> dict[str, float]:
    precision, recall, f1 = (float(value) for value in values)
    return {"precision": precision, "recall": recall, "f1": f1, "support": int(support)}
