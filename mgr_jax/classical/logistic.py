"""Multinomial logistic regression with an L2 penalty, fitted by L-BFGS.

The objective is that of scikit-learn's `LogisticRegression` on standardised features, divided
by C N: mean cross entropy + l2/2 |W|^2 with l2 = 1 / (C N); the bias is not penalised.

The penalties of a path are fitted from the strongest to the weakest, each from the solution of the
one before. L-BFGS is preconditioned by an approximate Hessian, inverted by one Cholesky
factorisation for each penalty: the features' second moments, each row weighted by its uncertainty
in the previous fit.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax

from mgr_jax.classical import lbfgs

Array = jax.Array | np.ndarray
Params = Mapping[str, Array]


def fit(
    x: Array,
    y: Array,
    *,
    num_classes: int,
    l2: Sequence[float],
    max_iterations: int = 500,
    tolerance: float | None = None,
    sample_weight: Array | None = None,
) -> dict[str, jax.Array]:
    """Fit one model for every penalty.

    Args:
      x: features [N, D], which are standardised by the mean and deviation of these rows.
      y: labels [N], integers below `num_classes`.
      num_classes: C.
      l2: P penalties.
      max_iterations: iterations of L-BFGS for each penalty; each evaluates the loss once.
      tolerance: norm of the gradient at which a fit ends, by default 1e-7 in float32 and 1e-8 in
        float64 (the type of `x`). In float32, rounding may end it before.
      sample_weight: weights [N] of the rows, of any scale; a weight of 0 leaves the row out.

    Returns:
      Parameters with a leading axis P: `l2` [P], `mean` and `scale` [P, D] of the features,
      `kernel` [P, D, C] and `bias` [P, C]; and of each fit the final `loss` [P], the largest entry
      of its `gradient` [P] and its number of `iterations` [P].

    Raises:
      ValueError: if shapes do not match, there are no rows, `l2` is empty or negative, or a label
        is out of range.
    """
    path = fit_folds(
        x,
        y,
        num_classes=num_classes,
        l2=l2,
        sample_weight=(jnp.ones(y.shape) if sample_weight is None else sample_weight)[None],
        max_iterations=max_iterations,
        tolerance=tolerance,
    )
    return {name: value[0] for name, value in path.items()}


def fit_folds(
    x: Array,
    y: Array,
    *,
    num_classes: int,
    l2: Sequence[float],
    sample_weight: Array,
    max_iterations: int = 500,
    tolerance: float | None = None,
) -> dict[str, jax.Array]:
    """Fit K folds in one compiled call: `fit` for every row of `sample_weight` [K, N].

    Returns:
      The arrays of `fit`, with leading axes [K, P].

    Raises:
      ValueError: as `fit` does, and if `sample_weight` is not [K, N].
    """
    x, y = checked(x, y, num_classes)
    if not len(l2) or min(l2) < 0:
        raise ValueError(f"l2 is {tuple(l2)}; give one or more penalties of 0 or more")
    if sample_weight.shape != (len(sample_weight), len(y)):
        raise ValueError(f"sample_weight is {sample_weight.shape}; it must be [K, {len(y)}]")
    if tolerance is None:
        tolerance = 1e-8 if x.dtype == jnp.float64 else 1e-7
    rest = (jnp.asarray(value, x.dtype) for value in (sample_weight, l2, tolerance))
    # A GPU or TPU else rounds the operands of products, by which the fit would not converge.
    with jax.default_matmul_precision("highest"):
        return _fit_folds(x, y, *rest, max_iterations, num_classes=num_classes)


def checked(x: Array, y: Array, num_classes: int) -> tuple[jax.Array, jax.Array]:
    """Return floating-point features [N, D] and labels [N]; raise ValueError if they are not."""
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise ValueError(f"x is {x.shape} and y is {y.shape}; they must be [N, D] and [N], N > 0")
    x, y = jnp.asarray(x), jnp.asarray(y)
    if not isinstance(y, jax.core.Tracer) and (y.min() < 0 or y.max() >= num_classes):
        raise ValueError(f"y has labels from {y.min()} to {y.max()}; num_classes is {num_classes}")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32), y


def log_probabilities(params: Params, x: Array) -> jax.Array:
    """Return log-probabilities [N, C] of features `x` [N, D], by parameters without the axis P."""
    return jax.nn.log_softmax(logits(params, x))


def logits(params: Params, x: Array) -> jax.Array:
    """Return the logits [N, C]: log-probabilities up to a constant for each row."""
    return _matmul(_standardise(params, x), params["kernel"]) + params["bias"][None]


def select(path: Params, x_valid: Array, y_valid: Array) -> dict[str, Array]:
    """Return the parameters, without the axis P, that are best on the validation part.

    Of the result `path` of `fit`, highest accuracy on features [N, D] and labels [N] wins; ties go
    to the lower cross entropy, then to the stronger penalty.

    Raises:
      ValueError: if the validation part is empty.
    """
    if not len(y_valid):
        raise ValueError("x_valid is empty; choosing a penalty needs a validation part")
    log_p = jax.vmap(log_probabilities, (0, None))(path, jnp.asarray(x_valid))
    accuracy = jnp.mean(jnp.argmax(log_p, -1) == jnp.asarray(y_valid)[None], axis=-1)
    loss = -jnp.mean(jnp.take_along_axis(log_p, jnp.asarray(y_valid)[None, :, None], -1), (1, 2))
    ranks = zip(accuracy.tolist(), (-loss).tolist(), path["l2"].tolist(), strict=True)
    best = max(enumerate(ranks), key=lambda item: item[1])[0]
    return {name: value[best] for name, value in path.items()}


@jax.jit(static_argnames="num_classes")
def _fit_folds(x, y, weights, l2, tolerance, max_iterations, *, num_classes):
    labels = jax.nn.one_hot(y, num_classes, dtype=x.dtype)
    weights = weights / weights.sum(axis=1, keepdims=True)
    scalers, varies = jax.vmap(_scaler, (None, 0))(x, weights)
    # Each feature is scaled as in the fold where it varies least, since an outlier that this fold
    # leaves out would cost it digits.
    least = jnp.argmin(jnp.where(varies, scalers["scale"], jnp.inf), axis=0)[None]
    common = {name: jnp.take_along_axis(v, least, axis=0)[0] for name, v in scalers.items()}
    shared = _standardise(common, x)

    def fit_fold(weight, scaler, varies):
        if x.shape[1] > x.shape[0]:
            # With fewer rows than features, gradients are zero outside of the span of the rows.
            basis, lower = jnp.linalg.qr(_standardise(scaler, x).T)
            features = lower.T
            center, factor = jnp.zeros(len(x), x.dtype), jnp.ones(len(x), x.dtype)
        else:
            # The folds share one matrix, so that their products become one; each applies its own
            # standardisation to the parameters.
            basis, features = None, shared
            center = (scaler["mean"] - common["mean"]) / common["scale"]
            factor = jnp.where(varies, common["scale"] / scaler["scale"], 0)
        path = _path(features, center, factor, labels, weight, l2, tolerance, max_iterations)
        kernel, gradient = (path.pop(name) for name in ("kernel", "kernel_gradient"))
        if basis is not None:
            kernel, gradient = _matmul(basis, kernel), _matmul(basis, gradient)
        largest = jnp.max(jnp.abs(gradient), axis=(1, 2))
        return {
            **{name: jnp.tile(value, (len(l2), 1)) for name, value in scaler.items()},
            **path,
            "kernel": jnp.where(varies[:, None], kernel, 0),
            "gradient": jnp.maximum(largest, path["gradient"]),
        }

    # The operations of a single fold are too small to outweigh the cost of starting them.
    return jax.vmap(fit_fold)(weights, scalers, varies)


def _scaler(x, weight):
    """Return mean and deviation [D] of the rows, 1 for a deviation of 0; and bool [D], if not 0."""
    # Two passes relative to one row: features such as decibels lie far from zero, and the
    # deviation of a constant must be exactly zero.
    origin = x[jnp.argmax(weight > 0)]
    mean = origin + weight @ (x - origin[None])
    scale = jnp.sqrt(weight @ jnp.square(x - mean[None]))
    return {"mean": mean, "scale": jnp.where(scale > 0, scale, 1)}, scale > 0


def _path(features, center, factor, labels, weight, l2, tolerance, max_iterations):
    """Fit on the rows (features - center) * factor [N, D] for every penalty [P].

    Returns:
      `l2` [P], `kernel` and `kernel_gradient` [P, D, C], `bias` [P, C] and the largest entry of
      its `gradient` [P], `loss` and `iterations` [P].
    """
    # The bias is the weight of a constant feature of 1, without a penalty.
    ones = jnp.ones((len(features), 1), features.dtype)
    rows = jnp.concatenate([(features - center[None]) * factor[None], ones], axis=1)
    penalised = jnp.ones((rows.shape[1], 1), rows.dtype).at[-1].set(0)

    def logits(weights):
        kernel = factor[:, None] * weights[:-1]
        return _matmul(features, kernel) + (weights[-1] - _matmul(center, kernel))[None]

    def solve(weights, penalty):
        def value_and_gradient(weights):
            log_p = jax.nn.log_softmax(logits(weights))
            decay = penalty * penalised * weights
            loss = -weight @ jnp.sum(labels * log_p, axis=1) + jnp.vdot(decay, weights) / 2
            error = weight[:, None] * (jnp.exp(log_p) - labels)
            total = jnp.sum(error, axis=0, keepdims=True)
            gradient = factor[:, None] * (_matmul(features.T, error) - center[:, None] * total)
            return loss, jnp.concatenate([gradient, total]) + decay

        # The second derivative of a row's loss is at most 1/2 (Boehning 1992) and vanishes where
        # the prediction is certain. Half of the Gini impurity is no bound, but close.
        p = jax.nn.softmax(logits(weights))
        curvature = weight * jnp.sum(p * (1 - p), axis=1) / 2
        hessian = _matmul((curvature[:, None] * rows).T, rows)
        ridge = penalty * penalised[:, 0] + 10 * jnp.finfo(rows.dtype).eps * jnp.trace(hessian)
        cholesky = jax.scipy.linalg.cho_factor(hessian + jnp.diag(ridge))
        inverse = jax.scipy.linalg.cho_solve(cholesky, jnp.eye(len(ridge), dtype=rows.dtype))
        weights, loss, gradient, iterations = lbfgs.minimize(
            value_and_gradient,
            weights,
            inverse,
            max_iterations=max_iterations,
            tolerance=tolerance,
        )
        return weights, {
            "l2": penalty,
            "kernel": weights[:-1],
            "kernel_gradient": gradient[:-1],
            "bias": weights[-1],
            "gradient": jnp.max(jnp.abs(gradient[-1])),
            "loss": loss,
            "iterations": iterations,
        }

    order = jnp.argsort(-l2)
    start = jnp.zeros((rows.shape[1], labels.shape[1]), rows.dtype)
    _, path = lax.scan(solve, start, l2[order])
    return jax.tree.map(lambda leaf: leaf[jnp.argsort(order)], path)


def _standardise(params, x):
    return (x - params["mean"][None]) / params["scale"][None]


def _matmul(a, b):
    return jnp.matmul(a, b, precision="highest")
