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
    formula = functools.partial(_maximum, window, strides, padding)
    if _threes(x, window, strides, padding):
        return lax.platform_dependent(x, cpu=_maximum_of_threes, default=formula)
    return formula(x)


def _threes(x, window, strides, padding):
    """Whether all windows are 3x3 around their pixel, on an image that has edges and an inside."""
    inside = all(isinstance(size, int) and size >= 5 for size in x.shape[1:3])
    return window == (3, 3) and strides == (1, 1) and padding == "SAME" and inside


def _maximum(window, strides, padding, x):
    for axis in (2, 1):
        slices = _shifted(x, axis, window[axis - 1], strides[axis - 1], padding)
        x = functools.reduce(jnp.maximum, slices)
    return x


def _max_pool_forward(x, window, strides, padding):
    return _max_pool(x, window, strides, padding), x


def _max_pool_backward(window, strides, padding, x, gradient):
    formula = functools.partial(_route, window, strides, padding)
    if _threes(x, window, strides, padding):
        return (lax.platform_dependent(x, gradient, cpu=_route_threes, default=_route_padded),)
    if window == strides and window[1] == 1 and padding == "VALID":
        route = functools.partial(_route_rows, window[0])
        return (lax.platform_dependent(x, gradient, cpu=route, default=formula),)
    return (formula(x, gradient),)


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


def _route_rows(size, x, gradient):
    """`_route` for windows of `size` rows that do not overlap."""
    count = gradient.shape[1]
    gradient = gradient[:, :, None]
    used = x[:, : count * size].reshape(x.shape[0], count, size, *x.shape[2:])
    rows = jnp.split(used, size, axis=2)
    parts = []
    for i, row in enumerate(rows):
        largest = functools.reduce(jnp.logical_and, [row > r for r in rows[:i]], row == row)
        largest = functools.reduce(jnp.logical_and, [row >= r for r in rows[i + 1 :]], largest)
        parts.append(jnp.where(largest, gradient, jnp.zeros_like(gradient)))
    routed = jnp.concatenate(parts, axis=2).reshape(x.shape[0], count * size, *x.shape[2:])
    rest = jnp.zeros_like(x, routed.dtype, shape=x[:, count * size :].shape)
    return jnp.concatenate([routed, rest], axis=1)


# Windows of 3x3, for CPU: the inside of the image and its edges apart, since a padded image costs
# XLA's CPU compiler several times as much. Measured: forward 5.2 to 1.9 ms, gradient 12.9 to 5.2.


def _cut(x, axis, start, end):
    return lax.slice_in_dim(x, start, end, axis=axis)


def _maximum_of_threes(x):
    return _maximum_along(_maximum_along(x, 2), 1)


def _maximum_along(x, axis):
    n = x.shape[axis]
    inside = jnp.maximum(_cut(x, axis, 0, n - 2), _cut(x, axis, 1, n - 1))
    inside = jnp.maximum(inside, _cut(x, axis, 2, n))
    first = jnp.maximum(_cut(x, axis, 0, 1), _cut(x, axis, 1, 2))
    last = jnp.maximum(_cut(x, axis, n - 2, n - 1), _cut(x, axis, n - 1, n))
    return lax.concatenate([first, inside, last], axis)


def _route_threes(x, gradient):
    return _route_along(x, _route_along(_maximum_along(x, 2), gradient, 1), 2)


def _route_along(x, gradient, axis):
    """Hands each gradient to the first of the largest of three neighbours along `axis`."""
    n = x.shape[axis]
    parts = [(1, 0, 0, 2), (0, 0, 2, n - 2), (0, 1, n - 2, n)]
    return lax.concatenate([_won_within(x, gradient, axis, *part) for part in parts], axis)


def _route_padded(x, gradient):
    """`_route_threes` for backends that fuse the padding: they read and write less by it."""
    height, width = x.shape[1:3]
    by_row = _maximum((1, 3), (1, 1), "SAME", x)
    gradient = _won_within(by_row, gradient, 1, 1, 1, 0, height)
    return _won_within(x, gradient, 2, 1, 1, 0, width)


def _won_within(x, gradient, axis, before, after, start, end):
    """`_won` of the elements from `start` to `end`, with margins (1 or 0) at the image's edges."""
    n = x.shape[axis]
    config = [[(0, 0, 0)] * x.ndim for _ in range(2)]
    config[0][axis] = (2 * before, 2 * after, 0)
    config[1][axis] = (before, after, 0)
    cuts = (
        _cut(x, axis, max(start - 2, 0), min(end + 2, n)),
        _cut(gradient, axis, max(start - 1, 0), min(end + 1, n)),
    )
    outside = jnp.array(-jnp.inf, x.dtype), jnp.zeros((), gradient.dtype)
    return _won(*map(lax.pad, cuts, outside, config), axis)


def _won(x, gradient, axis):
    """What each element wins of the windows around it and its neighbours.

    `x` reaches two elements further than the result along `axis`, `gradient` one.
    """
    count = gradient.shape[axis] - 2
    a, b, here, c, d = (_cut(x, axis, i, i + count) for i in range(5))
    left, own, right = (_cut(gradient, axis, i, i + count) for i in range(3))
    before, after, zero = here > b, here >= c, jnp.zeros((), gradient.dtype)
    return (
        jnp.where(before & (here > a), left, zero)
        + jnp.where(before & after, own, zero)
        + jnp.where(after & (here >= d), right, zero)
    )


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
