"""Passes over the rows of an activation in blocks, so that each block stays in the cache.

Layer by layer, XLA's CPU compiler writes every element-wise result to memory and reads it again,
and its sums over rows are slow. In blocks both stay close to the cores.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

BLOCK_VALUES = 2**19  # 2 MB of float32: a core's share of the cache


def as_rows(x: jax.Array) -> jax.Array:
    """Reshape `x` [..., C] to [R, C]."""
    return x.reshape(-1, x.shape[-1])


def rows_abreast(num_rows: int) -> int:
    """Return how many rows go side by side in one wide row where channels do not mix: up to 8."""
    return next(n for n in (8, 4, 2, 1) if num_rows % n == 0)


def block_size(num_rows: int, channels: int) -> int:
    """Return the rows of a block: all if they fit, else an even part of them, a multiple of 8."""
    most = max(1, BLOCK_VALUES // channels)
    if num_rows <= most:
        return num_rows
    # A remainder would be compiled once more, as a pass of its own.
    for size in range((most + most // 8) // 8 * 8, most // 2, -8):
        if num_rows % size == 0:
            return size
    return min(num_rows, -(-num_rows // -(-num_rows // most) // 8) * 8)


def over_blocks(
    body: Callable[[Any, int, Any], Any], num_rows: int, channels: int, carry: Any
) -> Any:
    """Run `carry = body(start, size, carry)` over all blocks of rows, in order.

    `start` may be traced, `size` is a number; the last block may be smaller than the others.
    """
    size = block_size(num_rows, channels)
    num_blocks, rest = divmod(num_rows, size)
    carry = lax.fori_loop(0, num_blocks, lambda i, carry: body(i * size, size, carry), carry)
    return body(num_blocks * size, rest, carry) if rest else carry


def read(arrays: Sequence[jax.Array], start: Any, size: int) -> list[jax.Array]:
    """Return rows `start` to `start + size` of every array [R, C_i]."""
    return [lax.dynamic_slice_in_dim(array, start, size) for array in arrays]


def write(arrays: Sequence[jax.Array], rows: Sequence[jax.Array], start: Any) -> list[jax.Array]:
    """Return `arrays` [R, C_i] with their rows from `start` on replaced by `rows` [size, C_i]."""
    return [
        lax.dynamic_update_slice_in_dim(array, new, start, 0)
        for array, new in zip(arrays, rows, strict=True)
    ]


def sum_rows(x: jax.Array) -> jax.Array:
    """Sum `x` [R, C] over its rows by a product with ones, which is faster on CPU; returns [C]."""
    return (jnp.ones((1, x.shape[0]), x.dtype) @ x)[0]


def materialized(vectors: jax.Array) -> jax.Array:
    """Return `vectors` [N, C], if finite, such that they are computed once.

    XLA else moves everything that leads to them, hundreds of operations on channels, into the loop
    over the pixels that they meet. It does not move a product, here with the identity.
    """
    return jnp.matmul(vectors, jnp.eye(vectors.shape[1], dtype=vectors.dtype), precision="highest")
