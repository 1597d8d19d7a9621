"""Integrated gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Integrated(NamedTuple):
    """Attributions in the shape of the input, and the scores of both ends of the path.

    Attributes:
      attributions: their sum is `score - baseline_score` up to the error of the quadrature.
      score, baseline_score: the function at the input and at the baseline.
    """

    attributions: jax.Array
    score: jax.Array
    baseline_score: jax.Array


def integrated_gradients(
    score: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    baseline: jax.Array,
    *,
    num_steps: int = 16,
) -> Integrated:
    """Return the attributions of `score(x)`, relative to `score(baseline)`.

    The gradient is averaged along the straight line from baseline to input, by Gauss-Legendre
    quadrature, and multiplied by their difference.

    Args:
      score: input of any shape -> scalar.
      x: the input. baseline: of the same shape.
      num_steps: nodes of the quadrature, each one gradient.
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_steps)
    gradient, difference = jax.grad(score), x - baseline

    def add(total: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        position, weight = node
        return total + weight * gradient(baseline + position * difference), None

    steps = (jnp.asarray((nodes + 1) / 2, x.dtype), jnp.asarray(weights / 2, x.dtype))
    mean, _ = jax.lax.scan(add, jnp.zeros_like(x), steps)
    return Integrated(mean * difference, score(x), score(baseline))
