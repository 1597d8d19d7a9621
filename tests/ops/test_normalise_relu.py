"""The pass that branches share, against formulas written out in full."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax import ops
from mgr_jax.ops.cpu import blocks


def _inputs(dtype, height, branches=2):
    rng = np.random.default_rng(0)
    pieces = [rng.normal(size=(2, height, 3, channels)) for channels in (4, 6)]
    vectors = [rng.normal(size=(branches, 10)) for _ in range(3)]
    kernel = rng.normal(size=(branches, 10, 5))
    arrays = (pieces, *vectors, kernel)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), arrays)


def _formula(pieces, center, factor, shift, kernel):
    x = jnp.concatenate(pieces, -1)[None]
    rows = (slice(None), None, None, None)
    z = (x - center[rows]) * factor[rows] + shift[rows]
    return tuple(jnp.einsum("kbhwc,kcn->kbhwn", jax.nn.relu(z), kernel))


@pytest.mark.e2e
@pytest.mark.parametrize(("height", "block_values"), [(3, 60), (7, 60), (12, 1000), (6, 1)])
def test_normalise_relu_project_equals_the_formula(monkeypatch, height, block_values):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
    with jax.enable_x64(True):
        inputs = _inputs(jnp.float64, height)
        weight = jnp.arange(5.0).reshape(1, 1, 1, 5) - 1.5

        def loss(function, inputs):
            outputs = function(*inputs)
            return sum((k + 1) * jnp.sum(weight * jnp.sin(y)) for k, y in enumerate(outputs))

        ours, theirs = (
            jax.value_and_grad(lambda i, f=f: loss(f, i))(inputs)
            for f in (ops.normalise_relu_project, _formula)
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), ours, theirs
        )


@pytest.mark.parametrize(("height", "block_values"), [(7, 60), (8, 10**6)])
def test_normalise_relu_equals_the_formula(monkeypatch, height, block_values):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(2, height, 3, 4)))
        vectors = [jnp.asarray(rng.normal(size=4)) for _ in range(3)]
        weight = jnp.asarray(rng.normal(size=x.shape))

        def formula(x, center, factor, shift):
            rows = (None, None, None)
            return jax.nn.relu((x - center[rows]) * factor[rows] + shift[rows])

        results = [
            jax.value_and_grad(lambda *a, f=f: jnp.sum(weight * f(*a)), range(4))(x, *vectors)
            for f in (ops.normalise_relu, formula)
        ]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), *results)
