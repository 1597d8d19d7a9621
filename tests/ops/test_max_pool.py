"""Pooling against Flax's, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mgr_jax.ops import max_pool as pooling

WINDOWS = [
    ((3, 3), (1, 1), "SAME"),  # BBNN's modules
    ((4, 1), (4, 1), "VALID"),  # its stem
    ((3, 2), (2, 2), "SAME"),
    ((2, 3), (2, 1), "VALID"),
]


@pytest.mark.parametrize(("window", "strides", "padding"), WINDOWS)
def test_max_pool_equals_flax_with_its_gradient(window, strides, padding):
    rng = np.random.default_rng(0)
    # Small integers: many equal values in a window, of which the first must get the gradient.
    x = jnp.asarray(rng.integers(-2, 3, (2, 9, 8, 3)), jnp.float32)

    def ours(x):
        return pooling.max_pool(x, window=window, strides=strides, padding=padding)

    def flax(x):
        return nn.max_pool(x, window, strides, padding)

    np.testing.assert_array_equal(jax.jit(ours)(x), flax(x))
    weight = jnp.asarray(rng.integers(-8, 8, flax(x).shape), jnp.float32)
    gradients = [jax.jit(jax.grad(lambda x, f=f: jnp.sum(weight * f(x))))(x) for f in (ours, flax)]
    np.testing.assert_array_equal(*gradients)
    assert ours(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(("height", "width"), [(5, 5), (5, 9), (6, 8)])
def test_max_pool_of_threes_equals_the_path_of_other_backends(height, width):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 3, (2, height, width, 3)), jnp.float32)
    gradient = jnp.asarray(rng.integers(-8, 8, x.shape), jnp.float32)
    settings = (3, 3), (1, 1), "SAME"
    np.testing.assert_array_equal(pooling._maximum_of_threes(x), pooling._maximum(*settings, x))
    expected = pooling._route(*settings, x, gradient)
    np.testing.assert_array_equal(pooling._route_threes(x, gradient), expected)
    np.testing.assert_array_equal(pooling._route_padded(x, gradient), expected)


def test_max_pool_of_rows_equals_the_path_of_other_backends():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 3, (2, 11, 4, 3)), jnp.float32)
    gradient = jnp.asarray(rng.integers(-8, 8, (2, 2, 4, 3)), jnp.float32)
    np.testing.assert_array_equal(
        pooling._route_rows(4, x, gradient),
        pooling._route((4, 1), (4, 1), "VALID", x, gradient),
    )


def test_max_pool_passes_nan_on():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(jnp.nan)
    y = pooling.max_pool(x, window=(3, 3), strides=(1, 1), padding="SAME")
    assert bool(jnp.isnan(y[0, :3, :3]).all()) and not bool(jnp.isnan(y[0, 3]).any())


def test_max_pool_refuses_an_input_smaller_than_the_window():
    with pytest.raises(ValueError, match="fewer than the pooling window's 4"):
        pooling.max_pool(jnp.zeros((1, 3, 9, 2)), window=(4, 1), strides=(4, 1), padding="VALID")


def test_average_pool_equals_flax_and_drops_the_rest():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 9, 3)), jnp.float32)
    ours = pooling.AveragePool((2, 3)).apply({}, x)
    np.testing.assert_allclose(ours, nn.avg_pool(x, (2, 3), (2, 3)), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="too small for 2x2 pooling"):
        pooling.AveragePool((2, 2)).apply({}, x[:, :1])


def test_global_average_pool_sums_bfloat16_in_float32():
    x = jnp.full((1, 100, 100, 1), 1.0078125, jnp.bfloat16)
    y = pooling.GlobalAveragePool().apply({}, x)
    assert y.dtype == jnp.float32 and float(y[0, 0]) == pytest.approx(1.0078125, rel=1e-6)
