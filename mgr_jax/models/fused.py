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

BLOCK_ROWS = 1024  # rows (pixels) of a block; 128 channels of float32 are then 0.5 MB


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
    # Sums over the batch come last and once: rows may be spread over devices.
    _, _, factor, shift, kernel = inputs
    to_shift = to_shift.sum(0)
    return (
        to_pieces,
        -to_shift * factor,
        to_factor.sum(0),
        to_shift.astype(shift.dtype),
        to_kernel.sum(0).astype(kernel.dtype),
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
    row = (1,) * (x.ndim - 1) + (-1,)
    centered = x.astype(center.dtype) - center.reshape(row)
    return centered, centered * factor.reshape(row) + shift.reshape(row)


def _forward(pieces, center, factor, shift, kernel):
    outputs = []
    for k in range(len(kernel)):
        output = 0.0
        for x, c, f, s, w in _split(pieces, center, factor, shift, kernel):
            _, z = _normalise(x, c[k], f[k], s[k])
            output += jax.nn.relu(z).astype(w.dtype) @ w[k]
        outputs.append(output)
    return tuple(outputs)


def _backward(pieces, center, factor, shift, kernel, gradients):
    """Gradients of all inputs; those of vectors and kernels are summed per example first."""
    by_piece = []
    for x, c, f, s, w in _split(pieces, center, factor, shift, kernel):
        rows = tuple(range(1, x.ndim - 1))
        to_x, to_factor, to_shift, to_kernel = 0.0, [], [], []
        for k, g in enumerate(gradients):
            centered, z = _normalise(x, c[k], f[k], s[k])
            hidden = jax.nn.relu(z).astype(w.dtype)
            to_kernel.append(
                jnp.einsum("b...c,b...n->bcn", hidden, g, preferred_element_type=z.dtype)
            )
            to_z = jnp.where(z > 0, (g @ w[k].T).astype(z.dtype), 0)
            to_factor.append(jnp.sum(to_z * centered, rows))
            to_shift.append(jnp.sum(to_z, rows))
            to_x += to_z * f[k].reshape((1,) * (x.ndim - 1) + (-1,))
        vectors = (jnp.stack(part, 1) for part in (to_factor, to_shift, to_kernel))
        by_piece.append((to_x.astype(x.dtype), *vectors))
    to_pieces, *vectors = zip(*by_piece, strict=True)
    return list(to_pieces), *(jnp.concatenate(part, 2) for part in vectors)


def _channels(pieces, array):
    ends = np.cumsum([piece.shape[-1] for piece in pieces])
    return jnp.split(array, ends[:-1].tolist(), axis=-1)


def _block_height(x):
    """Image rows of a block: the most that divide the height and stay within `BLOCK_ROWS`."""
    batch, height, width = x.shape[:3]
    if not all(isinstance(size, int) for size in (batch, height, width)):
        return 1
    most = max(1, BLOCK_ROWS // (batch * width))
    return max(size for size in range(1, min(most, height) + 1) if height % size == 0)


def _block(array, index, height):
    return lax.dynamic_slice_in_dim(array, index * height, height, axis=1)


def _put(array, block, index, height):
    return lax.dynamic_update_slice_in_dim(array, block, index * height, axis=1)


def _forward_in_blocks(pieces, center, factor, shift, kernel):
    height = _block_height(pieces[0])
    # Cut along the image's rows, never the batch, which may be spread over devices.

    def body(index, outputs):
        block = jnp.concatenate([_block(x, index, height) for x in pieces], axis=-1)
        new = _forward([block], center, factor, shift, kernel)
        return tuple(_put(a, b, index, height) for a, b in zip(outputs, new, strict=True))

    shape = (*pieces[0].shape[:3], kernel.shape[-1])
    start = tuple(jnp.zeros(shape, kernel.dtype) for _ in kernel)
    return lax.fori_loop(0, shape[1] // height, body, start)


def _backward_in_blocks(pieces, center, factor, shift, kernel, gradients):
    height = _block_height(pieces[0])

    def body(index, carry):
        to_pieces, *sums = carry
        block = jnp.concatenate([_block(x, index, height) for x in pieces], axis=-1)
        cut = [_block(g, index, height) for g in gradients]
        (to_block,), *new = _backward([block], center, factor, shift, kernel, cut)
        to_pieces = [
            _put(whole, part, index, height)
            for whole, part in zip(to_pieces, _channels(pieces, to_block), strict=True)
        ]
        return to_pieces, *(a + b for a, b in zip(sums, new, strict=True))

    batch = pieces[0].shape[0]
    start = (
        [jnp.zeros_like(x) for x in pieces],
        jnp.zeros((batch, *factor.shape), factor.dtype),
        jnp.zeros((batch, *shift.shape), shift.dtype),
        jnp.zeros((batch, *kernel.shape), factor.dtype),
    )
    return lax.fori_loop(0, pieces[0].shape[1] // height, body, start)
