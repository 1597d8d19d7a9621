"""Weights of an ensemble's members, fitted to their scores on held-out tracks.

Stacked regression with non-negative weights (Breiman 1996, "Stacked regressions"), here for the
cross entropy: the super learner of van der Laan, Polley and Hubbard (2007). Most weights come out
as 0, which selects the members.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax


def fit_weights(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the non-negative weights [M] of least cross entropy of `softmax(sum_m w_m scores_m)`.

    Args:
      scores: scores [M, N, C] of M members, on rows that the member was not fitted to.
      y: labels [N], integers below C.

    Raises:
      ValueError: if shapes do not match, there are no rows, or a score is not finite.
    """
    scores, y = np.asarray(scores, np.float64), np.asarray(y)
    if scores.ndim != 3 or y.shape != scores.shape[1:2] or not len(y):
        raise ValueError(
            f"scores is {scores.shape} and y is {y.shape}; they must be [M, N, C] and [N], N > 0"
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    count, rows = len(scores), np.arange(len(y))
    by_row = np.ascontiguousarray(scores.transpose(1, 2, 0))
    observed = by_row[rows, y].sum(axis=0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(by_row @ weights, axis=1)
        expected = np.tensordot(np.exp(log_p), by_row, axes=2)
        return -log_p[rows, y].mean(), (expected - observed) / len(y)

    result = minimize(
        loss,
        np.full(count, 1 / count),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * count,
        options={"maxiter": 1000},
    )
    return result.x


def combine(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the log-probabilities [N, C] of scores [M, N, C] with weights [M]."""
    return log_softmax(np.tensordot(weights, scores, axes=1), axis=1)


def cross_validated(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return log-probabilities [N, C]; those of a fold [N] use weights fitted to the others.

    The arguments are otherwise those of `fit_weights`.
    """
    log_p = np.empty(scores.shape[1:])
    for fold in np.unique(folds):
        held_out = folds == fold
        weights = fit_weights(scores[:, ~held_out], y[~held_out])
        log_p[held_out] = combine(scores[:, held_out], weights)
    return log_p
