"""Linear discriminant analysis with shrunk covariances (Ledoit and Wolf 2004).

The model of scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")` on
standardised features: the covariance of each class is shrunk towards its diagonal by the share
that its rows determine, and all classes share the mean of these weighted by the priors. The system
is solved in the space of the rows, so that thousands of features of a few hundred rows take a
fraction of a second.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax.classical import logistic

Array = jax.Array | np.ndarray


def fit(x: Array, y: Array, *, num_classes: int, rows: Array | None = None) -> dict[str, jax.Array]:
    """Fit the discriminants.

    Args:
      x: features [N, D], which are standardised by the mean and deviation of the rows in use.
      y: labels [N], integers below `num_classes`.
      num_classes: C.
      rows: bool [N], the rows to learn from; all if None. One compiled program serves every
        choice, so that the folds of a cross-validation compile once.

    Returns:
      `mean` and `scale` [D] of the features, `kernel` [D, C] and `bias` [C], which is -inf for a
      class without a row.

    Raises:
      ValueError: if shapes do not match, there are no rows, or a label is out of range.
    """
    x, y = logistic.checked(x, y, num_classes)
    mask = np.ones(len(y), bool) if rows is None else np.asarray(rows, bool)
    if mask.shape != y.shape or not mask.any():
        raise ValueError(f"rows is {mask.shape}; it must be [{len(y)}], and True somewhere")
    return _fit(x, y, jnp.asarray(mask, x.dtype), num_classes=num_classes)


# The parameters are those of a logistic regression, and predict in the same way.
discriminants, log_probabilities = logistic.logits, logistic.log_probabilities


@jax.jit(static_argnames="num_classes")
def _fit(x, y, weights, *, num_classes):
    total = weights.sum()
    mean = jnp.sum(weights[:, None] * x, axis=0) / total
    scale = jnp.sqrt(jnp.sum(weights[:, None] * jnp.square(x - mean[None]), axis=0) / total)
    scale = jnp.where(scale > 1e-6 * jnp.abs(mean), scale, 1)
    x = (x - mean[None]) / scale[None]
    member = jax.nn.one_hot(y, num_classes, dtype=x.dtype) * weights[:, None]
    count = member.sum(axis=0)
    prior = count / total
    rows = jnp.maximum(count, 1)
    centers = _matmul(member.T, x) / rows[:, None]
    centred = (x - centers[y]) * weights[:, None]
    variance = _matmul(member.T, jnp.square(centred)) / rows[:, None]

    def shrinkage(label):
        return _ledoit_wolf(centred, member[:, label], variance[label])

    share = jax.lax.map(shrinkage, jnp.arange(num_classes))
    # The covariance is a matrix of rank N plus a diagonal, solved by the Woodbury identity.
    diagonal = _matmul(prior * share, variance)
    diagonal = jnp.maximum(diagonal, 1e-6)
    weight = (prior * (1 - share) / rows)[y]
    root = centred * jnp.sqrt(weight)[:, None]
    scaled_root = root / diagonal[None]
    core = jnp.eye(len(y), dtype=x.dtype) + _matmul(scaled_root, root.T)
    scaled_centers = centers / diagonal[None]
    solution = jnp.linalg.solve(core, _matmul(root, scaled_centers.T))
    kernel = scaled_centers.T - _matmul(scaled_root.T, solution)
    bias = -0.5 * jnp.sum(kernel * centers.T, axis=0) + jnp.log(prior)
    return {"mean": mean, "scale": scale, "kernel": kernel, "bias": bias}


def _ledoit_wolf(centred, member, variance):
    """Return the weight of the diagonal in the shrunk covariance of one class, from 0 to 1."""
    spread = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    z = centred * member[:, None] / spread[None]
    count, size = jnp.maximum(member.sum(), 1), z.shape[1]
    gram = _matmul(z, z.T) / count
    total = jnp.sum(jnp.square(gram))
    mean_variance = jnp.trace(gram) / size
    distance = total / size - jnp.square(mean_variance)
    lengths = jnp.square(jnp.diagonal(gram) * count)
    error = (lengths.sum() / count - total) / (size * count)
    return jnp.clip(jnp.where(distance > 0, error / jnp.where(distance > 0, distance, 1), 0), 0, 1)


def _matmul(a, b):
    return jnp.matmul(a, b, precision="highest")
