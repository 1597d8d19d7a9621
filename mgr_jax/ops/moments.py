"""Mean and variance of activations, over the rows of a device or of all devices."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from mgr_jax.ops import switch
from mgr_jax.ops.arrays import as_row, at_least_float32
from mgr_jax.ops.cpu import blocks
from mgr_jax.ops.cpu import moments as on_cpu

Moments = tuple[jax.Array, jax.Array]


def moments(
    x: jax.Array | Sequence[jax.Array],
    *,
    mask: jax.Array | None = None,
    axis_name: str | None = None,
) -> Moments:
    """Return mean and biased variance [C] of `x` [..., C], over the devices of `axis_name` too.

    The variance comes from the differences to the mean: the mean of squares less the squared mean
    loses digits on decibels.

    Args:
      x: one array, or pieces [..., C_i] whose channels, side by side, are the C channels.
      mask: [...], where values count; None counts all.
      axis_name: axis of devices. It takes one collective, and its gradient another: see `pool`.
    """
    pieces: list[jax.Array] = list(x) if isinstance(x, (list, tuple)) else [jnp.asarray(x)]
    if switch.is_reference():
        parts = [_reference(piece, mask) for piece in pieces]
        mean, var = (jnp.concatenate(part) for part in zip(*parts, strict=True))
    else:
        mean, var = _local_moments(pieces, mask)
    if axis_name is None:
        return mean, var
    count = math.prod(pieces[0].shape[:-1]) if mask is None else jnp.sum(mask)
    return pool(mean, var, count, axis_name)


def _reference(x: jax.Array, mask: jax.Array | None = None) -> Moments:
    x, axes = at_least_float32(x), tuple(range(x.ndim - 1))
    share = 1.0
    if mask is not None:
        share = (mask / jnp.maximum(jnp.sum(mask, dtype=x.dtype), 1))[..., None]

    def average(values: jax.Array) -> jax.Array:
        return jnp.mean(values, axes) if mask is None else jnp.sum(values * share, axes)

    mean = average(x)
    return mean, average(jnp.square(x - as_row(mean, x)))


@jax.custom_vjp
def _local_moments(pieces: list[jax.Array], mask: jax.Array | None) -> Moments:
    """Moments of the values of one device."""
    if mask is None:
        parts = [lax.platform_dependent(x, cpu=on_cpu.moments, default=_reference) for x in pieces]
    else:
        parts = [_reference(x, mask) for x in pieces]
    mean, var = (jnp.concatenate(part) for part in zip(*parts, strict=True))
    return mean, var


def _forward(pieces, mask):
    mean, var = _local_moments(pieces, mask)
    return (mean, var), (pieces, mask, mean)


def _backward(residuals, gradients):
    pieces, mask, mean = residuals
    count = math.prod(pieces[0].shape[:-1]) if mask is None else jnp.maximum(jnp.sum(mask), 1)
    gradients = lax.platform_dependent(
        jnp.stack(gradients) / count, cpu=blocks.materialized, default=lambda vectors: vectors
    )
    to_pieces, start = [], 0
    for x in pieces:
        own = slice(start, start := start + x.shape[-1])
        to_mean, to_var = gradients[:, own]
        centered = at_least_float32(x) - as_row(mean[own], x)
        to_x = as_row(to_mean, x) + 2 * centered * as_row(to_var, x)
        to_x = to_x if mask is None else jnp.where(mask[..., None], to_x, 0)
        to_pieces.append(to_x.astype(x.dtype))
    return to_pieces, None


_local_moments.defvjp(_forward, _backward)


def moments_of_convolution(
    x: jax.Array, kernel: jax.Array, *, axis_name: str | None = None
) -> Moments:
    """Return the moments [Cout] of `x` convolved (`SAME`) with `kernel`.

    They follow from mean and covariance of the patches of `x` [B, H, W, Cin] that the kernel
    [h, w, Cin, Cout] sees, so the convolution itself is not needed: for few input channels that is
    little work, and so is its gradient.
    """
    rows, columns, channels, features = kernel.shape
    before = (rows - 1) // 2, (columns - 1) // 2
    after = rows - 1 - before[0], columns - 1 - before[1]
    padding = ((0, 0), *zip(before, after, strict=True), (0, 0))
    padded = jnp.pad(at_least_float32(x), padding)
    patches = jnp.concatenate(
        [
            padded[:, i : i + x.shape[1], j : j + x.shape[2]]
            for i in range(rows)
            for j in range(columns)
        ],
        axis=-1,
    ).reshape(-1, rows * columns * channels)
    count = len(patches)
    center = jnp.mean(patches, 0)
    patches = patches - center[None]
    highest = functools.partial(jnp.matmul, precision="highest")
    covariance = highest(patches.T, patches) / count
    weights = kernel.reshape(-1, features).astype(center.dtype)
    mean = highest(center, weights)
    # Rounding can make it negative where the kernel sees hardly any difference.
    var = jnp.maximum(jnp.sum(weights * highest(covariance, weights), 0), 0)
    return (mean, var) if axis_name is None else pool(mean, var, count, axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def pool(mean: jax.Array, var: jax.Array, count: jax.Array | int, axis_name: str) -> Moments:
    """Return mean and variance [C] over all devices, from those of each and their counts.

    The devices exchange counts, means and variances, once. Sums of squares would need no more, but
    lose digits far from zero. The gradient is written out, since autodiff would exchange more.
    """
    return _pool(mean, var, count, axis_name)[0]


def _pool(mean, var, count, axis_name):
    own = jnp.concatenate([mean, var, jnp.full(1, count, mean.dtype)])
    # Gathered as a sum over slots: XLA joins all-reduces that are ready together, on CPU too.
    slots = jnp.zeros((lax.axis_size(axis_name), own.size), own.dtype)
    slots = lax.psum(slots.at[lax.axis_index(axis_name)].set(own), axis_name)
    means, variances, counts = jnp.split(slots, [mean.size, 2 * mean.size], axis=1)
    share = counts / jnp.maximum(jnp.sum(counts), 1)
    center = jnp.sum(share * means, axis=0)
    var = jnp.sum(share * (variances + jnp.square(means - center[None])), axis=0)
    share = count / jnp.maximum(jnp.sum(counts), 1)
    return (center, var), (share, mean - center)


def _pool_backward(axis_name, residuals, gradients):
    share, distance = residuals
    to_mean, to_var = jnp.split(lax.psum(jnp.concatenate(gradients), axis_name), 2)
    return share * (to_mean + 2 * distance * to_var), share * to_var, None


pool.defvjp(_pool, _pool_backward)
