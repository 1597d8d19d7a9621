"""Convolutions against XLA's, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mgr_jax.ops import convolution
from mgr_jax.ops.cpu import blocks

CASES = {
    # height, width, channels, kernel, strides, padding
    "same": ((9, 7), 16, (3, 3), (1, 1), "SAME"),
    "valid": ((8, 11), 16, (3, 3), (1, 1), "VALID"),
    "even": ((9, 11), 16, (4, 4), (2, 2), "SAME"),
    "even valid": ((9, 12), 17, (4, 4), (2, 2), "VALID"),
    "odd and strided": ((11, 10), 16, (3, 5), (2, 3), "SAME"),
    "with rows left over": ((10, 8), 16, (2, 3), (3, 3), "VALID"),
    "few channels": ((9, 7), 3, (3, 3), (2, 2), "SAME"),
    "kernel below stride": ((9, 7), 16, (1, 1), (2, 2), "VALID"),
    "pairs of columns": ((7, 10), 3, (3, 3), (1, 1), "SAME"),
    "pairs of odd width": ((6, 9), 3, (3, 3), (1, 1), "SAME"),
    "pairs, even kernel": ((6, 9), 1, (2, 4), (1, 1), "VALID"),
    "1x1": ((5, 4), 16, (1, 1), (1, 1), "SAME"),
}


def _reference(x, kernel, bias, *, strides, padding):
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=dimensions)
    return y + bias.reshape(1, 1, 1, -1)


def _arrays(size, channels, kernel, *, dtype=jnp.float32, features=6, batch=2):
    random = np.random.default_rng(0)
    shapes = (batch, *size, channels), (*kernel, channels, features), (features,)
    return [jnp.asarray(random.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("block_values", [1, 1500, 2**19])
def test_convolve_and_its_gradients_are_those_of_xla(case, block_values, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
    size, channels, kernel, strides, padding = CASES[case]
    with jax.enable_x64(True):
        inputs = _arrays(size, channels, kernel, dtype=jnp.float64)
        options = {"strides": strides, "padding": padding}
        y, pull = jax.vjp(lambda *a: convolution.convolve(*a, **options), *inputs)
        expected, pull_expected = jax.vjp(lambda *a: _reference(*a, **options), *inputs)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y, expected, atol=1e-12)
        gradient = jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        for ours, theirs in zip(pull(gradient), pull_expected(gradient), strict=True):
            assert ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, theirs, atol=1e-11)


@pytest.mark.parametrize("case", ["valid", "even"])
def test_convolve_takes_xlas_gradients_on_other_platforms(case):
    size, channels, kernel, strides, padding = CASES[case]
    inputs = _arrays(size, channels, kernel)

    def loss(x, kernel, bias):
        return jnp.sum(convolution.convolve(x, kernel, bias, strides=strides, padding=padding) ** 2)

    def lowered(platform):
        traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*inputs)
        return traced.lower(lowering_platforms=(platform,)).as_text()

    assert "while" in lowered("cpu")
    assert "while" not in lowered("tpu")


def test_convolve_refuses_an_input_that_is_too_small():
    inputs = _arrays((9, 2), 3, (3, 3))
    with pytest.raises(ValueError, match="too small"):
        convolution.convolve(*inputs, padding="VALID")


def test_convolve_in_bfloat16_has_close_gradients():
    inputs = _arrays((8, 11), 16, (3, 3))

    def gradients(*inputs):
        return jax.grad(lambda *a: jnp.sum(jnp.sin(convolution.convolve(*a))), (0, 1, 2))(*inputs)

    rough = gradients(*(x.astype(jnp.bfloat16) for x in inputs))
    for a, b in zip(rough, gradients(*inputs), strict=True):
        assert a.dtype == jnp.bfloat16
        assert jnp.linalg.norm(a.astype(b.dtype) - b) < 0.1 * jnp.linalg.norm(b)


def test_convolve_has_the_same_gradients_under_vmap():
    x, kernel, bias = _arrays((8, 11), 16, (3, 3), batch=6)

    def gradients(x):
        return jax.grad(lambda k, b: jnp.sum(convolution.convolve(x, k, b) ** 2), (0, 1))(
            kernel, bias
        )

    parts = x.reshape(3, 2, *x.shape[1:])
    mapped = jax.vmap(gradients)(parts)
    for i in range(3):
        for a, b in zip(mapped, gradients(parts[i]), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-3)
