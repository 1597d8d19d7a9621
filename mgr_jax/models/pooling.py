"""Pooling layers, written so that their gradients are fast on CPU too."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax


class MaxPool(nn.Module):
    """`max_pool` as a layer."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: str = "VALID"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', C]."""
        return max_pool(x, window=self.window, strides=self.strides, padding=self.padding)


class AveragePool(nn.Module):
    """Mean over windows that do not overlap; rows and columns left over are dropped."""

    window: tuple[int, int] = (2, 2)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H // h, W // w, C].

        Raises:
          ValueError: `x` is smaller than the window.
        """
        height, width = self.window
        rows, columns = x.shape[1] // height, x.shape[2] // width
        if rows == 0 or columns == 0:
            raise ValueError(
                f"x of {x.shape[1]}x{x.shape[2]} is too small for {height}x{width} pooling;"
                " use a longer window or a larger image"
            )
        x = x[:, : rows * height, : columns * width]
        return x.reshape(x.shape[0], rows, height, columns, width, x.shape[-1]).mean((2, 4))


class GlobalAveragePool(nn.Module):
    """Mean over height and width, taken in float32."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, C]."""
        return x.astype(jnp.promote_types(jnp.float32, x.dtype)).mean((1, 2))


def max_pool(
    x: jax.Array, *, window: tuple[int, int], strides: tuple[int, int], padding: str
) -> jax.Array:
    """Maximum over windows, equal to `flax.linen.max_pool` with its gradient.

    Written as maxima of shifted slices, one axis after the other: XLA's gradient of a windowed
    maximum (select-and-scatter) is several times slower on CPU. Of equal values the first in
    row-major order gets the gradient; taking columns before rows keeps that order.

    Args:
      x: [B, H, W, C].
      window: (height, width) of the window.
      strides: (height, width) between windows.
      padding: `SAME` or `VALID`.

    Returns:
      [B, H', W', C].
    """
    return _max_pool(x, window, strides, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, window, strides, padding):
    for axis in (2, 1):
        slices = _shifted(x, axis, window[axis - 1], strides[axis - 1], padding)
        x = functools.reduce(jnp.maximum, slices)
    return x


def _max_pool_forward(x, window, strides, padding):
    return _max_pool(x, window, strides, padding), x


def _max_pool_backward(window, strides, padding, x, gradient):
    if window == strides and window[1] == 1 and padding == "VALID":
        route = functools.partial(_route_by_rows, window[0])
        formula = functools.partial(_route, window, strides, padding)
        return (lax.platform_dependent(x, gradient, cpu=route, default=formula),)
    return (_route(window, strides, padding, x, gradient),)


def _route(window, strides, padding, x, gradient):
    """Hands each gradient to the first of its window's largest elements."""
    # Where each maximum came from is decided by comparing neighbours, never by `== maximum`: XLA
    # may compute `x` twice in a fused program, rounded differently, and then nothing is equal.
    values, winners = x, []
    for axis in (2, 1):
        if window[axis - 1] == strides[axis - 1] == 1:
            continue
        slices = _shifted(values, axis, window[axis - 1], strides[axis - 1], padding)
        best, winner = slices[0], jnp.zeros(slices[0].shape, jnp.int8)
        for shift, piece in enumerate(slices[1:], start=1):
            larger = piece > best
            best = jnp.where(larger, piece, best)
            winner = jnp.where(larger, jnp.int8(shift), winner)
        winners.append((axis, values.shape[axis], winner))
        values = best
    zero = jnp.zeros((), gradient.dtype)
    for axis, length, winner in reversed(winners):
        step = strides[axis - 1]
        before, _ = _margins(length, window[axis - 1], step, padding)
        total = 0
        for shift in range(window[axis - 1]):
            config = [(0, 0, 0)] * 4
            low = shift - before
            config[axis] = (low, length - low - 1 - step * (winner.shape[axis] - 1), step - 1)
            total += lax.pad(jnp.where(winner == shift, gradient, zero), zero, config)
        gradient = total
    return gradient


def _route_by_rows(size, x, gradient):
    """`_route` for windows of `size` rows that do not overlap, one row of windows at a time.

    As one formula XLA's CPU compiler recomputes all that leads to `gradient` for every row.
    """

    def body(index, routed):
        rows = jnp.split(lax.dynamic_slice_in_dim(x, index * size, size, axis=1), size, axis=1)
        row_gradient = lax.dynamic_slice_in_dim(gradient, index, 1, axis=1)
        parts = []
        for i, row in enumerate(rows):
            largest = functools.reduce(jnp.logical_and, [row > r for r in rows[:i]], row == row)
            largest = functools.reduce(jnp.logical_and, [row >= r for r in rows[i + 1 :]], largest)
            parts.append(jnp.where(largest, row_gradient, jnp.zeros_like(row_gradient)))
        block = jnp.concatenate(parts, axis=1)
        return lax.dynamic_update_slice_in_dim(routed, block, index * size, axis=1)

    return lax.fori_loop(0, gradient.shape[1], body, jnp.zeros(x.shape, gradient.dtype))


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _margins(length: int, window: int, stride: int, padding: str) -> tuple[int, int]:
    return lax.padtype_to_pads((length,), (window,), (stride,), padding)[0]


def _shifted(x: jax.Array, axis: int, window: int, stride: int, padding: str) -> list[jax.Array]:
    """The windows' first, second, ... elements along `axis`, each as one array."""
    before, after = _margins(x.shape[axis], window, stride, padding)
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (before, after, 0)
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), config)
    count = (x.shape[axis] - window) // stride + 1
    if count < 1:
        raise ValueError(
            f"x has {x.shape[axis]} values along axis {axis}, fewer than the pooling window's"
            f" {window}; use a longer window or a larger image"
        )
    last = stride * (count - 1) + 1
    return [lax.slice_in_dim(x, shift, shift + last, stride, axis=axis) for shift in range(window)]
