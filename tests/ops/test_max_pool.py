"""Max-pooling against Flax's, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mgr_jax import ops

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
        return ops.max_pool(x, window=window, strides=strides, padding=padding)

    def flax(x):
        return nn.max_pool(x, window, strides, padding)

    np.testing.assert_array_equal(jax.jit(ours)(x), flax(x))
    weight = jnp.asarray(rng.integers(-8, 8, flax(x).shape), jnp.float32)
    gradients = [jax.jit(jax.grad(lambda x, f=f: jnp.sum(weight * f(x))))(x) for f in (ours, flax)]
    np.testing.assert_array_equal(*gradients)
    assert ours(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_max_pool_passes_nan_on():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(jnp.nan)
    y = ops.max_pool(x, window=(3, 3), strides=(1, 1), padding="SAME")
    assert bool(jnp.isnan(y[0, :3, :3]).all()) and not bool(jnp.isnan(y[0, 3]).any())


def test_max_pool_refuses_an_input_smaller_than_the_window():
    with pytest.raises(ValueError, match="fewer than the pooling window's 4"):
        ops.max_pool(jnp.zeros((1, 3, 9, 2)), window=(4, 1), strides=(4, 1), padding="VALID")
