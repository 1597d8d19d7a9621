"""`ops.normalise_relu` on CPU, block by block: the same formulas, within the cache."""

import jax.numpy as jnp
import numpy as np

from mgr_jax.ops import formulas
from mgr_jax.ops.cpu import blocks


def relu_backward(x, center, factor, shift, gradient):
    """Return the gradients of x [B, H, W, C], factor and shift [C]."""
    channels = x.shape[-1]
    abreast = blocks.rows_abreast(x.size // channels)
    rows = [array.reshape(-1, abreast * channels) for array in (x, gradient)]
    center, factor, shift = (jnp.tile(vector, abreast) for vector in (center, factor, shift))

    def body(start, size, carry):
        to_rows, *sums = carry
        block, gradient_block = blocks.read(rows, start, size)
        to_block, *new = formulas.relu_backward(
            block, center, factor, shift, gradient_block, blocks.sum_rows
        )
        (to_rows,) = blocks.write([to_rows], [to_block], start)
        return to_rows, *(a + b for a, b in zip(sums, new, strict=True))

    zero = jnp.zeros(center.shape, jnp.result_type(x, center, factor, shift))
    num_rows, width = rows[0].shape
    carry = jnp.zeros_like(rows[0]), zero, zero
    to_rows, *sums = blocks.over_blocks(body, num_rows, width, carry)
    return to_rows.reshape(x.shape), *(part.reshape(abreast, -1).sum(0) for part in sums)


def project_forward(pieces, center, factor, shift, kernel):
    """Return the K projections [B, H, W, N] of the pieces [B, H, W, C_i]."""
    if not all(isinstance(size, int) for size in pieces[0].shape):
        # A symbolic batch, of an export, cannot be cut into blocks.
        return formulas.project_forward(pieces, center, factor, shift, kernel)
    rows = [blocks.as_rows(x) for x in pieces]

    def body(start, size, outputs):
        block = jnp.concatenate(blocks.read(rows, start, size), axis=-1)
        new = formulas.project_forward([block], center, factor, shift, kernel)
        return blocks.write(outputs, new, start)

    num_rows = len(rows[0])
    outputs = [jnp.zeros((num_rows, kernel.shape[-1]), kernel.dtype) for _ in kernel]
    outputs = blocks.over_blocks(body, num_rows, kernel.shape[1], outputs)
    return tuple(y.reshape(*pieces[0].shape[:-1], -1) for y in outputs)


def project_backward(pieces, center, factor, shift, kernel, gradients):
    """Return the gradients of the pieces, and of factor, shift [K, C] and kernel [K, C, N]."""
    rows, gradient_rows = ([blocks.as_rows(x) for x in part] for part in (pieces, gradients))
    ends = np.cumsum([piece.shape[-1] for piece in pieces])[:-1].tolist()

    def body(start, size, carry):
        to_rows, *sums = carry
        block = jnp.concatenate(blocks.read(rows, start, size), axis=-1)
        gradient_blocks = blocks.read(gradient_rows, start, size)
        (to_block,), *new = formulas.project_backward(
            [block], center, factor, shift, kernel, gradient_blocks, blocks.sum_rows
        )
        to_rows = blocks.write(to_rows, jnp.split(to_block, ends, axis=-1), start)
        return to_rows, *(a + b for a, b in zip(sums, new, strict=True))

    dtype = jnp.result_type(*pieces, center, factor, shift)
    sums = (jnp.zeros(array.shape, dtype) for array in (factor, shift, kernel))
    carry = [jnp.zeros_like(x) for x in rows], *sums
    to_rows, *sums = blocks.over_blocks(body, len(rows[0]), kernel.shape[1], carry)
    return [y.reshape(x.shape) for x, y in zip(pieces, to_rows, strict=True)], *sums
