"""Recurrent layers against plain NumPy, and masking."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks as reference
import pytest

from mgr_jax import config, models
from mgr_jax.models import rnn


def _layer(cell, **fields):
    layer = rnn.Recurrent(5, cell=cell, **fields)
    x = np.random.default_rng(0).normal(size=(3, 7, 4)).astype(np.float32)
    params = layer.init(jax.random.key(1), x)["params"]
    noise = np.random.default_rng(1)
    params = {k: v + 0.3 * noise.normal(size=v.shape).astype("f") for k, v in params.items()}
    return layer, params, x


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_recurrent_equals_numpy(cell):
    layer, params, x = _layer(cell, return_sequences=True)
    expected = reference.recurrent(x.astype(np.float64), reference.double(params), cell)
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, rtol=1e-5, atol=1e-6)
    last = layer.clone(return_sequences=False).apply({"params": params}, x)
    np.testing.assert_allclose(last, expected[:, -1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
@pytest.mark.parametrize("reverse", [False, True])
def test_recurrent_reads_valid_frames_only(cell, reverse):
    layer, params, x = _layer(cell, return_sequences=True, reverse=reverse)
    apply = jax.jit(layer.apply)
    num_frames = np.array([7, 3, 1])
    masked = apply({"params": params}, x, num_frames)
    spoiled = np.where(np.arange(7)[None, :, None] < num_frames[:, None, None], x, 1e6)
    np.testing.assert_array_equal(masked, apply({"params": params}, spoiled, num_frames))
    for row, length in enumerate(num_frames):
        piece = x[row : row + 1, :length].astype(np.float64)
        piece = piece[:, ::-1] if reverse else piece
        states = reference.recurrent(piece, reference.double(params), cell)
        states = states[:, ::-1] if reverse else states
        np.testing.assert_allclose(masked[row, :length], states[0], rtol=1e-5, atol=1e-6)
        end = states[0, 0] if reverse else states[0, -1]
        last = layer.clone(return_sequences=False).apply({"params": params}, x, num_frames)
        np.testing.assert_allclose(last[row], end, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_recurrent_starts_as_keras_does():
    params = rnn.Recurrent(6, cell="lstm").init(jax.random.key(0), jnp.zeros((1, 2, 4)))["params"]
    np.testing.assert_array_equal(params["bias"], [0] * 6 + [1] * 6 + [0] * 12)
    recurrent = np.asarray(params["recurrent_kernel"])
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(6), atol=1e-5)
    limit = np.sqrt(6 / (4 + 24))
    assert 0.9 * limit < np.abs(params["kernel"]).max() <= limit
    for cell in ("simple", "gru"):
        params = rnn.Recurrent(6, cell=cell).init(jax.random.key(0), jnp.zeros((1, 2, 4)))["params"]
        np.testing.assert_array_equal(params["bias"], 0)


def test_rnn_of_a_padded_batch_equals_its_clips_alone():
    model = config.Model(
        name="rnn", cell="lstm", hidden_size=6, num_layers=2, bidirectional=True, dropout=0.0
    )
    network = models.make_model(model, num_classes=3)
    x = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), x)
    apply = jax.jit(network.apply)
    together = apply(variables, x, num_frames=jnp.array([9, 5]))
    for row, length in ((0, 9), (1, 5)):
        alone = apply(variables, x[row : row + 1, :length])
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-5, atol=1e-6)
    changed = apply(variables, x)
    assert np.abs(changed[1] - together[1]).max() > 1e-3


def test_recurrent_refuses_an_unknown_cell():
    with pytest.raises(ValueError, match="cell is 'elman'"):
        rnn.Recurrent(3, cell="elman").init(jax.random.key(0), jnp.zeros((1, 2, 3)))
