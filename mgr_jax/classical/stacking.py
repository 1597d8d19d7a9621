"""Weights of an ensemble's members, from scores of tracks that the members have not learned.

Stacked regression with weights that are not negative (Breiman 1996), for the cross entropy and so
for the whole distribution over the classes: the super learner of van der Laan, Polley and Hubbard
(2007). Most weights come out as 0, which is the choice of the members.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

_MAX_ITERATIONS = 1000


def fit_weights(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights `[M]`, 0 or more, of least cross entropy of `softmax(sum_m w_m scores_m)`.

    The problem is convex; it is solved from equal weights.

    Args:
      scores: `[M, N, C]` of M members, of rows that the member was not fitted to.
      y: labels `[N]`, integers below C.

    Raises:
      ValueError: shapes that do not fit, no rows, or scores that are not finite.
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
    of_truth = by_row[rows, y].sum(axis=0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(by_row @ weights, axis=1)
        expected = np.tensordot(np.exp(log_p), by_row, axes=2)
        return -log_p[rows, y].mean(), (expected - of_truth) / len(y)

    found = minimize(
        loss,
        np.full(count, 1 / count),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * count,
        options={"maxiter": _MAX_ITERATIONS},
    )
    return found.x


def combine(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log-probabilities `[N, C]` of scores `[M, N, C]` with weights `[M]`."""
    return log_softmax(np.tensordot(weights, scores, axes=1), axis=1)


def cross_validated(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Log-probabilities `[N, C]`, each fold's with weights that were fitted to the others."""
    found = np.empty(scores.shape[1:])
    for fold in np.unique(folds):
        held = folds == fold
        weights = fit_weights(scores[:, ~held], y[~held])
        found[held] = combine(scores[:, held], weights)
    return found
