"""Exact contributions of the features of linear systems, and of the cells behind MFCC statistics.

The score of a class of logistic regression or linear discriminants is its logit minus the mean
logit of the others; that of a linear SVM is the sum of its decision values against the others,
since the one-against-rest values of `classical.svm` are not linear. It is the score of the mean of
the training part plus one contribution for each feature.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mgr_jax.config import Features
from mgr_jax.errors import UserError
from mgr_jax.features import filters

Params = Mapping[str, np.ndarray]

_REMEDY = "explain another label, or this one by occlusion (classes count from 0)"


class Linear(NamedTuple):
    """The score of one class, `weights @ (x - mean) + offset`.

    Attributes:
      weights: [D]. mean: [D], that of the training part.
      offset: the score of `mean`.
    """

    weights: np.ndarray
    mean: np.ndarray
    offset: float


def is_linear(name: str, params: Params) -> bool:
    """Return whether the system `model.name` with these parameters is linear in its features."""
    return name in ("logistic", "lda") or (name == "svm" and str(params["kernel"]) == "linear")


def make_linear(name: str, params: Params, label: int) -> Linear:
    """Return the score of the class `label` of a linear system.

    Raises:
      UserError: if the class had no training row, or there is no other.
    """
    mean, scale = (np.asarray(params[key], np.float64) for key in ("mean", "scale"))
    if name == "svm":
        kernel, bias = _svm_pairs(params, label)
        kernel, bias = kernel.sum(axis=0), float(bias.sum())
    else:
        biases = np.asarray(params["bias"], np.float64)
        present = np.isfinite(biases)  # The bias of a class without a training row is -inf.
        if not present[label] or present.sum() < 2:
            raise UserError(f"class {label} has no training row, or no other has; {_REMEDY}")
        share = np.where(present, -1 / (present.sum() - 1), 0.0)
        share[label] = 1.0
        kernel = np.asarray(params["kernel"], np.float64) @ share
        bias = float(biases[present] @ share[present])
    return Linear(kernel / scale, mean, bias)


def _svm_pairs(params: Params, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights [P, D] of standardised features and biases [P] of a class against others."""
    classes = list(params["classes"])
    if label not in classes:
        raise UserError(f"class {label} has no training row; {_REMEDY}")
    ends = np.cumsum(params["num_support"])
    rows = [slice(end - n, end) for end, n in zip(ends, params["num_support"], strict=True)]
    weights, biases = [], []
    # The layout of the dual coefficients is that of `svm.decision_function`.
    for k, (i, j) in enumerate(itertools.combinations(range(len(classes)), 2)):
        if label not in (classes[i], classes[j]):
            continue
        support, dual = params["support_vectors"], params["dual"]
        weight = dual[j - 1, rows[i]] @ support[rows[i]] + dual[i, rows[j]] @ support[rows[j]]
        # Values above 0 speak for the first of a pair, but of two classes for the second.
        sign = (1 if label == classes[i] else -1) * (-1 if len(classes) == 2 else 1)
        weights.append(sign * weight)
        biases.append(sign * float(params["intercept"][k]))
    stacked, offsets = np.stack(weights), np.array(biases)
    if "components" in params:
        stacked = stacked @ params["components"]
        offsets = offsets - stacked @ params["center"]
    return stacked, offsets


def contributions(linear: Linear, x: np.ndarray) -> np.ndarray:
    """Return the contribution of each feature of `x` [D], which sum to score minus offset."""
    return linear.weights * (np.asarray(x, np.float64) - linear.mean)


def mfcc_cells(linear: Linear, log_mel: np.ndarray, *, n_mfcc: int) -> np.ndarray:
    """Return the contribution of each cell [F, M] of a log-mel spectrogram to MFCC statistics.

    The cells sum to the sum of `contributions` of `summary.mean_covariance`. A mean is linear in
    the cells: each has its difference to the mean spectrum of the training part, as far as the
    coefficients resolve it. A covariance is a quadratic form of the deviations from the clip's
    mean: a cell has half of its value times its gradient, of which the quadratic form is the sum
    (Euler), minus the share of its band in the covariance of the training part.

    Args:
      linear: of features `[K + K (K + 1) / 2]`.
      log_mel: [F, M]; one frame has no covariance.
      n_mfcc: K.
    """
    log_mel = np.asarray(log_mel, np.float64)
    frames, n_mels = log_mel.shape
    basis = filters.dct_basis(n_mels=n_mels, n_mfcc=n_mfcc).astype(np.float64)
    rows, columns = np.triu_indices(n_mfcc)
    form, usual = np.zeros((2, n_mfcc, n_mfcc))
    form[rows, columns] = linear.weights[n_mfcc:]
    form = (form + form.T) / 2
    usual[rows, columns] = usual[columns, rows] = linear.mean[n_mfcc:]
    spectrum = log_mel - linear.mean[:n_mfcc] @ basis
    cells = spectrum * (linear.weights[:n_mfcc] @ basis) / frames
    centred = log_mel - log_mel.mean(axis=0)
    cells += centred * (centred @ basis.T @ form @ basis) / max(frames - 1, 1)
    return cells - np.einsum("km,kl,lm->m", basis, usual @ form, basis) / frames


def feature_names(features: Features, size: int) -> list[str]:
    """Return a name for each of `size` features of a front end."""
    if features.kind == "mfcc_stats":
        pairs = zip(*np.triu_indices(features.n_mfcc), strict=True)
        names = [f"mean of MFCC {k}" for k in range(features.n_mfcc)]
        return names + [
            f"variance of MFCC {i}" if i == j else f"covariance of MFCC {i} and {j}"
            for i, j in pairs
        ]
    if features.kind == "musicnn":
        return [f"{name} of {k}" for name in ("mean", "deviation") for k in range(size // 2)]
    return [f"feature {k}" for k in range(size)]
