"""Weights of stacking: optimality, cross-validation and bad arguments."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mgr_jax.classical import stacking


def _scores(num_rows=120, seed=0):
    """Two informative members and one of noise."""
    random = np.random.default_rng(seed)
    y = random.integers(3, size=num_rows)
    noise = random.normal(size=(3, num_rows, 3))
    return np.array([[1.0], [0.5], [0.0]])[:, None] * np.eye(3)[y] + noise, y


def _loss(scores, y, weights):
    return -stacking.combine(scores, np.asarray(weights))[np.arange(len(y)), y].mean()


def test_fit_weights_finds_the_least_cross_entropy():
    scores, y = _scores()
    weights = stacking.fit_weights(scores, y)
    assert (weights >= 0).all() and weights[0] > weights[1] > weights[2]
    least = _loss(scores, y, weights)
    for i in range(3):
        for step in (-0.05, 0.05):
            moved = weights.copy()
            moved[i] = max(0, moved[i] + step)
            assert _loss(scores, y, moved) >= least


def test_fit_weights_of_one_member_is_its_slope():
    scores, y = _scores()

    def loss(slope):
        return -log_softmax(slope * scores[0], axis=1)[np.arange(len(y)), y].mean()

    expected = minimize_scalar(loss, bounds=(0, 20), method="bounded").x
    np.testing.assert_allclose(stacking.fit_weights(scores[:1], y), [expected], atol=1e-4)


def test_fit_weights_gives_none_to_a_member_that_is_wrong():
    scores, y = _scores()
    assert stacking.fit_weights(-scores[:1], y) == [0]


def test_cross_validated_scores_each_fold_by_weights_of_the_others():
    scores, y = _scores()
    folds = np.arange(len(y)) % 4
    log_p = stacking.cross_validated(scores, y, folds)
    held_out = folds == 2
    weights = stacking.fit_weights(scores[:, ~held_out], y[~held_out])
    np.testing.assert_allclose(log_p[held_out], stacking.combine(scores[:, held_out], weights))
    # The labels of a fold do not affect its own scores.
    other = np.where(held_out, (y + 1) % 3, y)
    changed = stacking.cross_validated(scores, other, folds)
    np.testing.assert_array_equal(changed[held_out], log_p[held_out])
    assert not np.array_equal(changed[~held_out], log_p[~held_out])


@pytest.mark.parametrize(
    ("shape", "rows", "value"),
    [((3, 4), 4, 0), ((1, 4, 3), 5, 0), ((1, 0, 3), 0, 0), ((1, 4, 3), 4, np.inf)],
)
def test_fit_weights_refuses_bad_arguments(shape, rows, value):
    with pytest.raises(ValueError, match="scores"):
        stacking.fit_weights(np.full(shape, value, float), np.zeros(rows, int))
