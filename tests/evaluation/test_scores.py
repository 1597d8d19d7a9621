"""Normalised scores."""

import numpy as np

from mgr_jax.evaluation import scores


def test_normalize_makes_probabilities_and_keeps_differences():
    values = np.array([[-1000.0, -1001.0, -1003.0], [5.0, 5.0, 5.0], [0.0, -np.inf, 0.0]])
    normal = scores.normalize(values)
    np.testing.assert_allclose(np.exp(normal).sum(axis=-1), 1)
    np.testing.assert_allclose(normal[0] - normal[0, 0], [0, -1, -3])
    np.testing.assert_allclose(np.exp(normal[2]), [0.5, 0, 0.5])
