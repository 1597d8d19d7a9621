"""Linear discriminant analysis with shrunk covariances (Ledoit and Wolf 2004).

The model of scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")` on
standardised features: each class's covariance is shrunk towards its diagonal as far as its own
rows call for, and their mean by prior is shared. It is solved in the space of the rows, so that
thousands of features on a few hundred rows take a fraction of a second.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

Params = Mapping[str, jax.Array]


def fit(
    x: jax.Array, y: jax.Array, *, num_classes: int, rows: jax.Array | None = None
) -> dict[str, jax.Array]:
    """Fits the discriminants.

    Args:
      x: features [N, D]; standardised inside with the mean and deviation of these rows.
      y: labels [N], integers below `num_classes`.
      num_classes: C.
      rows: bool [N], which of them to learn from; all if None. One compiled program serves every
        choice of rows, as the folds of a cross-validation make them.

    Returns:
      `mean` and `scale` [D] of the features, `kernel` [D, C] and `bias` [C]; a class without a row
      gets a bias of -inf.

    Raises:
      ValueError: shapes that do not fit, no rows, or a label out of range.
    """
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise ValueError(f"x is {x.shape} and y is {y.shape}; they must be [N, D] and [N], N > 0")
    rows = np.ones(len(y), bool) if rows is None else np.asarray(rows, bool)
    if rows.shape != y.shape or not rows.any():
        raise ValueError(f"rows is {rows.shape}; it must be [{len(y)}], and True somewhere")
    x, y = jnp.asarray(x), jnp.asarray(y)
    if y.min() < 0 or y.max() >= num_classes:
        raise ValueError(f"y has labels from {y.min()} to {y.max()}; num_classes is {num_classes}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.float32)
    return _fit(x, y, jnp.asarray(rows, x.dtype), num_classes=num_classes)


def log_probabilities(params: Params, x: jax.Array) -> jax.Array:
    """Log-probabilities [N, C] of features `x` [N, D]."""
    return jax.nn.log_softmax(discriminants(params, x))


def discriminants(params: Params, x: jax.Array) -> jax.Array:
    """Linear discriminants [N, C]: log-probabilities up to a constant of each row."""
    x = (x - params["mean"][None]) / params["scale"][None]
    return jnp.matmul(x, params["kernel"], precision="highest") + params["bias"][None]


@jax.jit(static_argnames="num_classes")
def _fit(x, y, learned, *, num_classes):
    total = learned.sum()
    mean = jnp.sum(learned[:, None] * x, axis=0) / total
    scale = jnp.sqrt(jnp.sum(learned[:, None] * jnp.square(x - mean[None]), axis=0) / total)
    scale = jnp.where(scale > 1e-6 * jnp.abs(mean), scale, 1)
    x = (x - mean[None]) / scale[None]
    member = jax.nn.one_hot(y, num_classes, dtype=x.dtype) * learned[:, None]
    count = member.sum(axis=0)
    prior = count / total
    rows = jnp.maximum(count, 1)
    centers = _product(member.T, x) / rows[:, None]
    centred = (x - centers[y]) * learned[:, None]
    variance = _product(member.T, jnp.square(centred)) / rows[:, None]

    def shrinkage(label):
        return _ledoit_wolf(centred, member[:, label], variance[label])

    share = jax.lax.map(shrinkage, jnp.arange(num_classes))
    # Sigma = rows' own part, of rank N, plus a diagonal: solved by Woodbury's identity.
    diagonal = (prior * share) @ variance
    diagonal = jnp.maximum(diagonal, 1e-6)
    weight = (prior * (1 - share) / rows)[y]
    own = centred * jnp.sqrt(weight)[:, None]
    scaled = own / diagonal[None]
    core = jnp.eye(len(y), dtype=x.dtype) + _product(scaled, own.T)
    start = centers / diagonal[None]
    solved = jnp.linalg.solve(core, _product(own, start.T))
    kernel = start.T - _product(scaled.T, solved)
    bias = -0.5 * jnp.sum(kernel * centers.T, axis=0) + jnp.log(prior)
    return {"mean": mean, "scale": scale, "kernel": kernel, "bias": bias}


def _ledoit_wolf(centred, member, variance):
    """Share of the diagonal in the shrunk covariance of the rows of one class."""
    spread = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    z = centred * member[:, None] / spread[None]
    count, size = jnp.maximum(member.sum(), 1), z.shape[1]
    gram = _product(z, z.T) / count
    total = jnp.sum(jnp.square(gram))
    mean_variance = jnp.trace(gram) / size
    distance = total / size - jnp.square(mean_variance)
    lengths = jnp.square(jnp.diagonal(gram) * count)
    error = (lengths.sum() / count - total) / (size * count)
    return jnp.clip(jnp.where(distance > 0, error / jnp.where(distance > 0, distance, 1), 0), 0, 1)


def _product(a, b):
    return jnp.matmul(a, b, precision="highest")
