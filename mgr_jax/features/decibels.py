"""Power and amplitude to decibels and back, as librosa computes them.

All functions compute in float32. `power_to_db` takes maxima within a clip (the last two axes),
never over a batch.
"""

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax.features import filters


def power_to_db(
    power: ArrayLike,
    *,
    ref: float | str = 1.0,
    amin: float = 1e-10,
    top_db: float | None = 80.0,
) -> jax.Array:
    """Return `10 log10(power / ref)` of `[..., F, K]`, clip by clip (`librosa.power_to_db`).

    Args:
      power: values of 0 or more; a clip is the last two axes (all of them if there are fewer).
      ref: power that becomes 0 dB; `max` is the largest value of the clip.
      amin: values and reference below it are raised to it.
      top_db: values more than this below the clip's loudest are raised to that; None keeps them.

    Raises:
      ValueError: `amin` is not positive, `top_db` negative, `ref` an unknown word, or `power`
        complex.
    """
    power = jnp.asarray(power)
    if jnp.iscomplexobj(power):
        raise ValueError("power is complex; pass abs(spectrum) ** 2")
    power = power.astype(jnp.float32)
    filters.require_positive(amin=amin)
    if top_db is not None and top_db < 0:
        raise ValueError(f"top_db is {top_db}; it must be 0 or more, or None")
    if isinstance(ref, str):
        if ref != "max":
            raise ValueError(f"ref is {ref!r}; it must be a number or 'max'")
        reference = _clip_max(power)
    else:
        reference = jnp.abs(jnp.asarray(ref, jnp.float32))
    decibels = _decibels(power, amin) - _decibels(reference, amin)
    if top_db is None:
        return decibels
    return jnp.maximum(decibels, _clip_max(decibels) - top_db)


def amplitude_to_db(
    amplitude: ArrayLike,
    *,
    ref: float | str = 1.0,
    amin: float = 1e-5,
    top_db: float | None = 80.0,
) -> jax.Array:
    """Return `20 log10(amplitude / ref)`, clip by clip (`librosa.amplitude_to_db`).

    The arguments and errors are those of `power_to_db`, for amplitudes.
    """
    amplitude = jnp.asarray(amplitude)
    if jnp.iscomplexobj(amplitude):
        raise ValueError("amplitude is complex; pass abs(spectrum)")
    filters.require_positive(amin=amin)
    power = amplitude.astype(jnp.float32) ** 2
    ref_power = ref if isinstance(ref, str) else ref**2
    return power_to_db(power, ref=ref_power, amin=amin**2, top_db=top_db)


def db_to_power(decibels: ArrayLike, *, ref: float = 1.0) -> jax.Array:
    """Return `ref * 10 ** (decibels / 10)`, any shape (`librosa.db_to_power`)."""
    return ref * jnp.power(10.0, jnp.asarray(decibels, jnp.float32) / 10)


def db_to_amplitude(decibels: ArrayLike, *, ref: float = 1.0) -> jax.Array:
    """Return `ref * 10 ** (decibels / 20)`, any shape (`librosa.db_to_amplitude`)."""
    return ref * jnp.power(10.0, jnp.asarray(decibels, jnp.float32) / 20)


def safe_power(values: jax.Array, exponent: float) -> jax.Array:
    """Return `values ** exponent`; the gradient at 0, infinite for a root, is 0.

    Otherwise silence and constants would turn gradients into NaN.
    """
    zero = values == 0
    return jnp.where(zero, 0.0, jnp.where(zero, 1.0, values) ** exponent)


def _decibels(power: jax.Array, amin: float) -> jax.Array:
    return 10.0 * jnp.log10(jnp.maximum(power, amin))


def _clip_max(values: jax.Array) -> jax.Array:
    axes = tuple(range(-min(values.ndim, 2), 0))
    return jnp.max(values, axis=axes, keepdims=True)
