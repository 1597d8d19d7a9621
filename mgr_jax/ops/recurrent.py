"""One step of recurrent layers and the way back through it: SimpleRNN, GRU and LSTM."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Cell(NamedTuple):
    """What a scan needs of a cell; `models.rnn` has the formulas and the scan.

    Attributes:
      gates: G, how many times its units the columns of its kernels are.
      forward: (product, *state) -> (new state, what the way back reads). `product(i, h)` is the
        sum in front of the gates of columns i, for a state h [B, H].
      factors: (states before, what was saved, valid frames), each of all frames at once -> what
        the way back multiplies slopes with, such that a frame that is not valid passes them on.
      back: (product, slopes of the new state, factors of a frame) -> (slopes of the old state,
        slopes of the sums by columns). `product(i, slopes)` leads from the gates to the state.
    """

    gates: int
    forward: Callable
    factors: Callable
    back: Callable


def columns(cell: str, array: jax.Array, size: int) -> tuple[jax.Array, ...]:
    """Columns [..., G H] of each product of a step; the GRU's candidate has one of its own."""
    return tuple(jnp.split(array, [2 * size], axis=-1)) if cell == "gru" else (array,)


def _sigmoid(x):
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _simple(product, h):
    h = jnp.tanh(product(0, h))
    return (h,), (h,)


def _simple_factors(before, saved, valid):
    return _where(valid, 1 - saved[0] ** 2, 0), _skipped(valid, saved[0])


def _simple_back(product, slopes, factors):
    gates = slopes[0] * factors[0]
    return (product(0, gates) + slopes[0] * factors[1],), (gates,)


def _gru(product, h):
    update, reset = jnp.split(_sigmoid(product(0, h)), 2, axis=-1)
    candidate = jnp.tanh(product(1, reset * h))
    return (update * h + (1 - update) * candidate,), (update, reset, candidate)


def _gru_factors(before, saved, valid):
    (h,), (update, reset, candidate) = before, saved
    to_update = _where(valid, (h - candidate) * update * (1 - update), 0)
    to_candidate = _where(valid, (1 - update) * (1 - candidate**2), 0)
    return to_update, h * reset * (1 - reset), to_candidate, reset, _where(valid, update, 1)


def _gru_back(product, slopes, factors):
    (slope,), (to_update, to_reset, to_candidate, reset, update) = slopes, factors
    last = slope * to_candidate
    read = product(1, last)
    first = jnp.concatenate([slope * to_update, read * to_reset], axis=-1)
    return (slope * update + read * reset + product(0, first),), (first, last)


def _lstm(product, h, c):
    size = h.shape[-1]
    # All gates by one tanh, which XLA vectorises on CPU; a sigmoid is 0.5 tanh(0.5 x) + 0.5.
    scale = jnp.repeat(jnp.array([[0.5, 0.5, 1, 0.5]], h.dtype), size, axis=1)
    shift = jnp.repeat(jnp.array([[0.5, 0.5, 0, 0.5]], h.dtype), size, axis=1)
    gates = jnp.tanh(product(0, h) * scale) * scale + shift
    i, f, candidate, o = jnp.split(gates, 4, axis=-1)
    c = f * c + i * candidate
    return (o * jnp.tanh(c), c), (gates,)


def _lstm_factors(before, saved, valid):
    c, (i, f, candidate, o) = before[1], jnp.split(saved[0], 4, axis=-1)
    out = jnp.tanh(f * c + i * candidate)
    to_gates = jnp.concatenate(
        [
            candidate * i * (1 - i),
            c * f * (1 - f),
            i * (1 - candidate**2),
            out * o * (1 - o),
        ],
        axis=-1,
    )
    to_c = _where(valid, o * (1 - out**2), 0)
    return _where(valid, to_gates, 0), to_c, _where(valid, f, 1), _skipped(valid, c)


def _lstm_back(product, slopes, factors):
    (slope, to_c), (to_gates, through, forget, skipped) = slopes, factors
    to_c = to_c + slope * through
    gates = jnp.concatenate([to_c, to_c, to_c, slope], axis=-1) * to_gates
    return (product(0, gates) + slope * skipped, to_c * forget), (gates,)


def _where(valid, value, other):
    return value if valid is None else jnp.where(valid, value, other)


def _skipped(valid, like):
    return (
        jnp.zeros((len(like), 1, 1), like.dtype) if valid is None else (~valid).astype(like.dtype)
    )


CELLS = {
    "simple": Cell(1, _simple, _simple_factors, _simple_back),
    "gru": Cell(3, _gru, _gru_factors, _gru_back),
    "lstm": Cell(4, _lstm, _lstm_factors, _lstm_back),
}
