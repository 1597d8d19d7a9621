"""Several normalise-ReLU-project branches of one input, in one pass over it.

The branches of a BBNN module all normalise the same activation, each with its own scale and
shift, and project it to few channels. Written layer by layer that is memory traffic: each branch
writes a normalised copy and reads it again, and keeps another for the gradient. Here the
gradient recomputes everything from the input. On CPU the pass runs in blocks of rows small
enough for the cache; other backends get the formula, which their compilers fuse.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mgr_jax.models import layers

BLOCK_VALUES = 2**19  # values of x in a block: 2 MB of float32, a core's share of the cache


@jax.custom_vjp
def normalise_relu_project(
    pieces: Sequence[jax.Array],
    center: jax.Array,
    factor: jax.Array,
    shift: jax.Array,
    kernel: jax.Array,
) -> tuple[jax.Array, ...]:
    """relu((x - center[k]) * factor[k] + shift[k]) @ kernel[k] for every branch k.

    Args:
      pieces: x as pieces [B, H, W, C_i] whose channels, side by side, are its C channels.
      center: [K, C], in float32 or better, as are `factor` and `shift`.
      factor: [K, C].
      shift: [K, C].
      kernel: [K, C, N], in the type of the products.

    Returns:
      K arrays [B, H, W, N].
    """
    return lax.platform_dependent(
        pieces, center, factor, shift, kernel, cpu=_forward_in_blocks, default=_forward
    )


def _keep(pieces, center, factor, shift, kernel):
    inputs = pieces, center, factor, shift, kernel
    return normalise_relu_project(*inputs), inputs


def _gradient(inputs, gradients):
    to_pieces, to_factor, to_shift, to_kernel = lax.platform_dependent(
        *inputs, gradients, cpu=_backward_in_blocks, default=_backward
    )
    _, _, factor, shift, kernel = inputs
    return (
        to_pieces,
        -to_shift * factor,
        to_factor,
        to_shift.astype(shift.dtype),
        to_kernel.astype(kernel.dtype),
    )


normalise_relu_project.defvjp(_keep, _gradient)


def _split(pieces, *arrays):
    """Per piece: its channels (the last axis, or that before it for kernels) of every array."""
    start = 0
    for piece in pieces:
        end = start + piece.shape[-1]
        yield piece, *(array[:, start:end] for array in arrays)
        start = end


def _normalise(x, center, factor, shift):
    """x - center, and the normalised value, of `x` [B, ..., C_i] by vectors [C_i]."""
    centered = x.astype(center.dtype) - layers.as_row(center, x)
    return centered, centered * layers.as_row(factor, x) + layers.as_row(shift, x)


def _forward(pieces, center, factor, shift, kernel):
    outputs = []
    for k in range(len(kernel)):
        output = 0.0
        for x, c, f, s, w in _split(pieces, center, factor, shift, kernel):
            _, z = _normalise(x, c[k], f[k], s[k])
            output += jax.nn.relu(z).astype(w.dtype) @ w[k]
        outputs.append(output)
    return tuple(outputs)


def _sum_rows(values):
    return jnp.sum(values, tuple(range(values.ndim - 1)))


def _backward(pieces, center, factor, shift, kernel, gradients, total=_sum_rows):
    """Gradients of all inputs; `total` [..., C] -> [C] sums over all axes but the last."""
    by_piece = []
    for x, c, f, s, w in _split(pieces, center, factor, shift, kernel):
        to_x, to_factor, to_shift, to_kernel = 0.0, [], [], []
        for k, g in enumerate(gradients):
            centered, z = _normalise(x, c[k], f[k], s[k])
            hidden = jax.nn.relu(z).astype(w.dtype)
            to_kernel.append(jnp.einsum("...c,...n->cn", hidden, g, preferred_element_type=z.dtype))
            to_z = jnp.where(z > 0, (g @ w[k].T).astype(z.dtype), 0)
            to_factor.append(total(to_z * centered))
            to_shift.append(total(to_z))
            to_x += to_z * layers.as_row(f[k], x)
        vectors = (jnp.stack(part) for part in (to_factor, to_shift, to_kernel))
        by_piece.append((to_x.astype(x.dtype), *vectors))
    to_pieces, *vectors = zip(*by_piece, strict=True)
    return list(to_pieces), *(jnp.concatenate(part, 1) for part in vectors)


def _blocks(pieces, *arrays):
    """Pixels as rows: pieces and arrays [R, channels], R, and the rows of a block.

    What is left over makes a smaller block, the last one.
    """
    rows = [x.reshape(-1, x.shape[-1]) for x in (*pieces, *arrays)]
    num_rows = rows[0].shape[0]
    size = max(1, min(num_rows, BLOCK_VALUES // sum(x.shape[-1] for x in pieces)))
    # Blocks of even size, a multiple of 8 rows, which the loops of the machine divide by.
    size = min(num_rows, -(-num_rows // -(-num_rows // size) // 8) * 8)
    return rows[: len(pieces)], rows[len(pieces) :], num_rows, size


def _over_blocks(body, num_rows, size, carry):
    """`body(start, size, carry)` over all blocks, in order."""
    whole = num_rows // size
    carry = lax.fori_loop(0, whole, lambda i, carry: body(i * size, size, carry), carry)
    left = num_rows - whole * size
    return body(whole * size, left, carry) if left else carry


def _cut(arrays, start, size):
    return [lax.dynamic_slice_in_dim(array, start, size) for array in arrays]


def _put(wholes, parts, start):
    return [
        lax.dynamic_update_slice_in_dim(whole, part, start, 0)
        for whole, part in zip(wholes, parts, strict=True)
    ]


def _forward_in_blocks(pieces, center, factor, shift, kernel):
    if not all(isinstance(size, int) for size in pieces[0].shape):
        return _forward(pieces, center, factor, shift, kernel)  # Exported for any batch.
    rows, _, num_rows, size = _blocks(pieces)

    def body(start, size, outputs):
        block = jnp.concatenate(_cut(rows, start, size), axis=-1)
        return _put(outputs, _forward([block], center, factor, shift, kernel), start)

    outputs = [jnp.zeros((num_rows, kernel.shape[-1]), kernel.dtype) for _ in kernel]
    outputs = _over_blocks(body, num_rows, size, outputs)
    return tuple(y.reshape(*pieces[0].shape[:-1], -1) for y in outputs)


def _backward_in_blocks(pieces, center, factor, shift, kernel, gradients):
    rows, gradient_rows, num_rows, size = _blocks(pieces, *gradients)
    ends = np.cumsum([piece.shape[-1] for piece in pieces])[:-1].tolist()

    def body(start, size, carry):
        to_rows, *sums = carry
        block = jnp.concatenate(_cut(rows, start, size), axis=-1)
        (to_block,), *new = _backward(
            [block],
            center,
            factor,
            shift,
            kernel,
            _cut(gradient_rows, start, size),
            # A product with ones, which is faster than XLA's sum over rows.
            lambda values: jnp.ones(size, values.dtype) @ values,
        )
        to_rows = _put(to_rows, jnp.split(to_block, ends, axis=-1), start)
        return to_rows, *(a + b for a, b in zip(sums, new, strict=True))

    carry = (
        [jnp.zeros_like(x) for x in rows],
        jnp.zeros(factor.shape, factor.dtype),
        jnp.zeros(shift.shape, factor.dtype),
        jnp.zeros(kernel.shape, factor.dtype),
    )
    to_rows, *sums = _over_blocks(body, num_rows, size, carry)
    return [y.reshape(x.shape) for x, y in zip(pieces, to_rows, strict=True)], *sums
