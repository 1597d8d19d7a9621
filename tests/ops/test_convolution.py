"""Convolutions beyond parity: where blocks are used, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax import ops


def _arrays(kernel, channels=16):
    rng = np.random.default_rng(0)
    shapes = (2, 8, 11, channels), (*kernel, channels, 6)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def test_convolve_has_blocks_on_cpu_alone():
    def loss(x, kernel):
        return jnp.sum(ops.convolve(x, kernel, padding="VALID") ** 2)

    def lowered(platform):
        traced = jax.jit(jax.grad(loss, (0, 1))).trace(*_arrays((3, 3)))
        return traced.lower(lowering_platforms=(platform,)).as_text()

    assert "while" in lowered("cpu")
    assert "while" not in lowered("tpu") and "while" not in lowered("cuda")


@pytest.mark.parametrize("implementation", ops.IMPLEMENTATIONS)
def test_convolve_refuses_an_input_that_is_too_small(implementation):
    x, kernel = _arrays((3, 3))
    with (
        ops.implementation(implementation),
        pytest.raises(ValueError, match="x of 8x2 is too small for a 3x3 convolution"),
    ):
        ops.convolve(x[:, :, :2], kernel, padding="VALID")


def test_convolve_in_bfloat16_has_gradients_in_bfloat16():
    inputs = [x.astype(jnp.bfloat16) for x in _arrays((3, 3))]
    gradients = jax.grad(lambda *a: jnp.sum(jnp.sin(ops.convolve(*a))), (0, 1))(*inputs)
    assert all(g.dtype == jnp.bfloat16 for g in gradients)
