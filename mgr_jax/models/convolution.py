"""Convolution with bias, whose gradients are fast on CPU too.

XLA's CPU compiler transposes both operands of a weight gradient, and recomputes what leads to
them while it does so; and its sum over rows, the gradient of a bias, is several times slower than
a product with ones. Other backends get the plain formulas.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from mgr_jax.models import blocks
from mgr_jax.models.moments import as_row

FEW_CHANNELS = 4


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
) -> jax.Array:
    """`x` [B, H, W, Cin] convolved with `kernel` [h, w, Cin, Cout], plus `bias` [Cout] if given.

    Raises:
      ValueError: the input is smaller than the kernel of a `VALID` convolution.
    """
    pads = tuple(lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding))
    if any(
        n + sum(pad) < k for n, pad, k in zip(x.shape[1:3], pads, kernel.shape[:2], strict=True)
    ):
        raise ValueError(
            f"x of {x.shape[1]}x{x.shape[2]} is too small for a {kernel.shape[0]}x"
            f"{kernel.shape[1]} convolution; use a longer window or a larger image"
        )
    if kernel.shape[:2] == (1, 1) and strides == (1, 1):
        y = lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
    else:
        y = _convolve(x, kernel, strides, pads)
    return y if bias is None else _add_bias(y, bias.astype(y.dtype))


@jax.custom_vjp
def _add_bias(y, bias):
    return y + as_row(bias, y)


def _bias_gradient(_, gradient):
    return gradient, lax.platform_dependent(gradient, cpu=_sum_by_product, default=_sum)


def _sum(values):
    return jnp.sum(values, (0, 1, 2))


def _sum_by_product(values):
    """`_sum`: rows of the image by a product with ones, then columns."""
    rows = values.reshape(-1, values.shape[2] * values.shape[3])
    ones = jnp.ones(len(rows), values.dtype)
    type_ = jnp.promote_types(jnp.float32, values.dtype)
    sums = lax.dot_general(ones, rows, (((0,), (0,)), ((), ())), preferred_element_type=type_)
    return jnp.sum(sums.reshape(values.shape[2:]), 0).astype(values.dtype)


_add_bias.defvjp(lambda y, bias: (_add_bias(y, bias), None), _bias_gradient)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x, kernel, strides, pads):
    formula = functools.partial(_formula, strides=strides, pads=pads)
    if strides != (1, 1) or kernel.shape[2] > FEW_CHANNELS:
        return formula(x, kernel)
    in_pairs = functools.partial(_convolve_in_pairs, pads)
    return lax.platform_dependent(x, kernel, cpu=in_pairs, default=formula)


def _formula(x, kernel, strides, pads):
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _convolve_in_pairs(pads, x, kernel):
    """Two columns at a time, with twice the channels.

    The product that CPU makes of a convolution of few channels is else too narrow to be fast.
    """
    height, width, channels, features = kernel.shape
    columns = x.shape[2] + sum(pads[1]) - width + 1
    pairs, taps = -(-columns // 2), width // 2 + 1
    low, _ = pads[1]
    high = 2 * (pairs + taps - 1) - low - x.shape[2]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*pads[0], 0), (low, high, 0), (0, 0, 0)])
    x = x.reshape(*x.shape[:2], -1, 2 * channels)
    zeros = jnp.zeros((), kernel.dtype)
    kernels = [
        lax.pad(kernel, zeros, [(0, 0, 0), (i, 2 * taps - width - i, 0), (0, 0, 0), (0, 0, 0)])
        for i in range(2)
    ]
    kernel = jnp.concatenate(kernels, 3).reshape(height, taps, 2 * channels, 2 * features)
    y = _formula(x, kernel, (1, 1), "VALID")
    return y.reshape(*y.shape[:2], -1, features)[:, :, :columns]


def _keep(x, kernel, strides, pads):
    return _convolve(x, kernel, strides, pads), (x, kernel)


def _gradients(strides, pads, inputs, gradient):
    x, kernel = inputs

    def to_x(kernel, gradient):
        formula = functools.partial(_formula, kernel=kernel, strides=strides, pads=pads)
        return jax.linear_transpose(formula, x)(gradient)[0]

    def to_kernel(x, gradient):
        formula = functools.partial(_formula, x, strides=strides, pads=pads)
        return jax.linear_transpose(formula, kernel)(gradient)[0]

    by_phases = functools.partial(_to_x_by_phases, x, strides, pads) if max(strides) > 1 else to_x
    in_blocks = functools.partial(_to_kernel_in_blocks, kernel.shape[:2], strides, pads)
    if not _suit_blocks(kernel.shape, strides):
        in_blocks = to_kernel
    return (
        lax.platform_dependent(kernel, gradient, cpu=by_phases, default=to_x),
        lax.platform_dependent(x, gradient, cpu=in_blocks, default=to_kernel),
    )


_convolve.defvjp(_keep, _gradients)


def _suit_blocks(kernel: tuple[int, ...], strides: tuple[int, int]) -> bool:
    """Whether a kernel [h, w, Cin, Cout] is one whose gradient blocks make faster, as measured."""
    taps = max(-(-k // stride) for k, stride in zip(kernel[:2], strides, strict=True))
    return kernel[2] >= 16 and taps < 4


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


def _to_x_by_phases(x, strides, pads, kernel, gradient):
    """The input's gradient, of which each phase of the stride is a convolution of stride 1.

    As a convolution over a gradient spread out by zeros, CPU multiplies by them.
    """
    channels, features = kernel.shape[2:]
    taps, counts, config = _phases(kernel.shape[:2], strides, pads, x, gradient)
    fill = [(0, t * s - k, 0) for t, s, k in zip(taps, strides, kernel.shape[:2], strict=True)]
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), [*fill, (0, 0, 0), (0, 0, 0)])
    kernel = kernel.reshape(taps[0], strides[0], taps[1], strides[1], channels, features)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(*taps, -1, features)
    # The transpose of a `VALID` convolution of stride 1: one of the mirrored kernel.
    y = lax.conv_general_dilated(
        gradient,
        lax.rev(kernel, (0, 1)),
        (1, 1),
        [(t - 1, t - 1) for t in taps],
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )
    y = y.reshape(len(x), *counts, strides[0], strides[1] * channels).swapaxes(2, 3)
    y = y.reshape(len(x), counts[0] * strides[0], counts[1] * strides[1], channels)
    config = [(-low, -high, 0) for low, high, _ in config]
    return lax.pad(y, jnp.zeros((), y.dtype), config)


def _to_kernel_in_blocks(size, strides, pads, x, gradient):
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

    def run(first, block, num_blocks):
        def body(index, carry):
            total, left, right = carry
            example, row = index // num_blocks, first + index % num_blocks * block
            for i in range(taps[0] * strides[0]):
                start = (example, row + i // strides[0], i % strides[0] * columns, 0)
                piece = lax.dynamic_slice(x, start, (1, block, columns, depth))[0]
                left = lax.dynamic_update_slice(left, piece, (0, 0, i * depth))
            start = (example, row, 0, 0)
            piece = lax.dynamic_slice(gradient, start, (1, block, width, features))[0]
            for i in range(taps[1]):
                right = lax.dynamic_update_slice(right, piece, (0, i, i * features))
            product = lax.dot_general(
                left, right, (((0, 1), (0, 1)), ((), ())), preferred_element_type=type_
            )
            return total + product, left, right

        operands = [jnp.zeros((block, columns, n), x.dtype) for n in sizes]
        carry = jnp.zeros(sizes, type_), *operands
        return lax.fori_loop(0, batch * num_blocks, body, carry)[0]

    block = max(1, min(height, blocks.BLOCK_VALUES // (columns * sizes[0])))
    whole, left_over = divmod(height, block)
    total = run(0, block, whole)
    if left_over:
        total += run(whole * block, left_over, 1)
    total = total.reshape(taps[0], strides[0], strides[1], channels, taps[1], features)
    total = total.transpose(0, 1, 4, 2, 3, 5)
    total = total.reshape(taps[0] * strides[0], taps[1] * strides[1], channels, features)
    return total[: size[0], : size[1]].astype(x.dtype)
