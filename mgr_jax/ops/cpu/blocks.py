"""Passes over the rows of an activation, block by block, so that each block stays in the cache.

What XLA's CPU compiler does layer by layer is memory traffic: every element-wise result is written
out and read again, and sums over rows are slow. In blocks both stay close to the cores.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

BLOCK_VALUES = 2**19  # values of a block: 2 MB of float32, a core's share of the cache


def as_rows(x: jax.Array) -> jax.Array:
    """`x` [..., C] as [R, C]."""
    return x.reshape(-1, x.shape[-1])


def abreast(num_rows: int) -> int:
    """How many rows go side by side in one wide row, where channels do not mix: 8 if they fit."""
    return next(n for n in (8, 4, 2, 1) if num_rows % n == 0)


def block_size(num_rows: int, channels: int) -> int:
    """Rows of a block: a part of all rows if one fits, else as even as can be; multiples of 8."""
    most = max(1, BLOCK_VALUES // channels)
    if num_rows <= most:
        return num_rows
    # What is left over is compiled once more, as a pass of its own.
    for size in range((most + most // 8) // 8 * 8, most // 2, -8):
        if num_rows % size == 0:
            return size
    return -(-num_rows // -(-num_rows // most) // 8) * 8


def over_blocks(
    body: Callable[[Any, int, Any], Any], num_rows: int, channels: int, carry: Any
) -> Any:
    """`carry = body(start, size, carry)` over all blocks of rows, in order.

    `start` may be traced, `size` is a number; what is left over makes a smaller block, the last.
    """
    size = block_size(num_rows, channels)
    whole = num_rows // size
    carry = lax.fori_loop(0, whole, lambda i, carry: body(i * size, size, carry), carry)
    left = num_rows - whole * size
    return body(whole * size, left, carry) if left else carry


def cut(arrays: Sequence[jax.Array], start: Any, size: int) -> list[jax.Array]:
    """Rows `start` to `start + size` of every array [R, C_i]: arrays [size, C_i]."""
    return [lax.dynamic_slice_in_dim(array, start, size) for array in arrays]


def put(wholes: Sequence[jax.Array], parts: Sequence[jax.Array], start: Any) -> list[jax.Array]:
    """`wholes` [R, C_i] with their rows from `start` on replaced by `parts` [size, C_i]."""
    return [
        lax.dynamic_update_slice_in_dim(whole, part, start, 0)
        for whole, part in zip(wholes, parts, strict=True)
    ]


def sum_rows(x: jax.Array) -> jax.Array:
    """The sum [C] of `x` [R, C] over its rows, as a product with ones, which is faster on CPU."""
    return (jnp.ones((1, x.shape[0]), x.dtype) @ x)[0]


def written_out(vectors: jax.Array) -> jax.Array:
    """`vectors` [N, C] as they are, if finite, but computed once: for CPU.

    XLA else puts all that leads to them, hundreds of operations on channels, into the loop over the
    pixels that they meet. Through a product, here with the identity, it does not.
    """
    return jnp.matmul(vectors, jnp.eye(vectors.shape[1], dtype=vectors.dtype), precision="highest")
