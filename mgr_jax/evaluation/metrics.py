"""Metrics of a classifier under scikit-learn's names."""

from typing import Any

import numpy as np
from scipy import stats as scipy_stats


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Return counts [C, C], true class by predicted class, from two int arrays [N]."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    """Return the share of the examples on the diagonal of a confusion matrix [C, C]."""
    return float(np.trace(matrix) / matrix.sum())


def balanced_accuracy(matrix: np.ndarray) -> float:
    """Return the mean recall over the classes with examples, from a confusion matrix [C, C]."""
    support = matrix.sum(axis=1)
    present = support > 0
    return float((np.diag(matrix)[present] / support[present]).mean())


def in_top_k(log_probabilities: np.ndarray, labels: np.ndarray, *, k: int) -> np.ndarray:
    """Return whether each label is among the k most probable classes, bool [N].

    From log-probabilities [N, C] and labels, int [N].
    Of classes with equal probabilities, the one with the lower index ranks higher.
    """
    order = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :k]
    return (order == labels[:, None]).any(axis=1)


def roc_auc(log_probabilities: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Return the area under the ROC curve of each class against the rest, from [N, C], int [N].

    It is the share of the pairs of a positive and a negative example that are ranked correctly
    (Mann and Whitney 1947); ties count half. None for a class with no examples, or with all.
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
    """Return the mean squared error of the probabilities (Brier 1950), from 0 to 2.

    Args:
      log_probabilities: [N, C].
      labels: int [N].
    """
    one_hot = np.eye(log_probabilities.shape[1])[labels]
    return float(((np.exp(log_probabilities) - one_hot) ** 2).sum(axis=1).mean())


def abstention_curve(confidence: np.ndarray, correct: np.ndarray) -> dict[str, np.ndarray]:
    """Return coverage and correct answers of a model that abstains below each confidence.

    Args:
      confidence: probability of the predicted class [N].
      correct: whether the prediction is right [N].

    Returns:
      Arrays over the distinct confidences, highest first: the `threshold`, the number of tracks
      `answered` at it, and how many of these are `correct`.
    """
    order = np.argsort(-confidence, kind="stable")
    values, hits = confidence[order], np.cumsum(np.asarray(correct, int)[order])
    last = np.flatnonzero(np.append(np.diff(values) != 0, True))
    return {"threshold": values[last], "answered": last + 1, "correct": hits[last]}


def log_loss(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log p(label) in nats, from [N, C] and int [N]."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def per_class(matrix: np.ndarray, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and support by class, with macro and weighted averages.

    Like scikit-learn's `classification_report`: a ratio with denominator 0 is 0, and the macro
    average is over the classes that occur or are predicted.

    Args:
      matrix: confusion matrix [C, C].
      names: names of the classes [C].
    """
    hits = np.diag(matrix).astype(float)
    predicted, support = matrix.sum(axis=0), matrix.sum(axis=1)
    precision = _ratio(hits, predicted)
    recall = _ratio(hits, support)
    f1 = _ratio(2 * hits, predicted + support)
    values = np.stack([precision, recall, f1], axis=1)
    occurs = (support + predicted) > 0
    rows = {
        name: _row(value, count) for name, value, count in zip(names, values, support, strict=True)
    }
    total = support.sum()
    rows["macro avg"] = _row(values[occurs].mean(axis=0), total)
    rows["weighted avg"] = _row((values * support[:, None]).sum(axis=0) / total, total)
    return rows


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def _row(values: np.ndarray, support: Any) -> dict[str, float]:
    precision, recall, f1 = (float(value) for value in values)
    return {"precision": precision, "recall": recall, "f1": f1, "support": int(support)}
