"""The loss, its targets and its weights against NumPy and scikit-learn."""

import jax.numpy as jnp
import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from mgr_jax.training import objective

LABELS = np.array([0, 1, 2, 3, 0, 1])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_cross_entropy_of_labels_is_minus_log_softmax_of_the_label():
    logits = np.random.default_rng(0).normal(size=(6, 4)) * 5
    targets = objective.make_targets(jnp.array(LABELS), num_classes=4)
    expected = -log_softmax(logits)[np.arange(6), LABELS]
    result = objective.cross_entropy(jnp.float32(logits), targets)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_cross_entropy_of_soft_targets_is_weighed_by_class():
    random = np.random.default_rng(1)
    logits, targets = random.normal(size=(6, 4)), random.dirichlet(np.ones(4), size=6)
    weights = np.array([0.5, 1.0, 2.0, 0.0])
    expected = -(weights * targets * log_softmax(logits)).sum(axis=1)
    result = objective.cross_entropy(
        jnp.float32(logits), jnp.float32(targets), jnp.float32(weights)
    )
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_cross_entropy_is_finite_for_huge_logits():
    logits = jnp.array([[1e30, 0.0], [-1e30, 0.0]], jnp.float32)
    targets = objective.make_targets(jnp.array([0, 1]), num_classes=2)
    assert np.isfinite(objective.cross_entropy(logits, targets)).all()


def test_make_targets_spreads_the_smoothing_over_all_classes():
    targets = objective.make_targets(jnp.array([1, 0]), num_classes=4, label_smoothing=0.2)
    expected = [[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(
        objective.balanced_weights(labels, num_classes=3), expected, rtol=1e-6
    )
    assert objective.balanced_weights(labels, num_classes=4)[3] == 0


def test_correct_marks_the_largest_logit():
    logits = jnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 5.0]])
    np.testing.assert_array_equal(objective.correct(logits, jnp.array([1, 1, 1])), [1, 0, 1])
