"""Layers against Flax's and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mgr_jax.models import layers


@pytest.mark.parametrize(
    ("kernel_size", "strides", "padding"),
    [
        ((1, 1), (1, 1), "SAME"),  # a dot
        ((1, 1), (2, 2), "SAME"),
        ((3, 3), (1, 1), "SAME"),
        ((4, 4), (2, 2), "SAME"),
        ((4, 4), (2, 2), "VALID"),
    ],
)
def test_conv_equals_flax_with_its_gradient(kernel_size, strides, padding):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 9, 8, 3)), jnp.float32)
    ours = layers.Conv(5, kernel_size, strides, padding)
    flax = nn.Conv(5, kernel_size, strides, padding)
    params = ours.init(jax.random.key(0), x)["params"]
    params["bias"] = jnp.arange(5.0)
    results = []
    for module in (ours, flax):

        def loss(params, x, module=module):
            y = module.apply({"params": params}, x)
            return jnp.sum(jnp.sin(y)), y

        results.append(jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *results)


def test_conv_kernel_is_glorot_uniform_as_in_keras():
    x = jax.ShapeDtypeStruct((1, 8, 8, 30), jnp.float32)
    for size in (1, 5):
        params = layers.Conv(40, (size, size)).init(jax.random.key(0), jnp.zeros(x.shape))["params"]
        limit = np.sqrt(6 / (size * size * (30 + 40)))
        assert 0.98 * limit < np.abs(params["kernel"]).max() <= limit
        assert params["kernel"].std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
        np.testing.assert_array_equal(params["bias"], 0)


def _keys(count):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(7), jnp.arange(count))


def test_dropout_does_not_depend_on_the_layout_of_rows():
    layer = layers.Dropout(0.3, name="drop")
    x, keys = jnp.ones((8, 50, 3)), _keys(8)

    def drop(x, keys):
        return layer.apply({}, x, train=True, row_keys=keys)

    alone = drop(x, keys)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    spread = jax.jit(drop)(jax.device_put(x, sharding), jax.device_put(keys, sharding))
    np.testing.assert_array_equal(spread, alone)
    mapped = jax.pmap(drop)(x.reshape(4, 2, 50, 3), keys.reshape(4, 2))
    np.testing.assert_array_equal(mapped.reshape(8, 50, 3), alone)
    np.testing.assert_array_equal(drop(x[5:6], keys[5:6]), alone[5:6])


def test_dropout_keeps_the_mean_and_differs_by_row_and_layer():
    x, keys = jnp.ones((2, 20_000)), _keys(2)

    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, keys):
            return [layers.Dropout(0.3)(x, train=True, row_keys=keys) for _ in range(2)]

    first, second = Two().apply({}, x, keys)
    assert set(np.unique(first).tolist()) == {0.0, float(np.float32(1) / np.float32(0.7))}
    assert float(first.mean()) == pytest.approx(1, abs=0.02)
    for a, b in ((first[0], first[1]), (first, second)):
        assert float(((a > 0) == (b > 0)).mean()) == pytest.approx(0.7**2 + 0.3**2, abs=0.02)


def test_dropout_needs_keys_only_in_training_at_a_rate():
    x = jnp.ones((2, 3))
    np.testing.assert_array_equal(layers.Dropout(0.5).apply({}, x), x)
    np.testing.assert_array_equal(layers.Dropout(0.0).apply({}, x, train=True), x)
    with pytest.raises(ValueError, match="row_keys is None"):
        layers.Dropout(0.5).apply({}, x, train=True)


def test_average_pool_equals_flax_and_drops_the_rest():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 9, 3)), jnp.float32)
    ours = layers.AveragePool((2, 3)).apply({}, x)
    np.testing.assert_allclose(ours, nn.avg_pool(x, (2, 3), (2, 3)), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="too small for 2x2 pooling"):
        layers.AveragePool((2, 2)).apply({}, x[:, :1])


def test_global_average_pool_sums_bfloat16_in_float32():
    x = jnp.full((1, 100, 100, 1), 1.0078125, jnp.bfloat16)
    y = layers.GlobalAveragePool().apply({}, x)
    assert y.dtype == jnp.float32 and float(y[0, 0]) == pytest.approx(1.0078125, rel=1e-6)


def test_statistics_pool_is_mean_and_deviation_over_the_frames_that_count():
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 4)).astype(np.float32)
    mask = np.arange(6) < np.array([[6], [2]])
    pooled = layers.StatisticsPool().apply({}, x, mask)
    for row, length in enumerate((6, 2)):
        frames = x[row, :length].reshape(length, 12)
        expected = np.concatenate([frames.mean(0), np.sqrt(frames.var(0) + 1e-5)])
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layers.StatisticsPool().apply({}, x)[0], pooled[0], rtol=1e-6)
    constant = jax.grad(lambda x: jnp.sum(layers.StatisticsPool().apply({}, x)))(
        jnp.ones((1, 3, 2))
    )
    assert np.isfinite(constant).all()


@pytest.mark.parametrize(
    ("num_steps", "momentum"), [(None, 0.99), (1, 0.1), (20, 0.5), (204, 0.951), (10_000, 0.99)]
)
def test_settling_momentum_averages_over_a_tenth_of_the_steps(num_steps, momentum):
    value = layers.settling_momentum(num_steps)
    assert value == pytest.approx(momentum, abs=1e-3)
    if num_steps is not None:  # Folds that are trained together have a traced number of steps.
        assert float(jax.jit(layers.settling_momentum)(num_steps)) == value


def test_settling_momentum_forgets_the_initial_averages():
    for num_steps in (5, 10, 20, 100, 1000, 10_000):
        assert layers.settling_momentum(num_steps) ** num_steps < 1e-3
