"""Support vector machine: standardise -> principal components -> SVC of scikit-learn.

A model is a dict of plain arrays, and decisions are computed here from the support vectors, so
that a saved model needs neither pickle nor a particular version of scikit-learn. An SVC has no
probabilities; ours are the softmax of its one-against-rest decision values, which a temperature
from other tracks calibrates (`held_out`).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

Params = Mapping[str, np.ndarray]

KERNELS = ("rbf", "linear")
# Range of the slope by which decision values are scaled to rank settings of equal accuracy.
SLOPES = (1e-2, 20.0)
FLOOR = np.log(1e-12)  # log-probability of a class without training examples


def fit(
    x: np.ndarray,
    y: np.ndarray,
    x_valid: np.ndarray,
    y_valid: np.ndarray,
    *,
    num_classes: int,
    kernel: str = "rbf",
    c: Sequence[float] = (0.1, 1.0, 10.0, 100.0),
    gamma: Sequence[float] = (0.1, 0.3, 1.0, 3.0),
    num_components: int = 100,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Fit one SVC for every `c` and `gamma` and return the best on the validation part.

    Highest validation accuracy wins, then lower cross entropy at the best slope, then the smaller
    `c` and `gamma`.

    Args:
      x: features [N, D]. y: labels [N], integers below `num_classes`.
      x_valid: features [V, D]. y_valid: labels [V].
      num_classes: C; classes without a training row get next to no probability.
      kernel: `rbf` or `linear`.
      c: penalties to choose from.
      gamma: for `rbf`: widths to choose from, as multiples of 1 / (components x variance).
      num_components: number of principal components, reduced to N - 1 or D if those are smaller.
      seed: seed of the PCA, which scikit-learn randomises for large matrices.

    Returns:
      Arrays by name, for the functions of this module; `c` and `gamma` (absolute) are the chosen
      ones.

    Raises:
      ValueError: if shapes do not match, labels are out of range or of one class only, the kernel
        is unknown, or the grid or the validation part is empty.
    """
    x, y = np.asarray(x), np.asarray(y)
    x_valid, y_valid = np.asarray(x_valid), np.asarray(y_valid)
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; it must be one of {', '.join(KERNELS)}")
    if not len(c) or not len(gamma) or min(c) <= 0 or min(gamma) <= 0:
        raise ValueError(f"c is {c} and gamma is {gamma}; give values greater than 0")
    for name, rows, labels in (("x", x, y), ("x_valid", x_valid, y_valid)):
        if rows.ndim != 2 or labels.shape != rows.shape[:1] or not len(labels):
            raise ValueError(f"{name} is {rows.shape}, its labels {labels.shape}; need [N, D], [N]")
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(f"labels of {name} must lie between 0 and {num_classes - 1}")
    if len(np.unique(y)) < 2:
        raise ValueError("y has one class only; training needs at least two")
    common, reduced = _project(x, num_components, seed)
    common |= {"num_classes": np.asarray(num_classes), "kernel": np.asarray(kernel)}
    reduced_valid = _reduce(common, x_valid)
    unit = 1 / (reduced.shape[1] * max(reduced.var(), np.finfo(float).tiny))
    widths = sorted(gamma) if kernel == "rbf" else [1.0]
    best, best_rank = {}, (-np.inf, -np.inf)
    for penalty, width in itertools.product(sorted(c), widths):
        svc = SVC(C=penalty, kernel=kernel, gamma=width * unit, random_state=seed).fit(reduced, y)
        params = common | _support(svc)
        decision = _decide(params, reduced_valid)
        rank = (np.mean(decision.argmax(1) == y_valid), -_least_loss(decision, y_valid))
        if rank > best_rank:
            best, best_rank = params, rank
    return best


def refit(params: Params, x: np.ndarray, y: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a model with the settings of `params`, a result of `fit`, for other rows.

    Args:
      params: a result of `fit`.
      x: features [N, D]. y: labels [N], of two classes or more.
      seed: see `fit`.
    """
    common, reduced = _project(np.asarray(x), len(params["components"]), seed)
    common |= {name: params[name] for name in ("num_classes", "kernel")}
    gamma: Any = float(params["gamma"])
    svc = SVC(C=float(params["c"]), kernel=str(params["kernel"]), gamma=gamma)
    return common | _support(svc.fit(reduced, y))


def fit_one(x: np.ndarray, y: np.ndarray, *, num_classes: int, c: float) -> dict[str, np.ndarray]:
    """Return the arrays, for `decision_function`, of one SVC without principal components.

    The kernel is RBF with gamma 1 / D on standardised features `x` [N, D]; the arguments are
    otherwise those of `fit`.
    """
    x = np.asarray(x, np.float64)
    scaler = StandardScaler().fit(x)
    svc = SVC(C=c, gamma=1 / x.shape[1]).fit(scaler.transform(x), y)
    return {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "num_classes": np.asarray(num_classes),
        "kernel": np.asarray("rbf"),
    } | _support(svc)


def _project(
    x: np.ndarray, num_components: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the parameters of the projection, and the principal components [N, K] of `x`."""
    scaler = StandardScaler().fit(x)
    pca = PCA(min(num_components, len(x) - 1, x.shape[1]), random_state=seed)
    reduced = np.asarray(pca.fit_transform(scaler.transform(x)), np.float64)
    params = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "components": np.asarray(pca.components_, np.float64),
        "center": np.asarray(pca.mean_, np.float64),
    }
    return params, reduced


def _support(svc: SVC) -> dict[str, np.ndarray]:
    return {
        "classes": np.asarray(svc.classes_),
        "support_vectors": np.asarray(svc.support_vectors_),
        "num_support": np.asarray(svc.n_support_),
        "dual": np.asarray(svc.dual_coef_),
        "intercept": np.asarray(svc.intercept_),
        "c": np.asarray(float(svc.C)),
        "gamma": np.asarray(float(svc.gamma)),
    }


def decision_function(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the one-against-rest decision values [N, C] of features `x` [N, D].

    They equal scikit-learn's, whose single value d for two classes gives -d and d; a class without
    a training row has -inf. The largest value is the class, as with `break_ties=True`.
    """
    return _decide(params, _reduce(params, np.asarray(x)))


def log_probabilities(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the log-probabilities [N, C] of features `x` [N, D]."""
    # Models of earlier versions have a slope, which they fitted to the validation part.
    return _log_probabilities(decision_function(params, x), params.get("slope", np.ones(())))


def _reduce(params: Params, x: np.ndarray) -> np.ndarray:
    scaled = (x - params["mean"]) / params["scale"]
    if "components" not in params:
        return scaled
    return (scaled - params["center"]) @ params["components"].T


def _decide(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the decision values [N, C] of principal components `x` [N, K]."""
    support, dual = params["support_vectors"], params["dual"]
    products = x @ support.T
    if params["kernel"] == "rbf":
        squares = (x**2).sum(1)[:, None] + (support**2).sum(1)[None] - 2 * products
        products = np.exp(-params["gamma"] * np.maximum(squares, 0))
    ends = np.cumsum(params["num_support"])
    rows = [slice(end - n, end) for end, n in zip(ends, params["num_support"], strict=True)]
    present = params["classes"]
    votes = np.zeros((len(x), len(present)))
    sums = np.zeros_like(votes)
    # In libsvm's layout, the dual coefficients of class i's support vectors against class j > i
    # are in row j - 1, those of class j's against class i in row i.
    for k, (i, j) in enumerate(itertools.combinations(range(len(present)), 2)):
        value = products[:, rows[i]] @ dual[j - 1, rows[i]]
        value += products[:, rows[j]] @ dual[i, rows[j]] + params["intercept"][k]
        if len(present) == 2:
            # scikit-learn flips the sign for two classes, so that the second one is positive.
            sums[:, 0], sums[:, 1] = -value, value
            break
        votes[:, i] += value > 0
        votes[:, j] += value <= 0
        sums[:, i] += value
        sums[:, j] -= value
    if len(present) > 2:
        sums = votes + sums / (3 * (np.abs(sums) + 1))
    decision = np.full((len(x), int(params["num_classes"])), -np.inf)
    decision[:, present] = sums
    return decision


def _log_probabilities(decision: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.maximum(log_softmax(decision * slope, axis=1), FLOOR)


def _least_loss(decision: np.ndarray, y: np.ndarray) -> float:
    """Return the cross entropy on labels `y` at the slope for which it is lowest."""

    def loss(log_slope: float) -> float:
        return -_log_probabilities(decision, np.exp(log_slope))[np.arange(len(y)), y].mean()

    result: Any = minimize_scalar(loss, bounds=np.log(SLOPES), method="bounded")
    return float(result.fun)
