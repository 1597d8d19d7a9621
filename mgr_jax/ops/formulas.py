"""The formulas of `ops.normalise_relu`, which its blocks on CPU compute too.

Vectors are [C], or [K, C] for K branches, in float32 or better; `x` is [..., C].
"""

import jax
import jax.numpy as jnp

from mgr_jax.ops.arrays import as_row


def normalised(x, center, factor, shift):
    """Return x - center, and the normalised value (x - center) * factor + shift."""
    centered = x.astype(center.dtype) - as_row(center, x)
    return centered, centered * as_row(factor, x) + as_row(shift, x)


def sum_rows(values: jax.Array) -> jax.Array:
    """Sum `values` [..., C] over all axes but the last."""
    return jnp.sum(values, tuple(range(values.ndim - 1)))


def relu_backward(x, center, factor, shift, gradient, sum_rows=sum_rows):
    """Return the gradients of x, factor and shift, from that of relu(normalised value)."""
    centered, z = normalised(x, center, factor, shift)
    to_z = jnp.where(z > 0, gradient.astype(z.dtype), 0)
    to_x = (to_z * as_row(factor, x)).astype(x.dtype)
    return to_x, sum_rows(to_z * centered), sum_rows(to_z)


def project_forward(pieces, center, factor, shift, kernel):
    """Return K projections [..., N]: the pieces [..., C_i], normalised, times kernels [K, C, N]."""
    outputs = []
    for k in range(len(kernel)):
        output = 0.0
        for x, c, f, s, w in _by_piece(pieces, center, factor, shift, kernel):
            _, z = normalised(x, c[k], f[k], s[k])
            output += jax.nn.relu(z).astype(w.dtype) @ w[k]
        outputs.append(output)
    return tuple(outputs)


def project_backward(pieces, center, factor, shift, kernel, gradients, sum_rows=sum_rows):
    """Return the gradients of the pieces, and of factor, shift and kernel."""
    by_piece = []
    for x, c, f, s, w in _by_piece(pieces, center, factor, shift, kernel):
        to_x, to_factor, to_shift, to_kernel = 0.0, [], [], []
        for k, gradient in enumerate(gradients):
            _, z = normalised(x, c[k], f[k], s[k])
            hidden = jax.nn.relu(z).astype(w.dtype)
            to_kernel.append(
                jnp.einsum("...c,...n->cn", hidden, gradient, preferred_element_type=z.dtype)
            )
            branch_to_x, branch_to_factor, branch_to_shift = relu_backward(
                x.astype(z.dtype), c[k], f[k], s[k], gradient @ w[k].T, sum_rows
            )
            to_x += branch_to_x
            to_factor.append(branch_to_factor)
            to_shift.append(branch_to_shift)
        vectors = (jnp.stack(part) for part in (to_factor, to_shift, to_kernel))
        by_piece.append((jnp.asarray(to_x, x.dtype), *vectors))
    to_pieces, *vectors = zip(*by_piece, strict=True)
    return list(to_pieces), *(jnp.concatenate(part, 1) for part in vectors)


def _by_piece(pieces, *arrays):
    """Yield each piece with its own channels (axis 1) of every array [K, C, ...]."""
    start = 0
    for piece in pieces:
        end = start + piece.shape[-1]
        yield piece, *(array[:, start:end] for array in arrays)
        start = end
