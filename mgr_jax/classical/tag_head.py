"""Linear discriminants on the tags of a pretrained tagger, with a distance to the training tracks.

The discriminants and the distance take other vectors as well. A track is described by the mean over
its windows of the logarithm of each tag's probability, for any number of windows. Artists, rather
than tracks, are what new music differs in: a track weighs one over the square root of its artist's
number of tracks.
"""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

Params = Mapping[str, np.ndarray]

# Share of the training tracks, held out, that are to be nearer than `fit_threshold`.
_QUANTILE = 0.99
# Added to a probability before its logarithm: below it, taggers differ by rounding and resampling.
_FLOOR = 1e-3
_SHRINKAGE = 0.1  # of the covariance towards its diagonal


def summarize(taggrams: Sequence[np.ndarray]) -> np.ndarray:
    """Return the vectors [N, K] of N tracks, each with probabilities [W, K] of its W windows."""
    return np.stack([np.log(np.asarray(t, float) + _FLOOR).mean(axis=0) for t in taggrams])


def fit(
    x: np.ndarray, y: np.ndarray, artists: Sequence[str], *, num_classes: int
) -> dict[str, np.ndarray]:
    """Fit the discriminants.

    All classes have the same prior and share one covariance, the mean of theirs.

    Args:
      x: vectors [N, K] of `summarize`.
      y: labels [N], integers below `num_classes`.
      artists: artist [N] of each track.
      num_classes: C.

    Returns:
      `mean` and `scale` [K], `kernel` [K, C], `bias` [C], which is -inf for a class without a
      track; and `centers` [C, K] (NaN for such a class) and `whitening` [K, K] for `distances`.
    """
    counts = collections.Counter(artists)
    weights = np.array([counts[artist] ** -0.5 for artist in artists])
    weights /= weights.sum()
    mean = weights @ x
    scale = np.sqrt(weights @ np.square(x - mean))
    scale = np.where(scale > 0, scale, 1)
    x = (x - mean) / scale
    members = np.eye(num_classes)[y] * weights[:, None]
    totals = members.sum(axis=0)
    present = totals > 0
    centers = np.full((num_classes, x.shape[1]), np.nan)
    centers[present] = (members.T @ x)[present] / totals[present, None]
    centred = x - centers[y]
    shares = weights / totals[y] / present.sum()
    covariance = (centred * shares[:, None]).T @ centred
    diagonal = np.diag(np.diag(covariance))
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal
    covariance += 1e-6 * np.eye(len(covariance))
    known = np.where(present[:, None], centers, 0)
    kernel = np.linalg.solve(covariance, known.T)
    bias = np.where(present, -0.5 * np.sum(known.T * kernel, axis=0), -np.inf)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return {
        "mean": mean,
        "scale": scale,
        "kernel": kernel,
        "bias": bias,
        "centers": centers,
        "whitening": whitening,
    }


def held_out(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, artists: Sequence[str], *, num_classes: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what discriminants fitted to the other folds give for the rows of each fold.

    Args:
      x, y, artists, num_classes: as for `fit`.
      folds: fold [N] of each row; rows of fold -1 are only learned from.

    Returns:
      `scores` [N, C] and `distances` [N], 0 for rows of fold -1; and the distance that 1 % of the
      other rows exceed.
    """
    log_p, far = np.zeros((len(y), num_classes)), np.zeros(len(y))
    owners, scored = np.asarray(artists), folds >= 0
    for fold in np.unique(folds[scored]):
        tested, rows = folds == fold, folds != fold
        head = fit(x[rows], y[rows], owners[rows].tolist(), num_classes=num_classes)
        log_p[tested], far[tested] = scores(head, x[tested]), distances(head, x[tested])
    return log_p, far, float(np.quantile(far[scored], _QUANTILE))


def scores(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the linear discriminants [N, C] of vectors `x` [N, K]."""
    return (x - params["mean"]) / params["scale"] @ params["kernel"] + params["bias"]


def distances(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the Mahalanobis distances [N] of vectors `x` [N, K] to the nearest class."""
    x = (x - params["mean"]) / params["scale"]
    offsets = (x[:, None] - params["centers"][None]) @ params["whitening"]
    return np.nanmin(np.linalg.norm(offsets, axis=-1), axis=1)
