"""Multinomial logistic regression with an L2 penalty, fitted by L-BFGS.

The objective is that of scikit-learn's `LogisticRegression` on standardised features, divided
by C N: mean cross entropy + l2/2 |W|^2 with l2 = 1 / (C N); the bias is not penalised.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax
from jax import lax

Params = Mapping[str, jax.Array]


def fit(
    x: jax.Array,
    y: jax.Array,
    *,
    num_classes: int,
    l2: Sequence[float],
    max_iterations: int = 500,
    tolerance: float | None = None,
    sample_weight: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """Fits one model for every penalty, all in one compiled call.

    Args:
      x: features [N, D]; standardised inside with the mean and deviation of these rows.
      y: labels [N], integers below `num_classes`.
      num_classes: C.
      l2: penalties, P of them.
      max_iterations: of L-BFGS.
      tolerance: the fit ends when no entry of the gradient is larger; by default 1e-7 in float32
        and 1e-8 in float64 (the type of `x`).
      sample_weight: weights [N] of the rows, 0 leaves a row out; scaled to a mean of 1 inside.

    Returns:
      Parameters with a leading axis P: `l2` [P], `mean` and `scale` [P, D] of the features,
      `kernel` [P, D, C], `bias` [P, C], and the `loss` [P], the largest entry of the `gradient`
      [P] and the number of `iterations` [P] at the end.

    Raises:
      ValueError: shapes that do not fit, no rows, an empty or negative `l2`, a label out of range.
    """
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise ValueError(f"x is {x.shape} and y is {y.shape}; they must be [N, D] and [N], N > 0")
    if not len(l2) or min(l2) < 0:
        raise ValueError(f"l2 is {tuple(l2)}; give one or more penalties of 0 or more")
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.float32)
    y = jnp.asarray(y)
    if not isinstance(y, jax.core.Tracer) and (y.min() < 0 or y.max() >= num_classes):
        raise ValueError(f"y has labels from {y.min()} to {y.max()}; num_classes is {num_classes}")
    if tolerance is None:
        tolerance = 1e-8 if x.dtype == jnp.float64 else 1e-7
    weight = jnp.ones(y.shape, x.dtype) if sample_weight is None else sample_weight
    return _fit(
        x,
        y,
        jnp.asarray(weight, x.dtype),
        jnp.asarray(l2, x.dtype),
        jnp.asarray(tolerance, x.dtype),
        max_iterations,
        num_classes=num_classes,
    )


def log_probabilities(params: Params, x: jax.Array) -> jax.Array:
    """Log-probabilities [N, C] of features `x` [N, D], from parameters without the axis P."""
    return jax.nn.log_softmax(_logits(params, _standardise(params, x)))


def select(paths: Params, x_valid: jax.Array, y_valid: jax.Array) -> dict[str, jax.Array]:
    """The parameters, without the axis P, that are best on the validation part.

    Highest accuracy wins; ties go to the lower cross entropy, then to the stronger penalty.

    Args:
      paths: what `fit` returned.
      x_valid: features [N, D].
      y_valid: labels [N].

    Raises:
      ValueError: the validation part is empty.
    """
    if not len(y_valid):
        raise ValueError("x_valid is empty; choosing a penalty needs a validation part")
    log_p = jax.vmap(log_probabilities, (0, None))(paths, jnp.asarray(x_valid))
    accuracy = jnp.mean(jnp.argmax(log_p, -1) == jnp.asarray(y_valid)[None], axis=-1)
    loss = -jnp.mean(jnp.take_along_axis(log_p, jnp.asarray(y_valid)[None, :, None], -1), (1, 2))
    ranks = zip(accuracy.tolist(), (-loss).tolist(), paths["l2"].tolist(), strict=True)
    best = max(enumerate(ranks), key=lambda item: item[1])[0]
    return {name: value[best] for name, value in paths.items()}


@jax.jit(static_argnames="num_classes")
def _fit(x, y, weight, l2, tolerance, max_iterations, *, num_classes):
    weight = weight / weight.sum()
    # Relative to a row, and in two passes: features such as decibels lie far from zero, and one
    # that is constant must come out with a deviation of exactly zero.
    origin = x[jnp.argmax(weight > 0)]
    mean = origin + weight @ (x - origin[None])
    scale = jnp.sqrt(weight @ jnp.square(x - mean[None]))
    scaler = {"mean": mean, "scale": jnp.where(scale > 0, scale, 1)}
    x = _standardise(scaler, x)

    def loss(weights, penalty):
        log_p = jax.nn.log_softmax(_logits(weights, x))
        cross_entropy = -weight @ jnp.take_along_axis(log_p, y[:, None], 1)[:, 0]
        return cross_entropy + penalty / 2 * jnp.sum(jnp.square(weights["kernel"]))

    def solve(penalty):
        weights = {
            "kernel": jnp.zeros((x.shape[1], num_classes), x.dtype),
            "bias": jnp.zeros(num_classes, x.dtype),
        }
        weights, value, gradient, iterations = _minimise(
            lambda w: loss(w, penalty), weights, max_iterations, tolerance
        )
        end = {"l2": penalty, "loss": value, "gradient": gradient, "iterations": iterations}
        return scaler | weights | end

    return jax.vmap(solve)(l2)


def _minimise(function, start, max_iterations, tolerance):
    """L-BFGS until the gradient is small or the function no longer falls."""
    optimizer = optax.lbfgs(memory_size=10)
    value_and_grad = optax.value_and_grad_from_state(function)
    patience = 5  # steps without progress, after which rounding is all that is left

    def unfinished(carry):
        _, state, previous, stalled = carry
        gradient = optax.tree.norm(optax.tree.get(state, "grad"), ord=jnp.inf)
        first = previous == jnp.inf
        count = optax.tree.get(state, "count")
        return (count < max_iterations) & (first | (gradient > tolerance)) & (stalled < patience)

    def step(carry):
        params, state, previous, stalled = carry
        value, gradient = value_and_grad(params, state=state)
        updates, state = optimizer.update(
            gradient, state, params, value=value, grad=gradient, value_fn=function
        )
        params = optax.apply_updates(params, updates)
        value = optax.tree.get(state, "value")
        stalled = jnp.where(value < previous, 0, stalled + 1)
        return params, state, jnp.minimum(value, previous), stalled

    infinite = jnp.full((), jnp.inf, jax.tree.leaves(start)[0].dtype)
    carry = start, optimizer.init(start), infinite, jnp.zeros((), jnp.int32)
    params, state, _, _ = lax.while_loop(unfinished, step, carry)
    value, gradient = jax.value_and_grad(function)(params)
    largest = optax.tree.norm(gradient, ord=jnp.inf)
    return params, value, largest, optax.tree.get(state, "count")


def _standardise(params, x):
    return (x - params["mean"][None]) / params["scale"][None]


def _logits(params, x):
    return jnp.matmul(x, params["kernel"], precision="highest") + params["bias"][None]
