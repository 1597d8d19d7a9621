"""Unnormalised log-probabilities."""

import numpy as np


def normalize(scores: np.ndarray) -> np.ndarray:
    """Return log-probabilities [..., C] from unnormalised ones: a log-softmax in NumPy."""
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
