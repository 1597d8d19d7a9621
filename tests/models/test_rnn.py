"""Recurrent layers against plain NumPy, and masking."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax import config, models
from mgr_jax.models import rnn
from tests.models import numpy_networks as reference


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


@pytest.mark.e2e
def test_rnn_of_statistics_reads_all_states_of_both_directions():
    network = rnn.RNN(2, cell="gru", hidden_size=3, bidirectional=True, pooling="statistics")
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    num_frames = np.array([6, 2])
    variables = network.init(jax.random.key(0), x)
    logits, captured = network.apply(
        variables,
        x,
        num_frames=num_frames,
        capture_intermediates=lambda module, _: isinstance(module, rnn.Recurrent),
    )
    states = [
        captured["intermediates"][f"gru_1_{name}"]["__call__"][0]
        for name in ("forward", "backward")
    ]
    dense = variables["params"]["dense_1"]
    for row, length in enumerate(num_frames):
        both = np.concatenate([state[row, :length] for state in states], axis=-1)
        pooled = np.concatenate([both.mean(0), np.sqrt(both.var(0) + 1e-5)])
        expected = pooled @ dense["kernel"] + dense["bias"]
        np.testing.assert_allclose(logits[row], expected, rtol=1e-4, atol=1e-5)


def test_recurrent_refuses_an_unknown_cell():
    with pytest.raises(ValueError, match="cell is 'elman'"):
        rnn.Recurrent(3, cell="elman").init(jax.random.key(0), jnp.zeros((1, 2, 3)))


def _plain(cell, params, x, num_frames, *, sequences, reverse):
    """The layer as `lax.scan` alone, from the equations; its gradient is that of JAX."""
    size = params["recurrent_kernel"].shape[0]
    sigmoid, u = jax.nn.sigmoid, params["recurrent_kernel"]

    def update(p, h, c):
        if cell == "simple":
            return jnp.tanh(p + h @ u), c
        if cell == "gru":
            gates = sigmoid(p[:, : 2 * size] + h @ u[:, : 2 * size])
            z, r = jnp.split(gates, 2, axis=-1)
            return z * h + (1 - z) * jnp.tanh(p[:, 2 * size :] + (r * h) @ u[:, 2 * size :]), c
        i, f, candidate, o = jnp.split(p + h @ u, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(candidate)
        return sigmoid(o) * jnp.tanh(c), c

    def step(state, frame):
        p, keep = frame
        state = tuple(jnp.where(keep, a, b) for a, b in zip(update(p, *state), state, strict=True))
        return state, state[0]

    keep = jnp.arange(x.shape[1])[:, None, None] < num_frames[None, :, None]
    projected = (x @ params["kernel"] + params["bias"][None, None]).swapaxes(0, 1)
    zero = jnp.zeros((x.shape[0], size), x.dtype)
    (end, _), states = jax.lax.scan(step, (zero, zero), (projected, keep), reverse=reverse)
    return states.swapaxes(0, 1) if sequences else end


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
# Few inputs join the state's product, more go ahead of it.
@pytest.mark.parametrize("inputs", [pytest.param(2, marks=pytest.mark.e2e), 9])
@pytest.mark.parametrize(
    "masked,sequences,reverse",
    [
        (True, True, False),
        *(
            pytest.param(*case, marks=pytest.mark.e2e)
            for case in ((False, False, False), (False, True, True), (True, False, True))
        ),
    ],
)
def test_gradient_is_that_of_the_plain_scan(cell, inputs, masked, sequences, reverse):
    with jax.enable_x64(True):
        generator = np.random.default_rng(0)
        folds, rows, frames, size = 2, 3, 6, 8
        x = generator.normal(size=(folds, rows, frames, inputs))
        num_frames = np.array([6, 3, 1]) if masked else None
        weights = generator.normal(size=(rows, frames, size) if sequences else (rows, size))
        layer = rnn.Recurrent(
            size, cell=cell, return_sequences=sequences, reverse=reverse, dtype=jnp.float64
        )
        shapes = jax.eval_shape(layer.init, jax.random.key(0), x[0])["params"]
        params = {k: generator.normal(size=(folds, *v.shape)) / 2 for k, v in shapes.items()}

        def ours(params, x):
            return (weights * layer.apply({"params": params}, x, num_frames)).sum()

        def plain(params, x):
            given = np.full(rows, frames) if num_frames is None else num_frames
            how = {"sequences": sequences, "reverse": reverse}
            return (weights * _plain(cell, params, x, given, **how)).sum()

        expected = jax.jit(jax.vmap(jax.value_and_grad(plain, (0, 1))))(params, x)
        # By `vmap`, and for one fold alone.
        found = jax.jit(jax.vmap(jax.value_and_grad(ours, (0, 1))))(params, x)
        first = {name: value[0] for name, value in params.items()}
        alone = jax.jit(jax.value_and_grad(ours, (0, 1)))(first, x[0])
        assert found[0].dtype == jnp.float64
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), found, expected)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[0], atol=1e-11), alone, expected)


@pytest.mark.e2e
@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_bfloat16_products_keep_wide_states(cell):
    layer, params, x = _layer(cell, return_sequences=True)
    narrow = layer.clone(dtype=jnp.bfloat16)

    def loss(layer, params):
        states = layer.apply({"params": params}, x, np.array([7, 3, 1]))
        return (states**2).sum(), states

    (_, states), found = jax.value_and_grad(loss, 1, has_aux=True)(narrow, params)
    (_, wide), expected = jax.value_and_grad(loss, 1, has_aux=True)(layer, params)
    assert states.dtype == jnp.float32
    np.testing.assert_allclose(states, wide, atol=0.05)
    for name, slope in found.items():
        assert slope.dtype == jnp.float32
        np.testing.assert_allclose(slope, expected[name], atol=0.05 * np.abs(expected[name]).max())
