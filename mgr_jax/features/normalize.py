"""Normalisation of features before the model: subtract a mean, divide by a scale.

`global` and `bin` are fitted on the training part only; the result is a small dict of arrays
that is stored with the model:

    moments = None
    for batch in training_part:
        moments = accumulate(moments, features(batch), kind="bin")
    normalizer = finish(moments)
    x = apply(normalizer, features(batch), kind="bin")

`clip` needs no fit, `none` does nothing. Moments are kept as count, mean and summed squared
deviation and merged by the formula of Chan et al. (1979): sums of squares of decibels would lose
half the digits of float32.
"""

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax.config_sections import NORMALIZERS

FITTED = ("global", "bin")

Moments = dict[str, jax.Array]
Normalizer = dict[str, jax.Array]


def accumulate(
    moments: Moments | None, x: ArrayLike, *, kind: str, valid: ArrayLike | None = None
) -> Moments:
    """Return `moments` (None at the start) updated by the examples of `x` `[B, ..., K]`.

    There is one value for all (`kind` `global`), or one for each of the K bins (`bin`).
    Only the rows `valid` `[B]`, or their frames `valid` `[B, F]`, count; None: all do.

    Raises:
      ValueError: `kind` is not fitted.
    """
    if kind not in FITTED:
        raise ValueError(f"kind is {kind!r}; only {' and '.join(FITTED)} are fitted")
    x = jnp.asarray(x, jnp.float32)
    axes = tuple(range(x.ndim if kind == "global" else x.ndim - 1))
    where = _where(valid, x)
    mean, count = _mean(x, axes, where)
    deviation = jnp.sum(jnp.square(x - mean), axis=axes, where=where)
    update = {"count": count, "mean": mean.reshape(deviation.shape), "deviation": deviation}
    return update if moments is None else merge(moments, update)


def merge(one: Moments, other: Moments) -> Moments:
    """Return the moments of the union of two sets of examples."""
    count = one["count"] + other["count"]
    shift = other["mean"] - one["mean"]
    share = other["count"] / jnp.maximum(count, 1)
    between = jnp.square(shift) * (one["count"] * share)
    return {
        "count": count,
        "mean": one["mean"] + shift * share,
        "deviation": one["deviation"] + other["deviation"] + between,
    }


def finish(moments: Moments) -> Normalizer:
    """Return `{"mean", "scale"}` of the moments.

    `scale` is the standard deviation, or 1 where it is within rounding of 0.
    """
    scale = jnp.sqrt(moments["deviation"] / jnp.maximum(moments["count"], 1))
    constant = scale <= 1e-6 * jnp.abs(moments["mean"])
    return {"mean": moments["mean"], "scale": jnp.where(constant, 1.0, scale)}


def apply(
    normalizer: Normalizer | None, x: ArrayLike, *, kind: str, valid: ArrayLike | None = None
) -> jax.Array:
    """Return `x` `[B, ..., K]` normalised, in its shape.

    `clip` gives every example mean 0 and standard deviation 1 (0 where it does not vary), computed
    over its `valid` values: see `accumulate`.

    Raises:
      ValueError: `kind` is unknown, or is fitted and `normalizer` is None.
    """
    x = jnp.asarray(x)
    if kind not in NORMALIZERS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(NORMALIZERS)}")
    if kind == "none":
        return x
    if kind == "clip":
        axes = tuple(range(1, x.ndim))
        where = _where(valid, x)
        centred = x - _mean(x, axes, where)[0]
        variance = _mean(jnp.square(centred), axes, where)[0]
        return centred / jnp.sqrt(jnp.where(variance == 0, 1.0, variance))
    if normalizer is None:
        raise ValueError(f"normalizer is None; {kind!r} must be fitted on the training part")
    shape = (1,) * (x.ndim - normalizer["mean"].ndim) + normalizer["mean"].shape
    return (x - normalizer["mean"].reshape(shape)) / normalizer["scale"].reshape(shape)


def _where(valid: ArrayLike | None, x: jax.Array) -> jax.Array | None:
    """Return `valid` `[B]` or `[B, F]` in the shape of `x`."""
    if valid is None:
        return None
    valid = jnp.asarray(valid)
    return jnp.broadcast_to(valid.reshape(valid.shape + (1,) * (x.ndim - valid.ndim)), x.shape)


def _mean(
    x: jax.Array, axes: tuple[int, ...], where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return the mean over `axes`, which it keeps (0 of no values), and the number of values."""
    if where is None:
        mean = jnp.mean(x, axis=axes, keepdims=True)
        return mean, jnp.float32(x.size / mean.size)
    count = jnp.sum(where, axis=axes, dtype=jnp.float32)
    total = jnp.sum(x, axis=axes, keepdims=True, where=where)
    return total / jnp.maximum(count, 1).reshape(total.shape), count
