"""Figures of merit of a classifier, in scikit-learn's words, as sums and ratios of sums."""

from typing import Any

import numpy as np


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts `[C, C]`: row is the true class, column the predicted one; int `[N]` each."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    """Share of the examples of a confusion matrix `[C, C]` that lie on its diagonal."""
    return float(np.trace(matrix) / matrix.sum())


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
