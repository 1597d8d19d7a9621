"""Normalisation, ReLU and 1x1 convolution of several branches, in one pass over their input.

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

from mgr_jax.ops.cpu import blocks
from mgr_jax.ops.moments import as_row


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
    _, *vectors, kernel = inputs
    vectors = _to_vectors(to_factor, to_shift, vectors)
    return to_pieces, *vectors, to_kernel.astype(kernel.dtype)


def _to_vectors(to_factor, to_shift, vectors):
    """Gradients of center, factor and shift, in their types."""
    gradients = -to_shift * vectors[1], to_factor, to_shift
    return (g.astype(v.dtype) for g, v in zip(gradients, vectors, strict=True))


normalise_relu_project.defvjp(_keep, _gradient)


@jax.custom_vjp
def normalise_relu(
    x: jax.Array, center: jax.Array, factor: jax.Array, shift: jax.Array
) -> jax.Array:
    """relu((x - center) * factor + shift) of `x` [B, H, W, C] by vectors [C], in the type of x."""
    return jax.nn.relu(_normalise(x, center, factor, shift)[1]).astype(x.dtype)


def _keep_relu(x, center, factor, shift):
    return normalise_relu(x, center, factor, shift), (x, center, factor, shift)


def _relu_gradient(inputs, gradient):
    to_x, to_factor, to_shift = lax.platform_dependent(
        *inputs, gradient, cpu=_relu_backward_in_blocks, default=_relu_backward
    )
    return to_x, *_to_vectors(to_factor, to_shift, inputs[1:])


normalise_relu.defvjp(_keep_relu, _relu_gradient)


def _split(pieces, *arrays):
    """Per piece: its channels (the last axis, or that before it for kernels) of every array."""
    start = 0
    for piece in pieces:
        end = start + piece.shape[-1]
        yield piece, *(array[:, start:end] for array in arrays)
        start = end


def _normalise(x, center, factor, shift):
    """x - center, and the normalised value, of `x` [B, ..., C_i] by vectors [C_i]."""
    centered = x.astype(center.dtype) - as_row(center, x)
    return centered, centered * as_row(factor, x) + as_row(shift, x)


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


def _relu_backward(x, center, factor, shift, gradient, total=_sum_rows):
    """Gradients of x, factor and shift; `total` [..., C] -> [C] sums over all axes but the last."""
    centered, z = _normalise(x, center, factor, shift)
    to_z = jnp.where(z > 0, gradient.astype(z.dtype), 0)
    to_x = (to_z * as_row(factor, x)).astype(x.dtype)
    return to_x, total(to_z * centered), total(to_z)


def _backward(pieces, center, factor, shift, kernel, gradients, total=_sum_rows):
    """Gradients of all inputs."""
    by_piece = []
    for x, c, f, s, w in _split(pieces, center, factor, shift, kernel):
        to_x, to_factor, to_shift, to_kernel = 0.0, [], [], []
        for k, g in enumerate(gradients):
            _, z = _normalise(x, c[k], f[k], s[k])
            hidden = jax.nn.relu(z).astype(w.dtype)
            to_kernel.append(jnp.einsum("...c,...n->cn", hidden, g, preferred_element_type=z.dtype))
            vectors = c[k], f[k], s[k]
            own, *sums = _relu_backward(x.astype(z.dtype), *vectors, g @ w[k].T, total)
            to_x += own
            for whole, part in zip((to_factor, to_shift), sums, strict=True):
                whole.append(part)
        vectors = (jnp.stack(part) for part in (to_factor, to_shift, to_kernel))
        by_piece.append((to_x.astype(x.dtype), *vectors))
    to_pieces, *vectors = zip(*by_piece, strict=True)
    return list(to_pieces), *(jnp.concatenate(part, 1) for part in vectors)


def _forward_in_blocks(pieces, center, factor, shift, kernel):
    if not all(isinstance(size, int) for size in pieces[0].shape):
        return _forward(pieces, center, factor, shift, kernel)  # Exported for any batch.
    rows = [blocks.as_rows(x) for x in pieces]

    def body(start, size, outputs):
        block = jnp.concatenate(blocks.cut(rows, start, size), axis=-1)
        return blocks.put(outputs, _forward([block], center, factor, shift, kernel), start)

    num_rows = len(rows[0])
    outputs = [jnp.zeros((num_rows, kernel.shape[-1]), kernel.dtype) for _ in kernel]
    outputs = blocks.over_blocks(body, num_rows, kernel.shape[1], outputs)
    return tuple(y.reshape(*pieces[0].shape[:-1], -1) for y in outputs)


def _backward_in_blocks(pieces, center, factor, shift, kernel, gradients):
    rows, gradient_rows = ([blocks.as_rows(x) for x in part] for part in (pieces, gradients))
    ends = np.cumsum([piece.shape[-1] for piece in pieces])[:-1].tolist()

    def body(start, size, carry):
        to_rows, *sums = carry
        block = jnp.concatenate(blocks.cut(rows, start, size), axis=-1)
        (to_block,), *new = _backward(
            [block],
            center,
            factor,
            shift,
            kernel,
            blocks.cut(gradient_rows, start, size),
            blocks.sum_rows,
        )
        to_rows = blocks.put(to_rows, jnp.split(to_block, ends, axis=-1), start)
        return to_rows, *(a + b for a, b in zip(sums, new, strict=True))

    type_ = jnp.result_type(*pieces, center, factor, shift)
    carry = (
        [jnp.zeros_like(x) for x in rows],
        *(jnp.zeros(array.shape, type_) for array in (factor, shift, kernel)),
    )
    to_rows, *sums = blocks.over_blocks(body, len(rows[0]), kernel.shape[1], carry)
    return [y.reshape(x.shape) for x, y in zip(pieces, to_rows, strict=True)], *sums


def _relu_backward_in_blocks(x, center, factor, shift, gradient):
    abreast = blocks.abreast(x.size // x.shape[-1])
    rows = [a.reshape(-1, abreast * x.shape[-1]) for a in (x, gradient)]
    vectors = [jnp.tile(vector, abreast) for vector in (center, factor, shift)]

    def body(start, size, carry):
        to_rows, *sums = carry
        block, gradient_block = blocks.cut(rows, start, size)
        to_block, *new = _relu_backward(block, *vectors, gradient_block, blocks.sum_rows)
        (to_rows,) = blocks.put([to_rows], [to_block], start)
        return to_rows, *(a + b for a, b in zip(sums, new, strict=True))

    zero = jnp.zeros(vectors[0].shape, jnp.result_type(x, *vectors))
    carry = jnp.zeros_like(rows[0]), zero, zero
    to_rows, *sums = blocks.over_blocks(body, *rows[0].shape, carry)
    return to_rows.reshape(x.shape), *(part.reshape(abreast, -1).sum(0) for part in sums)
