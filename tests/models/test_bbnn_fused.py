"""The fused BBNN is the textbook BBNN: same parameters, same outputs, same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from mgr_jax import config, models
from mgr_jax.models import bbnn, bbnn_fused


@pytest.mark.parametrize(
    ("train", "num_modules", "channels", "pooling"),
    [
        (True, 1, 1, "default"),
        (False, 0, 3, "default"),
        pytest.param(False, 0, 3, "statistics", marks=pytest.mark.e2e),
        pytest.param(True, 0, 3, "default", marks=pytest.mark.e2e),
        pytest.param(True, 2, 1, "statistics", marks=pytest.mark.slow),
        pytest.param(False, 2, 1, "default", marks=pytest.mark.slow),
    ],
)
def test_bbnn_fused_equals_the_textbook(train, num_modules, channels, pooling):
    textbook, fused = (
        module.BBNN(3, width=3, num_modules=num_modules, pooling=pooling, dtype=jnp.float64)
        for module in (bbnn, bbnn_fused)
    )
    x = np.random.default_rng(0).normal(size=(2, 22, 7, channels)) * 10 - 40
    with jax.enable_x64(True):
        fresh = jax.eval_shape(textbook.init, jax.random.key(0), x)
        rng = np.random.default_rng(1)
        # Kernels shrink with their inputs, or logits near 1e7 would round away what sin() reads.
        variables = jax.tree.map(
            lambda a: jnp.asarray((0.5 + rng.random(a.shape)) / np.prod(a.shape[:-1]), jnp.float64),
            fresh,
        )
        # A negative factor turns the order of values round, in front of the stem's pooling.
        variables["params"]["stem_norm"]["scale"] *= jnp.array([1.0, -1.0, 1.0])
        results = []
        for network in (textbook, fused):

            def step(params, network=network):
                logits, moved = network.apply(
                    variables | {"params": params}, x, train=train, mutable="batch_stats"
                )
                return jnp.sum(jnp.sin(logits)), (logits, moved)

            results.append(jax.jit(jax.grad(step, has_aux=True))(variables["params"]))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), *results)


def test_both_start_from_the_same_parameters():
    x = np.zeros((1, 22, 7, 3), np.float32)
    fresh = (
        jax.jit(
            models.make_model(
                config.Model(width=2, num_modules=1, implementation=name), num_classes=3
            ).init
        )(jax.random.key(0), x)
        for name in ("auto", "reference")
    )
    jax.tree.map(np.testing.assert_array_equal, *fresh)


@pytest.mark.slow
def test_bbnn_exports_with_a_symbolic_batch():
    network = bbnn_fused.BBNN(3, width=2, num_modules=1)
    x = np.random.default_rng(0).normal(size=(5, 12, 6)).astype(np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), x)
    shape = jax.ShapeDtypeStruct(export.symbolic_shape("b, 12, 6"), jnp.float32)
    apply = jax.jit(lambda x: network.apply(variables, x))
    exported = export.export(apply)(shape)
    for rows in (x, x[:2]):
        np.testing.assert_allclose(exported.call(rows), apply(rows), atol=1e-5)
