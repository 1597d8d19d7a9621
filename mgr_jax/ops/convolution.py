"""Convolution with bias, and with ReLU, whose gradients are fast on CPU too.

XLA's CPU compiler transposes both operands of a weight gradient, and recomputes what leads to
them while it does so; and its sum over rows, the gradient of a bias, is several times slower than
a product with ones. Other backends get the plain formulas.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from mgr_jax.models import onednn
from mgr_jax.ops.cpu import convolution as gradients
from mgr_jax.ops.moments import as_row


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
    pads = _checked_pads(x, kernel, strides, padding)
    if kernel.shape[:2] == (1, 1) and strides == (1, 1):
        y = lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
    else:
        y = _convolve(x, kernel, strides, pads)
    return y if bias is None else _add_bias(y, bias.astype(y.dtype))


def convolve_relu(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
) -> jax.Array:
    """`relu(convolve(...))`, where it can be (`models.onednn`) in one pass.

    Raises:
      ValueError: the input is smaller than the kernel of a `VALID` convolution.
    """
    if onednn.suits(x, kernel):
        pads = _checked_pads(x, kernel, strides, padding)
        return _convolve_relu(x, kernel, bias.astype(x.dtype), strides, pads)
    return jax.nn.relu(convolve(x, kernel, bias, strides=strides, padding=padding))


def _checked_pads(x, kernel, strides, padding):
    pads = tuple(lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding))
    if any(
        n + sum(pad) < k for n, pad, k in zip(x.shape[1:3], pads, kernel.shape[:2], strict=True)
    ):
        raise ValueError(
            f"x of {x.shape[1]}x{x.shape[2]} is too small for a {kernel.shape[0]}x"
            f"{kernel.shape[1]} convolution; use a longer window or a larger image"
        )
    return pads


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
    if not gradients.suit_groups(kernel.shape, strides):
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
    to_x = _gradient_of_x(x, kernel, gradient, strides, pads, _formula)
    if gradients.suit_groups(kernel.shape, strides):
        return to_x, _gradients_in_groups(kernel, x, gradient, pads=pads)[0]
    product = gradients.transposed_product
    return to_x, _gradient_of_kernel(x, kernel, gradient, strides, pads, product)


def _gradient_of_x(x, kernel, gradient, strides, pads, convolve):
    """On CPU by `convolve`."""

    def to_x(kernel, gradient):
        formula = functools.partial(_formula, kernel=kernel, strides=strides, pads=pads)
        return jax.linear_transpose(formula, x)(gradient)[0]

    if max(strides) > 1:
        on_cpu = functools.partial(
            gradients.to_x_by_phases, x=x, strides=strides, pads=pads, convolve=convolve
        )
    else:
        on_cpu = functools.partial(gradients.to_x, pads=pads, convolve=convolve)
    return lax.platform_dependent(kernel, gradient, cpu=on_cpu, default=to_x)


def _gradient_of_kernel(x, kernel, gradient, strides, pads, product):
    """On CPU, where blocks suit, by `product`."""
    to_kernel = functools.partial(_to_kernel, kernel, strides, pads)
    on_cpu = to_kernel
    if gradients.suit_blocks(kernel.shape, strides, product):
        on_cpu = functools.partial(
            gradients.to_kernel_in_blocks,
            size=kernel.shape[:2],
            strides=strides,
            pads=pads,
            product=product,
        )
    return lax.platform_dependent(x, gradient, cpu=on_cpu, default=to_kernel)


def _gradients_in_groups(kernel, x, gradient, *outputs, pads, **options):
    """Those of kernel and bias, behind the ReLU of `outputs` if that is given."""
    in_groups = functools.partial(
        gradients.to_kernel_and_bias_in_groups, size=kernel.shape[:2], pads=pads, **options
    )

    def formula(x, gradient, *outputs):
        for y in outputs:
            gradient = _behind_relu(y, gradient)
        return _to_kernel(kernel, (1, 1), pads, x, gradient), _sum(gradient)

    return lax.platform_dependent(x, gradient, *outputs, cpu=in_groups, default=formula)


def _to_kernel(kernel, strides, pads, x, gradient):
    formula = functools.partial(_formula, x, strides=strides, pads=pads)
    return jax.linear_transpose(formula, kernel)(gradient)[0]


def _behind_relu(y, gradient):
    return jnp.where(y > 0, gradient, jnp.zeros_like(gradient))


_convolve.defvjp(_keep, _gradients)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _convolve_relu(x, kernel, bias, strides, pads):
    def formula(x, kernel, bias):
        return jax.nn.relu(_add_bias(_convolve(x, kernel, strides, pads), bias))

    in_one_pass = functools.partial(onednn.convolve, strides=strides, pads=pads)
    return lax.platform_dependent(x, kernel, bias, cpu=in_one_pass, default=formula)


def _keep_relu(x, kernel, bias, strides, pads):
    y = _convolve_relu(x, kernel, bias, strides, pads)
    return y, (x, kernel, y)


def _relu_gradients(strides, pads, kept, gradient):
    x, kernel, y = kept
    own = _behind_relu(y, gradient)
    to_x = _gradient_of_x(x, kernel, own, strides, pads, onednn.convolve)
    if gradients.suit_groups(kernel.shape, strides):
        options = {"pads": pads, "product": onednn.product}
        return to_x, *_gradients_in_groups(kernel, x, gradient, y, **options)
    to_kernel = _gradient_of_kernel(x, kernel, own, strides, pads, onednn.product)
    return to_x, to_kernel, _bias_gradient(None, own)[1]


_convolve_relu.defvjp(_keep_relu, _relu_gradients)
