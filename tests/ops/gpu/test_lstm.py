"""cuDNN's LSTM, played by JAX's own formula of it, against ours: weights, frames, directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import rnn

from mgr_jax import ops
from mgr_jax.ops.gpu import lstm

pytestmark = pytest.mark.e2e

BATCH, FRAMES, INPUTS, SIZE = 3, 6, 5, 4


@pytest.fixture(name="precisions", autouse=True)
def _cudnn(monkeypatch):
    """Replace the calls of cuDNN by `rnn.lstm_ref`, and take the choices of a GPU."""
    precisions = []

    def formula(x, h, c, weights, counts, *sizes):
        inputs, size, layers, dropout, both_ways, precision = sizes
        precisions.append(precision)
        parts = rnn.unpack_lstm_weights(weights, inputs, size, layers, both_ways)
        return rnn.lstm_ref(x, h, c, *parts, counts, inputs, size, layers, dropout, both_ways)

    def forward(*arguments):
        return formula(*arguments), arguments[:5]

    def backward(*arguments):
        *sizes, residuals, gradients = arguments
        *values, counts = residuals
        _, pullback = jax.vjp(lambda *values: formula(*values, counts, *sizes), *values)
        return *pullback(gradients), None

    monkeypatch.setattr(rnn, "lstm_fwd", forward)
    monkeypatch.setattr(rnn, "lstm_bwd", backward)
    monkeypatch.setattr(lstm, "suits", lambda x, bias: True)
    monkeypatch.setattr(lax, "platform_dependent", _on_gpu)
    return precisions


def _on_gpu(*operands, default, cuda=None, **_):
    return (cuda or default)(*operands)


def _inputs(folds=()):
    rng = np.random.default_rng(0)
    shapes = (BATCH, FRAMES, INPUTS), (INPUTS, 4 * SIZE), (SIZE, 4 * SIZE), (4 * SIZE,)
    return [jnp.asarray(rng.normal(size=(*folds, *shape)), jnp.float32) for shape in shapes]


def _value_and_gradients(num_frames, options):
    def run(*inputs):
        states, pullback = jax.vjp(
            lambda *inputs: ops.recurrent(*inputs, num_frames, cell="lstm", **options), *inputs
        )
        return states, pullback(jnp.sin(jnp.arange(states.size)).reshape(states.shape))

    return run


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("num_frames", [None, (6, 2, 0)])
def test_layer_equals_the_formula_with_its_gradients(
    precisions, num_frames, reverse, return_sequences
):
    counts = None if num_frames is None else jnp.array(num_frames)
    run = _value_and_gradients(counts, {"reverse": reverse, "return_sequences": return_sequences})
    ours = jax.jit(run)(*_inputs())
    assert precisions
    with ops.implementation("reference"):
        expected = jax.jit(run)(*_inputs())
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_layer_of_several_folds_at_once_is_that_of_each():
    run = _value_and_gradients(jnp.array([6, 2, 3]), {})
    inputs = _inputs(folds=(2,))
    together = jax.jit(jax.vmap(run))(*inputs)
    for fold in range(2):
        alone = jax.jit(run)(*(x[fold] for x in inputs))
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[fold], b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "allows_tf32"), [(None, True), ("highest", False)])
def test_layer_has_the_precision_of_other_products(precisions, name, allows_tf32):
    with jax.default_matmul_precision(name):
        ops.recurrent(*_inputs(), cell="lstm")
    (precision,) = set(precisions)
    assert rnn._lstm_cudnn_allow_tf32(precision) == allows_tf32


def test_layer_in_bfloat16_has_states_in_float32():
    x, kernel, recurrent, bias = _inputs()
    narrow = (a.astype(jnp.bfloat16) for a in (x, kernel, recurrent))
    states = ops.recurrent(*narrow, bias, cell="lstm")
    assert states.dtype == jnp.float32
    np.testing.assert_allclose(
        states, ops.recurrent(x, kernel, recurrent, bias, cell="lstm"), atol=0.05
    )
