"""Scores that are log-probabilities but for a constant."""

import numpy as np


def normalize(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities `[..., C]` that sum to 1 from scores that are off by a constant."""
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
