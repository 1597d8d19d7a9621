"""Gradients of a convolution as CPU computes them fast: see `ops.convolution`.

Throughout, x is [B, H, W, Cin], the kernel's size (h, w), `pads` the zeros (before, after) along
height and width, and `gradient` that of the output, [B, H', W', Cout].
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from mgr_jax.ops.cpu import blocks

FEW_CHANNELS = 4
_GROUP = 4  # columns, as measured
Pads = Sequence[tuple[int, int]]


def suit_groups(kernel: tuple[int, ...], strides: tuple[int, int]) -> bool:
    """Whether a kernel [h, w, Cin, Cout] meets so few channels that columns are best grouped."""
    return strides == (1, 1) and kernel[2] <= FEW_CHANNELS


def suit_blocks(
    kernel: tuple[int, ...], strides: tuple[int, int], product: Callable[..., jax.Array]
) -> bool:
    """Whether a kernel [h, w, Cin, Cout] is one whose gradient blocks make faster, as measured."""
    taps = max(-(-k // stride) for k, stride in zip(kernel[:2], strides, strict=True))
    return kernel[2] >= 16 and taps <= (3 if product is transposed_product else 4)


def _phases(size, strides, pads, x, gradient):
    """A strided convolution as one of stride 1 over `stride` times the channels.

    Returns:
      Taps of that convolution per axis.
      Blocks of `stride` rows, and of columns, that it reads.
      How `x` is padded, or cut where negative, to those blocks.
    """
    taps = [-(-k // stride) for k, stride in zip(size, strides, strict=True)]
    counts = [n + t - 1 for n, t in zip(gradient.shape[1:3], taps, strict=True)]
    config = [(0, 0, 0)] * 4
    for axis in (0, 1):
        low = pads[axis][0]
        high = counts[axis] * strides[axis] - x.shape[axis + 1] - low
        config[axis + 1] = (low, high, 0)
    return taps, counts, config


def _over_rows(add, zeros, batch, height, most):
    """Sums over blocks of at most `most` rows of every example, the first part of a carry.

    `add(example, row, block, carry)` returns the carry with the block of rows from `row` on added;
    `zeros(block)` is the carry that blocks of this size begin with.
    """
    block = max(1, min(height, most))

    def run(first, block, num_blocks):
        def body(index, carry):
            return add(index // num_blocks, first + index % num_blocks * block, block, carry)

        return lax.fori_loop(0, batch * num_blocks, body, zeros(block))[0]

    num_blocks, left_over = divmod(height, block)
    sums = run(0, block, num_blocks)
    if left_over:
        sums = jax.tree.map(jnp.add, sums, run(num_blocks * block, left_over, 1))
    return sums


def transposed_product(left: jax.Array, right: jax.Array) -> jax.Array:
    """The sum [M, N] over all axes but the last of `left` [..., M] and `right` [..., N]."""
    axes = tuple(range(left.ndim - 1))
    type_ = jnp.promote_types(jnp.float32, left.dtype)
    return lax.dot_general(left, right, ((axes, axes), ((), ())), preferred_element_type=type_)


def to_x(
    kernel: jax.Array, gradient: jax.Array, *, pads: Pads, convolve: Callable[..., jax.Array]
) -> jax.Array:
    """The input's gradient at stride 1: `convolve` by the mirrored kernel."""
    pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel.shape, pads, strict=False)]
    kernel = lax.rev(kernel, (0, 1)).swapaxes(2, 3)
    return convolve(gradient, kernel, strides=(1, 1), pads=pads)


def to_x_by_phases(
    kernel: jax.Array,
    gradient: jax.Array,
    *,
    x: jax.Array,
    strides: tuple[int, int],
    pads: Pads,
    convolve: Callable[..., jax.Array],
) -> jax.Array:
    """The input's gradient, of which each phase of the stride is a convolution of stride 1.

    As a convolution over a gradient spread out by zeros, CPU multiplies by them.
    """
    channels, features = kernel.shape[2:]
    taps, counts, config = _phases(kernel.shape[:2], strides, pads, x, gradient)
    fill = [(0, t * s - k, 0) for t, s, k in zip(taps, strides, kernel.shape[:2], strict=True)]
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), [*fill, (0, 0, 0), (0, 0, 0)])
    kernel = kernel.reshape(taps[0], strides[0], taps[1], strides[1], channels, features)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(*taps, -1, features)
    y = to_x(kernel, gradient, pads=[(0, 0), (0, 0)], convolve=convolve)
    y = y.reshape(len(x), *counts, strides[0], strides[1] * channels).swapaxes(2, 3)
    y = y.reshape(len(x), counts[0] * strides[0], counts[1] * strides[1], channels)
    config = [(-low, -high, 0) for low, high, _ in config]
    return lax.pad(y, jnp.zeros((), y.dtype), config)


def to_kernel_in_blocks(
    x: jax.Array,
    gradient: jax.Array,
    *,
    size: tuple[int, int],
    strides: tuple[int, int],
    pads: Pads,
    product: Callable[..., jax.Array] = transposed_product,
) -> jax.Array:
    """The kernel's gradient as products over some rows of the image at a time.

    The operands of a product hold what its pixels meet: `left` all taps along the height, `right`
    those along the width, with margins that stay zero.
    """
    batch, height, width, features = gradient.shape
    channels, type_ = x.shape[-1], jnp.promote_types(jnp.float32, x.dtype)
    taps, (rows, columns), config = _phases(size, strides, pads, x, gradient)
    x = lax.pad(x, jnp.zeros((), x.dtype), config)
    # The rows of a block of rows side by side.
    depth = strides[1] * channels
    x = x.reshape(batch, rows, strides[0] * columns, depth)
    sizes = taps[0] * strides[0] * depth, taps[1] * features

    def add(example, row, block, carry):
        total, left, right = carry
        for i in range(taps[0] * strides[0]):
            start = (example, row + i // strides[0], i % strides[0] * columns, 0)
            piece = lax.dynamic_slice(x, start, (1, block, columns, depth))[0]
            left = lax.dynamic_update_slice(left, piece, (0, 0, i * depth))
        start = (example, row, 0, 0)
        piece = lax.dynamic_slice(gradient, start, (1, block, width, features))[0]
        for i in range(taps[1]):
            right = lax.dynamic_update_slice(right, piece, (0, i, i * features))
        return total + product(left, right), left, right

    def zeros(block):
        operands = (jnp.zeros((block, columns, n), x.dtype) for n in sizes)
        return jnp.zeros(sizes, type_), *operands

    most = 2 * blocks.BLOCK_VALUES // (columns * sizes[0])
    total = _over_rows(add, zeros, batch, height, most)
    total = total.reshape(taps[0], strides[0], strides[1], channels, taps[1], features)
    total = total.transpose(0, 1, 4, 2, 3, 5)
    total = total.reshape(taps[0] * strides[0], taps[1] * strides[1], channels, features)
    return total[: size[0], : size[1]].astype(x.dtype)


def to_kernel_and_bias_in_groups(
    x: jax.Array,
    gradient: jax.Array,
    y: jax.Array | None = None,
    *,
    size: tuple[int, int],
    pads: Pads,
    product: Callable[..., jax.Array] = transposed_product,
) -> tuple[jax.Array, jax.Array]:
    """Those of kernel and bias, for few channels, as products over rows of groups of columns.

    A group meets all that its columns see, so that the product is not too narrow to be fast; of
    its result the pairs that lie further apart than the kernel reaches are dropped. `gradient`
    counts where `y` [B, H', W', Cout], the output of a ReLU, is above 0.
    """
    batch, height, width, features = gradient.shape
    channels, type_ = x.shape[-1], jnp.promote_types(jnp.float32, x.dtype)
    rows, columns = size
    groups = -(-width // _GROUP)
    whole = groups * _GROUP
    high = whole + _GROUP * -(-(columns - 1) // _GROUP) - x.shape[2] - pads[1][0]
    config = [(0, 0, 0), (*pads[0], 0), (pads[1][0], high, 0), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), config)
    x = x.reshape(batch, x.shape[1], -1, _GROUP * channels)
    config = [(0, 0, 0), (0, 0, 0), (0, whole - width, 0), (0, 0, 0)]
    gradient, *outputs = (
        lax.pad(array, jnp.zeros((), array.dtype), config).reshape(batch, height, groups, -1)
        for array in (gradient, *([] if y is None else [y]))
    )
    # Where a row's values begin in `x`, by groups, and how many of them a group sees.
    seen = (_GROUP + columns - 1) * channels
    parts = [
        (i, at, min(_GROUP * channels, seen - at * _GROUP * channels))
        for i in range(rows)
        for at in range(-(-seen // (_GROUP * channels)))
    ]

    depth = gradient.shape[-1]

    def add(example, row, block, carry):
        def cut(array, i=0, at=0, depth=depth):
            return lax.dynamic_slice(array, (example, row + i, at, 0), (1, block, groups, depth))[0]

        ((to_kernel, to_bias),) = carry
        left = jnp.concatenate([cut(x, *part) for part in parts], axis=-1)
        right = cut(gradient)
        for output in outputs:
            right = jnp.where(cut(output) > 0, right, jnp.zeros_like(right))
        sum_ = blocks.sum_rows(blocks.as_rows(right))
        return ((to_kernel + product(left, right), to_bias + sum_),)

    def zeros(block):
        return ((jnp.zeros((rows * seen, depth), type_), jnp.zeros(depth, type_)),)

    sums = _over_rows(add, zeros, batch, height, blocks.BLOCK_VALUES // (groups * depth))
    total = sums[0].reshape(rows, -1, channels, _GROUP, features)
    total = sum(total[:, i : i + columns, :, i] for i in range(_GROUP))
    return total.astype(x.dtype), sums[1].reshape(_GROUP, features).sum(0).astype(x.dtype)
