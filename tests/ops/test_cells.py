"""One frame of each cell, forward and backward: as autodiff has it, and skipping invalid frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.ops import cells
from mgr_jax.ops.recurrent import _gpu_unroll

SIZE = 3


def _plain(name, state, sums, kernel):
    """The formulas of `ops.cells`: `sums` [B, G H] is the input's part."""
    h = state[0]
    if name == "simple":
        return (jnp.tanh(sums + h @ kernel),)
    if name == "gru":
        both = jax.nn.sigmoid(sums[:, : 2 * SIZE] + h @ kernel[:, : 2 * SIZE])
        z, r = both[:, :SIZE], both[:, SIZE:]
        new = jnp.tanh(sums[:, 2 * SIZE :] + (r * h) @ kernel[:, 2 * SIZE :])
        return (z * h + (1 - z) * new,)
    i, f, g, o = jnp.split(sums + h @ kernel, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


@pytest.mark.parametrize("valid", [None, True, False])
@pytest.mark.parametrize("name", cells.CELLS)
def test_cell_and_its_backward_pass_are_those_of_the_formulas(name, valid):
    cell, rng = cells.CELLS[name], np.random.default_rng(0)
    with jax.enable_x64(True):
        state = tuple(jnp.asarray(rng.normal(size=(2, SIZE))) for _ in range(1 + (name == "lstm")))
        sums = jnp.asarray(rng.normal(size=(2, cell.gates * SIZE)))
        kernel = jnp.asarray(rng.normal(size=(SIZE, cell.gates * SIZE)))
        parts, kernels = (
            cells.column_groups(name, sums, SIZE),
            cells.column_groups(name, kernel, SIZE),
        )
        new, saved = cell.forward(lambda i, h: parts[i] + h @ kernels[i], *state)
        expected, pullback = jax.vjp(lambda s, x: _plain(name, s, x, kernel), state, sums)
        for a, b in zip(new, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)

        gradients = tuple(jnp.asarray(rng.normal(size=(2, SIZE))) for _ in new)
        frames = jax.tree.map(lambda leaf: leaf[None], (state, saved))
        counts = None if valid is None else jnp.full((1, 2, 1), valid)
        factors = jax.tree.map(lambda leaf: leaf[0], cell.factors(*frames, counts))
        to_state, to_sums = cell.backward(lambda i, g: g @ kernels[i].T, gradients, factors)
        wanted = (gradients, jnp.zeros_like(sums)) if valid is False else pullback(gradients)
        ours = (*to_state, jnp.concatenate(to_sums, -1))
        for a, b in zip(ours, (*wanted[0], wanted[1]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("length", "frames"), [(2584, 8), (57, 19), (33, 11), (59, 8), (1, 8)])
def test_rounds_of_a_gpu_divide_the_frames_if_a_number_near_eight_does(length, frames):
    assert _gpu_unroll(length) == frames
