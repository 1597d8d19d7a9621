"""The loss and the count of hits against NumPy."""

import jax.numpy as jnp
import numpy as np

from mgr_jax.training import objective


def test_cross_entropy_is_minus_log_softmax_of_the_label():
    logits = np.random.default_rng(0).normal(size=(6, 4)) * 5
    labels = np.array([0, 1, 2, 3, 0, 1])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(p[np.arange(6), labels])
    result = objective.cross_entropy(jnp.float32(logits), jnp.array(labels))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_cross_entropy_is_finite_for_huge_logits():
    logits = jnp.array([[1e30, 0.0], [-1e30, 0.0]], jnp.float32)
    assert np.isfinite(objective.cross_entropy(logits, jnp.array([0, 1]))).all()


def test_correct_marks_the_largest_logit():
    logits = jnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 5.0]])
    np.testing.assert_array_equal(objective.correct(logits, jnp.array([1, 1, 1])), [1, 0, 1])
