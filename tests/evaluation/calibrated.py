"""Scores of models that are too sure by a known factor."""

import numpy as np

from mgr_jax.evaluation import calibration


def draw(temperature, *, n=3000, num_classes=4, seed=0, spread=1.0):
    """Return scores of a model that is too sure by a factor, and labels drawn from the truth."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(n, num_classes))
    truth = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    labels = (np.exp(truth).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return calibration.scale(truth, 1 / temperature), labels
