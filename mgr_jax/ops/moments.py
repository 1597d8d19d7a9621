"""Mean and variance of activations, over the rows of a device or of all devices."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from mgr_jax.ops.cpu import blocks

Moments = tuple[jax.Array, jax.Array]


def moments(
    x: jax.Array | Sequence[jax.Array],
    *,
    mask: jax.Array | None = None,
    axis_name: str | None = None,
) -> Moments:
    """Mean and biased variance [C] of `x` [..., C], over the devices of `axis_name` too.

    `x` may be pieces [..., C_i] whose channels, side by side, are the C channels. With a `mask`
    [...] only the values where it holds are counted. Over devices this takes one collective, and
    its gradient another: see `pool`.
    """
    pieces = list(x) if isinstance(x, (list, tuple)) else [x]
    local = _local_moments(pieces, mask)
    count = math.prod(pieces[0].shape[:-1]) if mask is None else jnp.sum(mask)
    return local if axis_name is None else pool(*local, count, axis_name)


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@jax.custom_vjp
def _local_moments(pieces: list[jax.Array], mask: jax.Array | None) -> Moments:
    """Mean and variance of the values of one device.

    The variance is taken from the differences to the mean: the mean of squares less the squared
    mean loses digits on decibels.
    """
    if mask is None:
        found = [
            lax.platform_dependent(x, cpu=_moments_in_blocks, default=_two_pass) for x in pieces
        ]
    else:
        found = [_two_pass(x, mask) for x in pieces]
    mean, var = (jnp.concatenate(part) for part in zip(*found, strict=True))
    return mean, var


def _two_pass(x: jax.Array, mask: jax.Array | None = None) -> Moments:
    x, axes = _wide(x), tuple(range(x.ndim - 1))
    if mask is None:
        average = functools.partial(jnp.mean, axis=axes)
    else:
        share = (mask / jnp.maximum(jnp.sum(mask, dtype=x.dtype), 1))[..., None]

        def average(values: jax.Array) -> jax.Array:
            return jnp.sum(values * share, axes)

    mean = average(x)
    return mean, average(jnp.square(x - as_row(mean, x)))


def _moments_in_blocks(x: jax.Array) -> Moments:
    """One pass: each block takes its own mean, and the blocks are joined by `_join`."""
    channels = x.shape[-1]
    abreast = blocks.abreast(x.size // channels)
    rows = x.reshape(-1, abreast * channels)

    def body(start, size, carry):
        block = _wide(blocks.cut([rows], start, size)[0])
        mean = blocks.sum_rows(block) / size
        spread = blocks.sum_rows(jnp.square(block - mean[None]))
        return _join(carry, (mean, spread, jnp.full_like(carry[2], size)))

    zero = _wide(jnp.zeros(rows.shape[1], x.dtype))
    found = blocks.over_blocks(body, *rows.shape, (zero, zero, zero[0]))
    mean, spread, count = (part.reshape(abreast, -1) if part.ndim else part for part in found)
    center = jnp.mean(mean, 0)
    spread = jnp.sum(spread + count * jnp.square(mean - center[None]), 0)
    return center, spread / (count * abreast)


def _join(a: tuple[jax.Array, ...], b: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """(mean, sum of squared differences, count) of two sets (Chan, Golub & LeVeque 1983)."""
    count = a[2] + b[2]
    step = b[0] - a[0]
    mean = a[0] + step * (b[2] / count)
    return mean, a[1] + b[1] + jnp.square(step) * (a[2] * b[2] / count), count


def _keep(pieces, mask):
    mean, var = _local_moments(pieces, mask)
    return (mean, var), (pieces, mask, mean)


def _gradient(kept, gradients):
    pieces, mask, mean = kept
    count = math.prod(pieces[0].shape[:-1]) if mask is None else jnp.maximum(jnp.sum(mask), 1)
    gradients = lax.platform_dependent(
        jnp.stack(gradients) / count, cpu=blocks.written_out, default=lambda vectors: vectors
    )
    to_pieces, start = [], 0
    for x in pieces:
        own = slice(start, start := start + x.shape[-1])
        to_mean, to_var = gradients[:, own]
        to_x = as_row(to_mean, x) + 2 * (_wide(x) - as_row(mean[own], x)) * as_row(to_var, x)
        to_x = to_x if mask is None else jnp.where(mask[..., None], to_x, 0)
        to_pieces.append(to_x.astype(x.dtype))
    return to_pieces, None


_local_moments.defvjp(_keep, _gradient)


def moments_of_convolution(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, *, axis_name: str | None = None
) -> Moments:
    """`moments` [Cout] of `x` [B, H, W, Cin] convolved (`SAME`) with `kernel` [h, w, Cin, Cout].

    Without the convolution: they follow from mean and covariance of the patches that the kernel
    sees, which for few input channels is little work, and so is their gradient.
    """
    rows, columns, channels, features = kernel.shape
    before = (rows - 1) // 2, (columns - 1) // 2
    after = rows - 1 - before[0], columns - 1 - before[1]
    padded = jnp.pad(_wide(x), ((0, 0), *zip(before, after, strict=True), (0, 0)))
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
    mean = highest(center, weights) + bias.astype(center.dtype)
    # Rounding may leave less than nothing of it, where the kernel sees hardly any difference.
    var = jnp.maximum(jnp.sum(weights * highest(covariance, weights), 0), 0)
    return (mean, var) if axis_name is None else pool(mean, var, count, axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def pool(mean: jax.Array, var: jax.Array, count: jax.Array | int, axis_name: str) -> Moments:
    """Mean and variance [C] of the values of all devices, from those of each and their counts.

    Counts, means and variances are all that the devices exchange, once; sums of squares would need
    no more, but lose digits far from zero. The gradient is written out, since by itself it would
    exchange more.
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
    spread = jnp.sum(share * (variances + jnp.square(means - center[None])), axis=0)
    share = count / jnp.maximum(jnp.sum(counts), 1)
    return (center, spread), (share, mean - center)


def _pool_gradient(axis_name, kept, gradients):
    share, distance = kept
    to_mean, to_var = jnp.split(lax.psum(jnp.concatenate(gradients), axis_name), 2)
    return share * (to_mean + 2 * distance * to_var), share * to_var, None


pool.defvjp(_pool, _pool_gradient)


def as_row(vector: jax.Array, x: jax.Array) -> jax.Array:
    """`vector` [C] with as many axes as `x` [..., C]: rank promotion is never implicit."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))
