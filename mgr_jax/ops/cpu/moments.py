"""Mean and variance on CPU, in one pass over blocks of rows."""

import jax
import jax.numpy as jnp

from mgr_jax.ops.arrays import at_least_float32
from mgr_jax.ops.cpu import blocks


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return mean and biased variance [C] of `x` [..., C], block by block."""
    channels = x.shape[-1]
    abreast = blocks.rows_abreast(x.size // channels)
    rows = x.reshape(-1, abreast * channels)

    def body(start, size, carry):
        block = at_least_float32(blocks.read([rows], start, size)[0])
        mean = blocks.sum_rows(block) / size
        squares = blocks.sum_rows(jnp.square(block - mean[None]))
        return _join(carry, (mean, squares, jnp.full_like(carry[2], size)))

    zero = at_least_float32(jnp.zeros(rows.shape[1], x.dtype))
    num_rows, width = rows.shape
    mean, squares, count = blocks.over_blocks(body, num_rows, width, (zero, zero, zero[0]))
    mean, squares = mean.reshape(abreast, channels), squares.reshape(abreast, channels)
    center = jnp.mean(mean, 0)
    squares = jnp.sum(squares + count * jnp.square(mean - center[None]), 0)
    return center, squares / (count * abreast)


def _join(a: tuple[jax.Array, ...], b: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Join (mean, sum of squared differences, count) of two sets (Chan, Golub & LeVeque 1983)."""
    count = a[2] + b[2]
    step = b[0] - a[0]
    mean = a[0] + step * (b[2] / count)
    return mean, a[1] + b[1] + jnp.square(step) * (a[2] * b[2] / count), count
