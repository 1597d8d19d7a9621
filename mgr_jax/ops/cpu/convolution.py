"""The gradient of a convolution's kernel on CPU, as products over blocks of rows.

XLA's CPU compiler transposes both operands of this gradient in memory, and recomputes what leads to
them while it does so.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from mgr_jax.ops.cpu import blocks


def suits(kernel: Sequence[int], strides: tuple[int, int]) -> bool:
    """Return whether blocks are faster for a kernel [h, w, Cin, Cout], by measurement."""
    return strides == (1, 1) and max(kernel[:2]) <= 3 and kernel[2] >= 16


def kernel_gradient(
    x: jax.Array,
    gradient: jax.Array,
    *,
    size: tuple[int, int],
    pads: Sequence[tuple[int, int]],
) -> jax.Array:
    """Return the gradient [h, w, Cin, Cout] of the kernel of a convolution of stride 1.

    A product takes some rows of one image: `left` holds, beside each pixel, what the kernel's rows
    meet there, `right` the output's gradient shifted by each of the kernel's columns. Together that
    is every pair of taps.

    Args:
      x: [B, H, W, Cin]. gradient: of the output, [B, H', W', Cout].
      size: (h, w) of the kernel. pads: zeros (before, after) along height and width.
    """
    batch, height, width, features = gradient.shape
    channels, dtype = x.shape[-1], jnp.promote_types(jnp.float32, x.dtype)
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)])
    columns = x.shape[2]
    left_size, right_size = size[0] * channels, size[1] * features

    def add(example, row, num_rows, carry):
        total, left, right = carry
        for i in range(size[0]):
            start = (example, row + i, 0, 0)
            rows = lax.dynamic_slice(x, start, (1, num_rows, columns, channels))[0]
            left = lax.dynamic_update_slice(left, rows, (0, 0, i * channels))
        start = (example, row, 0, 0)
        rows = lax.dynamic_slice(gradient, start, (1, num_rows, width, features))[0]
        for j in range(size[1]):  # What lies beside the shifted rows stays zero.
            right = lax.dynamic_update_slice(right, rows, (0, j, j * features))
        product = lax.dot_general(
            left, right, (((0, 1), (0, 1)), ((), ())), preferred_element_type=dtype
        )
        return total + product, left, right

    def over_rows(first, num_rows, num_blocks):
        def body(index, carry):
            return add(index // num_blocks, first + index % num_blocks * num_rows, num_rows, carry)

        operands = (jnp.zeros((num_rows, columns, n), x.dtype) for n in (left_size, right_size))
        carry = jnp.zeros((left_size, right_size), dtype), *operands
        return lax.fori_loop(0, batch * num_blocks, body, carry)[0]

    num_rows = max(1, min(height, 2 * blocks.BLOCK_VALUES // (columns * left_size)))
    num_blocks, rest = divmod(height, num_rows)
    total = over_rows(0, num_rows, num_blocks)
    if rest:
        total += over_rows(num_blocks * num_rows, rest, 1)
    total = total.reshape(size[0], channels, size[1], features)
    return total.transpose(0, 2, 1, 3).astype(x.dtype)
