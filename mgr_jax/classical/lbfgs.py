"""L-BFGS for a convex function of a matrix, preconditioned by a dense inverse Hessian.

The two-loop recursion of Nocedal (1980), "Updating quasi-Newton matrices with limited storage".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

_MEMORY = 4  # correction pairs
_PATIENCE = 8  # rejected steps in a row, after which only rounding error is left


def minimize(
    value_and_gradient: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    start: jax.Array,
    inverse_hessian: jax.Array,
    *,
    max_iterations: int | jax.Array,
    tolerance: float | jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Minimize a convex function; may be called under `jit` and `vmap`.

    Each iteration evaluates the function once: a step that does not decrease the value enough is
    rejected, and the next iteration tries half of it.

    Args:
      value_and_gradient: a point [D, C] -> the value and the gradient [D, C].
      start: the first point [D, C].
      inverse_hessian: initial approximation [D, D], symmetric and positive definite, the same for
        each of the C columns.
      max_iterations: upper bound on the number of iterations.
      tolerance: the norm of the gradient at which the iteration ends.

    Returns:
      The last accepted point [D, C], its value and gradient [D, C], and the number of iterations.
    """
    epsilon = jnp.finfo(start.dtype).eps

    def unfinished(state):
        large = jnp.linalg.norm(state["gradient"]) > tolerance
        return large & (state["rejected"] < _PATIENCE) & (state["iterations"] < max_iterations)

    def iterate(state):
        step = -_two_loop_recursion(state, inverse_hessian, state["gradient"])
        step *= jnp.exp2(-state["rejected"].astype(start.dtype))
        point = state["point"] + step
        value, gradient = value_and_gradient(point)
        decrease = value <= state["value"] + 1e-4 * jnp.vdot(step, state["gradient"])
        # Near the minimum values differ by rounding error only, so that a smaller gradient decides.
        level = value <= state["value"] + epsilon * jnp.abs(state["value"])
        flatter = jnp.linalg.norm(gradient) < 0.9 * jnp.linalg.norm(state["gradient"])
        accepted = decrease | (level & flatter)
        change = gradient - state["gradient"]
        curvature = jnp.vdot(step, change)
        norm = jnp.vdot(change, _matmul(inverse_hessian, change))
        stored = accepted & (curvature > epsilon * norm)
        # A pair of zeros has no effect, so that rejected steps need no branch.
        pair = {
            "steps": jnp.where(stored, step, 0),
            "changes": jnp.where(stored, change, 0),
            "factors": jnp.where(stored, 1 / jnp.where(stored, curvature, 1), 0),
        }
        update = {"point": point, "value": value, "gradient": gradient}
        return {
            **{name: jnp.where(accepted, new, state[name]) for name, new in update.items()},
            **{name: jnp.roll(state[name], 1, 0).at[0].set(new) for name, new in pair.items()},
            "scale": jnp.where(stored, curvature / jnp.where(stored, norm, 1), state["scale"]),
            "rejected": jnp.where(accepted, 0, state["rejected"] + 1),
            "iterations": state["iterations"] + 1,
        }

    value, gradient = value_and_gradient(start)
    pairs = jnp.zeros((_MEMORY, *start.shape), start.dtype)
    state = {
        "point": start,
        "value": value,
        "gradient": gradient,
        "steps": pairs,
        "changes": pairs,
        "factors": jnp.zeros(_MEMORY, start.dtype),
        "scale": jnp.ones((), start.dtype),
        "rejected": jnp.zeros((), jnp.int32),
        "iterations": jnp.zeros((), jnp.int32),
    }
    state = lax.while_loop(unfinished, iterate, state)
    return state["point"], state["value"], state["gradient"], state["iterations"]


def _two_loop_recursion(state, inverse_hessian, vector):
    """Return the product of the current inverse Hessian with `vector` [D, C]."""
    shares = []
    for i in range(_MEMORY):
        shares.append(state["factors"][i] * jnp.vdot(state["steps"][i], vector))
        vector = vector - shares[i] * state["changes"][i]
    vector = state["scale"] * _matmul(inverse_hessian, vector)
    for i in reversed(range(_MEMORY)):
        share = shares[i] - state["factors"][i] * jnp.vdot(state["changes"][i], vector)
        vector = vector + share * state["steps"][i]
    return vector


def _matmul(a, b):
    return jnp.matmul(a, b, precision="highest")
