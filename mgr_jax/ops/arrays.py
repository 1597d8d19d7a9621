"""Shapes and types that all operations share."""

import jax
import jax.numpy as jnp
import numpy as np


def as_row(vector: jax.Array | np.ndarray, x: jax.Array) -> jax.Array:
    """Return `vector` [C] with as many axes as `x` [..., C]: rank promotion is never implicit."""
    return jnp.reshape(vector, (1,) * (x.ndim - 1) + (-1,))


def at_least_float32(x: jax.Array) -> jax.Array:
    """Return `x` in float32, or in its own type if that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
