"""One frame of SimpleRNN, GRU and LSTM, forward and backward.

Gates lie side by side in the columns of the kernels:
  simple: h = tanh(x W + h U + b)
  gru:  z, r, candidate; h = z h + (1 - z) tanh(x W + (r h) U + b)  (Cho et al. 2014; Keras'
    `reset_after=False`)
  lstm: i, f, candidate, o; c = f c + i tanh(.), h = o tanh(c)  (Hochreiter & Schmidhuber 1997,
    Gers et al. 2000)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Cell(NamedTuple):
    """The functions of a cell, on states [B, H].

    Attributes:
      gates: G, the number of gates; its kernels have G H columns.
      forward: (product, *state) -> (new state, what the backward pass needs of the gates).
        `product(i, h)` is the sum in front of the gates of column group i, for a state h.
      factors: (states before, saved gates, valid frames), each of all frames at once -> what the
        backward pass multiplies gradients with; a frame that is not valid passes them on.
      backward: (product, gradients of the new state, factors of one frame) -> (gradients of the old
        state, gradients of the sums in front of the gates, by column group). `product(i, g)` leads
        from the gates of group i to the state.
    """

    gates: int
    forward: Callable
    factors: Callable
    backward: Callable


def column_groups(cell: str, array: jax.Array, size: int) -> tuple[jax.Array, ...]:
    """Split the columns [..., G H] by product: the GRU's candidate has a product of its own."""
    return tuple(jnp.split(array, [2 * size], axis=-1)) if cell == "gru" else (array,)


def _sigmoid(x):
    return 0.5 * jnp.tanh(0.5 * x) + 0.5  # XLA vectorises tanh on CPU.


def _simple(product, h):
    h = jnp.tanh(product(0, h))
    return (h,), (h,)


def _simple_factors(before, saved, valid):
    return _where(valid, 1 - saved[0] ** 2, 0), _passed_on(valid, saved[0])


def _simple_backward(product, gradients, factors):
    gates = gradients[0] * factors[0]
    return (product(0, gates) + gradients[0] * factors[1],), (gates,)


def _gru(product, h):
    update, reset = jnp.split(_sigmoid(product(0, h)), 2, axis=-1)
    candidate = jnp.tanh(product(1, reset * h))
    return (update * h + (1 - update) * candidate,), (update, reset, candidate)


def _gru_factors(before, saved, valid):
    (h,), (update, reset, candidate) = before, saved
    to_update = _where(valid, (h - candidate) * update * (1 - update), 0)
    to_candidate = _where(valid, (1 - update) * (1 - candidate**2), 0)
    return to_update, h * reset * (1 - reset), to_candidate, reset, _where(valid, update, 1)


def _gru_backward(product, gradients, factors):
    (to_h,), (to_update, to_reset, to_candidate, reset, update) = gradients, factors
    candidate = to_h * to_candidate
    reset_h = product(1, candidate)
    gates = jnp.concatenate([to_h * to_update, reset_h * to_reset], axis=-1)
    return (to_h * update + reset_h * reset + product(0, gates),), (gates, candidate)


def _lstm(product, h, c):
    size = h.shape[-1]
    # All gates by one tanh; see `_sigmoid`.
    scale = jnp.repeat(jnp.array([[0.5, 0.5, 1, 0.5]], h.dtype), size, axis=1)
    shift = jnp.repeat(jnp.array([[0.5, 0.5, 0, 0.5]], h.dtype), size, axis=1)
    gates = jnp.tanh(product(0, h) * scale) * scale + shift
    i, f, candidate, o = jnp.split(gates, 4, axis=-1)
    c = f * c + i * candidate
    return (o * jnp.tanh(c), c), (gates,)


def _lstm_factors(before, saved, valid):
    c, (i, f, candidate, o) = before[1], jnp.split(saved[0], 4, axis=-1)
    out = jnp.tanh(f * c + i * candidate)
    slopes = (candidate * i * (1 - i), c * f * (1 - f), i * (1 - candidate**2), out * o * (1 - o))
    to_gates = _where(valid, jnp.concatenate(slopes, axis=-1), 0)
    to_c = _where(valid, o * (1 - out**2), 0)
    return to_gates, to_c, _where(valid, f, 1), _passed_on(valid, c)


def _lstm_backward(product, gradients, factors):
    (to_h, to_c), (to_gates, h_to_c, forget, passed_on) = gradients, factors
    to_c = to_c + to_h * h_to_c
    gates = jnp.concatenate([to_c, to_c, to_c, to_h], axis=-1) * to_gates
    return (product(0, gates) + to_h * passed_on, to_c * forget), (gates,)


def _where(valid, value, other):
    return value if valid is None else jnp.where(valid, value, other)


def _passed_on(valid, like):
    """Share of the gradient of a state that goes to the state before: 1 where not valid."""
    if valid is None:
        return jnp.zeros((len(like), 1, 1), like.dtype)
    return (~valid).astype(like.dtype)


CELLS = {
    "simple": Cell(1, _simple, _simple_factors, _simple_backward),
    "gru": Cell(3, _gru, _gru_factors, _gru_backward),
    "lstm": Cell(4, _lstm, _lstm_factors, _lstm_backward),
}
