"""Max-pooling by maxima of shifted slices, whose gradient needs no scatter."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from mgr_jax.ops import switch
from mgr_jax.ops.cpu import max_pool as on_cpu


def max_pool(x: Any, *, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """Return the maxima [B, H', W', C] of windows of `x` [B, H, W, C], as `flax.linen.max_pool`.

    Of a list of arrays [B, H, W, C_i] it returns the list of their maxima.

    The gradient is the same too, which XLA computes (by select-and-scatter) in seven times as long
    on CPU. Of equal values the first in row-major order gets the gradient; taking columns before
    rows keeps that order.

    Args:
      window, strides: (height, width). padding: `SAME` or `VALID`.

    Raises:
      ValueError: the input is smaller than the window.
    """
    arrays: list[jax.Array] = list(x) if isinstance(x, (list, tuple)) else [x]
    shape = arrays[0].shape
    for axis in (1, 2):
        pads = _pads(shape[axis], window[axis - 1], strides[axis - 1], padding)
        if shape[axis] + sum(pads) < window[axis - 1]:
            raise ValueError(
                f"x has {shape[axis]} values along axis {axis}, fewer than the pooling window's"
                f" {window[axis - 1]}; use a longer window or a larger image"
            )
    maxima: Any
    if switch.is_reference():
        maxima = [_reference(x, window, strides, padding) for x in arrays]
    else:
        maxima = _max_pool(arrays, window, strides, padding)
    return maxima if isinstance(x, (list, tuple)) else maxima[0]


def _reference(x, window, strides, padding):
    return nn.max_pool(x, window_shape=window, strides=strides, padding=padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(arrays, window, strides, padding):
    """Without a gradient, a GPU pools all arrays in one kernel, which may be part of its user's."""

    def each(*arrays):
        return [_by_platform(x, window, strides, padding) for x in arrays]

    def side_by_side(*arrays):
        x = _reference(jnp.concatenate(arrays, -1), window, strides, padding)
        return jnp.split(x, np.cumsum([x.shape[-1] for x in arrays])[:-1].tolist(), -1)

    return lax.platform_dependent(*arrays, cuda=side_by_side, default=each)


def _by_platform(x, window, strides, padding):
    by_slices = functools.partial(_by_slices, window=window, strides=strides, padding=padding)
    if on_cpu.suits(x, window, strides, padding):
        return lax.platform_dependent(x, cpu=on_cpu.forward, default=by_slices)
    return by_slices(x)


def _by_slices(x, window, strides, padding):
    for axis in (2, 1):
        slices = _shifted(x, axis, window[axis - 1], strides[axis - 1], padding)
        x = functools.reduce(jnp.maximum, slices)
    return x


def _forward(arrays, *options):
    return [_by_platform(x, *options) for x in arrays], arrays


def _backward(window, strides, padding, arrays, gradients):
    to_winners = functools.partial(_to_winners_by_platform, window, strides, padding)
    return (list(map(to_winners, arrays, gradients)),)


def _to_winners_by_platform(window, strides, padding, x, gradient):
    by_slices = functools.partial(_to_winners, window, strides, padding)
    if on_cpu.suits(x, window, strides, padding):
        return lax.platform_dependent(x, gradient, cpu=on_cpu.backward, default=by_slices)
    return by_slices(x, gradient)


def _to_winners(window, strides, padding, x, gradient):
    """Hand the gradient of each window to the first of its largest values.

    Which value that is, is decided by comparing neighbours, never by `== maximum`: XLA may compute
    `x` twice in a fused program, rounded differently, and then nothing is equal.
    """
    by_axis = []
    for axis in (2, 1):
        size, stride = window[axis - 1], strides[axis - 1]
        if size == stride == 1:
            continue
        slices = _shifted(x, axis, size, stride, padding)
        largest, winner = slices[0], jnp.zeros(slices[0].shape, jnp.int8)
        for shift, values in enumerate(slices[1:], start=1):
            winner = jnp.where(values > largest, jnp.int8(shift), winner)
            largest = jnp.maximum(values, largest)
        by_axis.append((axis, size, stride, x.shape[axis], winner))
        x = largest
    zero = jnp.zeros((), gradient.dtype)
    for axis, size, stride, length, winner in reversed(by_axis):
        before, _ = _pads(length, size, stride, padding)
        last = stride * (winner.shape[axis] - 1)
        total = zero
        for shift in range(size):
            config = [(0, 0, 0)] * 4
            config[axis] = (shift - before, length - 1 - last - shift + before, stride - 1)
            total += lax.pad(jnp.where(winner == shift, gradient, zero), zero, config)
        gradient = total
    return gradient


_max_pool.defvjp(_forward, _backward)


def _pads(length: int, size: int, stride: int, padding: str) -> tuple[int, int]:
    return lax.padtype_to_pads((length,), (size,), (stride,), padding)[0]


def _shifted(x: jax.Array, axis: int, size: int, stride: int, padding: str) -> list[jax.Array]:
    """The first, second, ... value of every window along `axis`, each as one array."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (*_pads(x.shape[axis], size, stride, padding), 0)
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), config)
    last = (x.shape[axis] - size) // stride * stride + 1
    return [lax.slice_in_dim(x, shift, shift + last, stride, axis=axis) for shift in range(size)]
