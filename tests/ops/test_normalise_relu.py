"""The pass that branches share: equal to the formula, blocked or not, and to the plain network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from mgr_jax.models import bbnn
from mgr_jax.ops import normalise_relu as fused
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


@pytest.mark.parametrize(("height", "block_values"), [(7, 60), (12, 1000), (6, 1)])
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
            for f in (fused.normalise_relu_project, _formula)
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), ours, theirs
        )


def test_blocks_equal_the_path_of_other_backends():
    inputs = _inputs(jnp.float32, 9)
    outputs = fused._forward(*inputs)
    for a, b in zip(fused._forward_in_blocks(*inputs), outputs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4),
        fused._backward_in_blocks(*inputs, outputs),
        fused._backward(*inputs, outputs),
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
            for f in (fused.normalise_relu, formula)
        ]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), *results)
        inputs = (x, *vectors, weight)
        for a, b in zip(
            fused._relu_backward_in_blocks(*inputs), fused._relu_backward(*inputs), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("num_modules", "channels"), [(2, 1), (0, 3)])
@pytest.mark.parametrize("train", [True, False])
def test_bbnn_fused_equals_the_plain_network(train, num_modules, channels):
    plain = bbnn.BBNN(3, width=3, num_modules=num_modules, fused=False)
    x = np.random.default_rng(0).normal(size=(2, 22, 7, channels)) * 10 - 40
    fresh = jax.eval_shape(plain.init, jax.random.key(0), x)
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        variables = jax.tree.map(
            lambda a: jnp.asarray(0.5 + rng.random(a.shape), jnp.float64), fresh
        )
        # A negative factor turns the order of values round, in front of the stem's pooling.
        variables["params"]["stem_norm"]["scale"] *= jnp.array([1.0, -1.0, 1.0])
        results = []
        for network in (plain, plain.clone(fused=True)):
            network = network.clone(dtype=jnp.float64)

            def step(params, network=network):
                logits, moved = network.apply(
                    variables | {"params": params}, x, train=train, mutable="batch_stats"
                )
                return jnp.sum(jnp.sin(logits)), (logits, moved)

            results.append(jax.jit(jax.grad(step, has_aux=True))(variables["params"]))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), *results)


@pytest.mark.slow
def test_bbnn_exports_with_a_symbolic_batch():
    network = bbnn.BBNN(3, width=2, num_modules=1)
    x = np.random.default_rng(0).normal(size=(5, 12, 6)).astype(np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), x)
    shape = jax.ShapeDtypeStruct(export.symbolic_shape("b, 12, 6"), jnp.float32)
    apply = jax.jit(lambda x: network.apply(variables, x))
    exported = export.export(apply)(shape)
    for rows in (x, x[:2]):
        np.testing.assert_allclose(exported.call(rows), apply(rows), atol=1e-5)
