"""oneDNN's convolutions against XLA's, and when they are used."""

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from jax import lax
from jax.experimental.compilation_cache import compilation_cache

from mgr_jax.models import onednn
from mgr_jax.ops import convolution
from mgr_jax.ops.cpu import blocks
from mgr_jax.ops.cpu import convolution as gradients

CASES = {
    # height, width, channels, features, kernel, strides, padding
    "same": ((9, 7), 16, 6, (3, 3), (1, 1), "SAME"),
    "valid": ((8, 11), 16, 6, (3, 3), (1, 1), "VALID"),
    "even, stride 1": ((9, 11), 16, 8, (4, 4), (1, 1), "SAME"),
    "even, valid, stride 1": ((9, 11), 16, 8, (4, 4), (1, 1), "VALID"),
    "even and strided": ((9, 11), 16, 8, (4, 4), (2, 2), "SAME"),
    "odd and strided": ((11, 10), 16, 5, (3, 5), (2, 3), "VALID"),
    "few channels": ((7, 10), 3, 6, (3, 3), (1, 1), "SAME"),
    "few channels, odd width": ((6, 9), 3, 32, (3, 3), (1, 1), "VALID"),
    "few channels, wide kernel": ((6, 11), 1, 4, (2, 7), (1, 1), "SAME"),
    "few channels, strided": ((9, 7), 3, 6, (3, 3), (2, 2), "SAME"),
    "1x1": ((5, 4), 16, 6, (1, 1), (1, 1), "SAME"),
}


@pytest.fixture
def no_folder():
    """No folder for compiled programs, which the tests else have."""
    folder = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    if not onednn.available():
        pytest.skip(f"oneDNN's calls are not known to work in jaxlib {jaxlib.__version__}")
    yield
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()


def _arrays(size, channels, features, kernel, batch=2):
    random = np.random.default_rng(0)
    shapes = (batch, *size, channels), (*kernel, channels, features), (features,)
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]


def _xla(x, kernel, bias, *, strides, padding):
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=dimensions)
    return jax.nn.relu(y + bias.reshape(1, 1, 1, -1))


@pytest.mark.usefixtures("no_folder")
@pytest.mark.parametrize("block_values", [1, 700, 2**19])
@pytest.mark.parametrize("case", CASES)
def test_convolve_relu_and_its_gradients_are_those_of_xla(case, block_values, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
    size, channels, features, kernel, strides, padding = CASES[case]
    inputs = _arrays(size, channels, features, kernel)
    options = {"strides": strides, "padding": padding}

    def ours(*inputs):
        return convolution.convolve_relu(*inputs, **options)

    program = jax.jit(ours).lower(*inputs)
    assert "__onednn$convolution" in program.as_text()
    y, pull = jax.vjp(jax.jit(ours), *inputs)
    expected, pull_expected = jax.vjp(lambda *a: _xla(*a, **options), *inputs)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    gradient = jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    for found, theirs in zip(pull(gradient), pull_expected(gradient), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, theirs, atol=2e-4)


@pytest.mark.usefixtures("no_folder")
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 2), (0, 3)), ((2, 0), (1, 1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (2, 3)])
def test_convolve_is_xlas_for_any_strides_and_pads(strides, pads):
    x, kernel, _ = _arrays((8, 9), 5, 7, (3, 4))
    expected = lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = jax.jit(lambda *a: onednn.convolve(*a, strides=strides, pads=pads))(x, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.usefixtures("no_folder")
def test_product_sums_over_all_axes_but_the_last():
    left, right = (
        jnp.asarray(np.random.default_rng(i).normal(size=(3, 5, n))) for i, n in ((0, 4), (1, 6))
    )
    expected = np.einsum("abm,abn->mn", left, right)
    np.testing.assert_allclose(jax.jit(onednn.product)(left, right), expected, atol=1e-5)
    np.testing.assert_allclose(gradients.transposed_product(left, right), expected, atol=1e-5)


@pytest.mark.usefixtures("no_folder")
def test_a_nan_in_the_image_is_in_the_gradient_of_the_kernel():
    inputs = _arrays((9, 7), 3, 6, (3, 3))
    inputs[0] = inputs[0].at[0, 4, 4, 0].set(jnp.nan)
    found = jax.jit(jax.grad(lambda k: convolution.convolve_relu(inputs[0], k, inputs[2]).sum()))
    assert not np.isfinite(found(inputs[1])).all()


@pytest.mark.usefixtures("no_folder")
def test_what_suits_is_float32_of_known_shape_without_a_folder(tmp_path, monkeypatch):
    x, kernel, _ = _arrays((9, 7), 3, 6, (3, 3))
    assert onednn.suits(x, kernel)
    assert not onednn.suits(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert not onednn.suits(x, kernel.astype(jnp.bfloat16))
    (batch,) = jax.export.symbolic_shape("batch")
    assert not onednn.suits(jax.ShapeDtypeStruct((batch, 9, 7, 3), jnp.float32), kernel)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert not onednn.suits(x, kernel)
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(onednn, "TESTED", ())
    onednn._works.cache_clear()
    assert not onednn.suits(x, kernel)
    onednn._works.cache_clear()


@pytest.mark.usefixtures("no_folder")
def test_wrong_numbers_and_a_missing_call_are_not_used(monkeypatch):
    right = onednn.product
    for wrong in (lambda *a: 1.1 * right(*a), lambda *a: onednn._call("none", (3, 5), {}, *a)):
        monkeypatch.setattr(onednn, "product", wrong)
        onednn._works.cache_clear()
        assert not onednn.available()
    monkeypatch.undo()
    onednn._works.cache_clear()
    assert onednn.available()


@pytest.mark.usefixtures("no_folder")
def test_training_cnns_keeps_no_programs_and_all_else_does(monkeypatch, tmp_path):
    from experiments import command
    from experiments.configs import bbnn, cnn

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    command.keep_compiled_programs(cnn.get_config())
    assert jax.config.jax_compilation_cache_dir is None
    command.keep_compiled_programs(bbnn.get_config())
    assert jax.config.jax_compilation_cache_dir
