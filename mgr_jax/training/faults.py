"""Detection of numbers that are not finite, on the device: which tensor, at which step.

No step reads anything back. The state carries `[step, index]` of the first tensor that held a NaN
or an Inf, or numbers so large (from about 1e19) that the sum of their squares overflows. The host
reads it where it reads metrics anyway, and before it saves.
"""

from typing import Any

import jax
import jax.numpy as jnp

from mgr_jax import tensors


def no_fault() -> jax.Array:
    """Return the fault `[2]`, int32, of a run in which everything has been finite so far."""
    return jnp.full(2, -1, jnp.int32)


def find_fault(
    fault: jax.Array,
    step: jax.Array,
    *,
    loss: jax.Array,
    gradients: Any,
    params: Any,
    batch_stats: Any,
) -> jax.Array:
    """Return `fault` if it holds one already, else `[step, index]` of the first bad tensor, if any.

    The index counts in the order of `names`: the loss, its gradients, then the parameters and the
    batch statistics after the update.
    """
    leaves = jax.tree.leaves([loss, gradients, params, batch_stats])
    # Sums of squares, since the norms in the metrics need them anyway.
    finite = jnp.isfinite(jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in leaves]))
    new_fault = jnp.stack([step, jnp.argmin(finite).astype(jnp.int32)])
    return jnp.where((fault[0] < 0) & ~finite.all(), new_fault, fault)


def names(params: Any, batch_stats: Any) -> list[str]:
    """Return the names of the tensors that `find_fault` numbers, in its order."""
    return [
        "the loss",
        *(f"the gradient of {name}" for name in tensors.flatten(params)),
        *(f"the parameter {name}" for name in tensors.flatten(params)),
        *(f"the batch statistic {name}" for name in tensors.flatten(batch_stats)),
    ]


def read_fault(fault: jax.Array, params: Any, batch_stats: Any) -> tuple[int, str] | None:
    """Return step and name of the first bad tensor, None if there is none; waits for the device."""
    step, index = (int(value) for value in jax.device_get(fault))
    return None if step < 0 else (step, names(params, batch_stats)[index])
