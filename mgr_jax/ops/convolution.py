"""Two-dimensional convolution, with a gradient of the kernel that is fast on CPU too."""

import functools

import jax
from jax import lax

from mgr_jax.ops import switch
from mgr_jax.ops.cpu import convolution as on_cpu

Pads = tuple[tuple[int, int], ...]


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
) -> jax.Array:
    """Convolve `x` [B, H, W, Cin] with `kernel` [h, w, Cin, Cout]; returns [B, H', W', Cout].

    Raises:
      ValueError: the input is smaller than the kernel of a `VALID` convolution.
    """
    pads = tuple(lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding))
    for size, pad, taps in zip(x.shape[1:3], pads, kernel.shape[:2], strict=True):
        if size + sum(pad) < taps:
            raise ValueError(
                f"x of {x.shape[1]}x{x.shape[2]} is too small for a {kernel.shape[0]}x"
                f"{kernel.shape[1]} convolution; use a longer window or a larger image"
            )
    if switch.is_reference():
        return _reference(x, kernel, strides, pads)
    if kernel.shape[:2] == (1, 1) and strides == (1, 1):
        # As a convolution it takes XLA's CPU compiler seven times as long as this product.
        return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
    return _convolve(x, kernel, strides, pads)


def _reference(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=layout)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x, kernel, strides, pads):
    return _reference(x, kernel, strides, pads)


def _forward(x, kernel, strides, pads):
    return _reference(x, kernel, strides, pads), (x, kernel)


def _backward(strides, pads, residuals, gradient):
    x, kernel = residuals
    (to_x,) = jax.linear_transpose(lambda x: _reference(x, kernel, strides, pads), x)(gradient)

    def kernel_gradient(x, gradient):
        transpose = jax.linear_transpose(lambda k: _reference(x, k, strides, pads), kernel)
        return transpose(gradient)[0]

    if on_cpu.suits(kernel.shape, strides):
        in_blocks = functools.partial(on_cpu.kernel_gradient, size=kernel.shape[:2], pads=pads)
        to_kernel = lax.platform_dependent(x, gradient, cpu=in_blocks, default=kernel_gradient)
    else:
        to_kernel = kernel_gradient(x, gradient)
    return to_x, to_kernel


_convolve.defvjp(_forward, _backward)
