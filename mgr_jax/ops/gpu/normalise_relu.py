"""`ops.normalise_relu_project` on a GPU: few, large products of all pieces side by side."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from mgr_jax.ops import formulas
from mgr_jax.ops.arrays import as_row


def project_forward(pieces, center, factor, shift, kernel):
    """Return the K projections [B, H, W, N] of the pieces [B, H, W, C_i]."""
    return formulas.project_forward([jnp.concatenate(pieces, -1)], center, factor, shift, kernel)


def project_backward(pieces, center, factor, shift, kernel, gradients):
    """Return the gradients of the pieces, and of factor, shift [K, C] and kernel [K, C, N].

    Sums over rows are products, with where ReLU is on and with the centred values there; the
    gradients of kernel, factor and shift all follow from these two. The barriers make XLA write
    what several kernels read, once and in few bytes, at any size of the batch.
    """
    # Else XLA computes what follows in the forward pass already, and keeps it until now.
    pieces, gradients = lax.optimization_barrier((pieces, gradients))
    x = jnp.concatenate(pieces, -1)
    masks = []
    for c, f, s in zip(center, factor, shift, strict=True):
        centered, z = formulas.normalised(x, c, f, s)
        masks.append((z > 0, jnp.where(z > 0, centered, 0).astype(kernel.dtype)))
    # Else each product masks anew: large batches then keep what is compared, in float32.
    masks = lax.optimization_barrier(masks)
    to_x, to_vectors = jnp.zeros(x.shape, center.dtype), []
    for f, s, w, (on, centered), gradient in zip(
        factor, shift, kernel, masks, gradients, strict=True
    ):
        wide = w.astype(center.dtype)
        by_on, by_centered = (
            jnp.einsum(
                "...c,...n->cn", rows.astype(w.dtype), gradient, preferred_element_type=wide.dtype
            )
            for rows in (on, centered)
        )
        to_kernel = f[:, None] * by_centered + s[:, None] * by_on
        to_vectors.append((jnp.sum(wide * by_centered, 1), jnp.sum(wide * by_on, 1), to_kernel))
        to_x += jnp.where(on, (gradient @ w.T).astype(wide.dtype) * as_row(f, x), 0)
    # Else each piece has a kernel of its own, which keeps the gradients of all later layers alive.
    to_x = lax.optimization_barrier(to_x.astype(x.dtype))
    ends = np.cumsum([piece.shape[-1] for piece in pieces])[:-1].tolist()
    vectors = (jnp.stack(part) for part in zip(*to_vectors, strict=True))
    return jnp.split(to_x, ends, axis=-1), *vectors
