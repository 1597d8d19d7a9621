"""The pure steps: updates, metrics, learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.features.frontend import make_frontend
from mgr_jax.models import make_model
from mgr_jax.training import objective, steps
from tests.training import tiny


def sgd_config(**fields):
    return tiny.config(name="sgd", learning_rate=0.1, model__dropout=0.0, **fields)


@pytest.fixture(name="sgd", scope="module")
def _sgd():
    """The compiled step of `sgd_config()`, and the state before it."""
    return tiny.train_step(sgd_config())


def test_train_step_is_sgd_on_the_mean_cross_entropy(sgd):
    step, state = sgd
    values = sgd_config()
    frontend, model = make_frontend(values.features), make_model(values.model, num_classes=3)
    batch = tiny.batch(0)
    targets = objective.make_targets(batch["label"], num_classes=3)

    def loss(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        inputs = frontend(batch["waveform"])
        logits, _ = model.apply(variables, inputs, train=True, mutable=["batch_stats"])
        return objective.cross_entropy(logits, targets).mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradients)
    after = step(state, batch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        after.params,
        expected,
    )
    assert int(after.step) == 1
    np.testing.assert_allclose(after.metrics["loss"], 8 * value, rtol=1e-5)


def test_train_step_adds_up_metrics_and_moves_statistics(sgd):
    step, state = sgd
    before = state.batch_stats
    for number in range(3):
        state = step(state, tiny.batch(number))
    assert float(state.metrics["count"]) == 24
    assert 0 <= float(state.metrics["correct"]) <= 24
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, state.batch_stats)
    assert all(jax.tree.leaves(moved))


def test_train_step_learns_a_batch_by_heart():
    values = tiny.config(learning_rate=0.03, model__hidden_size=16, model__dropout=0.0)
    (step, state), losses = tiny.train_step(values), []
    for _ in range(40):
        before = float(state.metrics["loss"])
        state = step(state, tiny.batch(0))
        losses.append((float(state.metrics["loss"]) - before) / 8)
    assert losses[-1] < 0.2 * losses[0]


def test_predict_step_gives_log_probabilities_row_by_row():
    values = tiny.config()
    frontend, model, _, state = tiny.parts(values)
    predict = jax.jit(steps.make_predict_step(frontend, values.features, model))
    variables = state.variables()
    batch = {name: tiny.batch(1)[name] for name in ("waveform", "num_samples")}
    scores = predict(variables, batch)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-5)
    alone = predict(variables, {name: value[:1] for name, value in batch.items()})
    np.testing.assert_allclose(scores[:1], alone, rtol=1e-4, atol=1e-5)


def test_train_step_keeps_the_moving_averages_of_parameters_and_statistics():
    step, state = tiny.train_step(sgd_config(ema_decay=0.75))
    total = jax.tree.map(np.zeros_like, {"params": state.params, "batch_stats": state.batch_stats})
    for number in range(3):
        state = step(state, tiny.batch(number))
        latest = {"params": state.params, "batch_stats": state.batch_stats}
        total = jax.tree.map(lambda a, p: 0.75 * a + 0.25 * p, total, latest)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b / (1 - 0.75**3), rtol=1e-4, atol=1e-6),
        state.average,
        total,
    )
    for name in ("params", "batch_stats"):
        assert state.variables()[name] is state.average[name]
        assert jax.tree.leaves(state.average[name])


@pytest.mark.e2e
def test_train_step_mixes_waveforms_by_the_key_of_seed_and_step(sgd):
    plain, mixed, other = (
        tiny.train_step(sgd_config(**fields))[0]
        for fields in (
            {},
            {"train__mixup_alpha": 0.4},
            {"train__mixup_alpha": 0.4, "train__seed": 1},
        )
    )
    state = sgd[1]
    losses = [float(step(state, tiny.batch(0)).metrics["loss"]) for step in (plain, mixed, other)]
    assert len(set(losses)) == 3
    assert losses[1] == float(mixed(state, tiny.batch(0)).metrics["loss"])


@pytest.mark.e2e
def test_train_step_masks_what_the_network_reads_by_the_key_of_seed_and_step(sgd):
    state, losses = sgd[1], []
    for fields in ({}, {"train__mask_frames": 8}, {"train__mask_bins": 5}):
        step, _ = tiny.train_step(sgd_config(**fields))
        first, again = (float(step(state, tiny.batch(0)).metrics["loss"]) for _ in range(2))
        assert first == again
        losses.append(first)
    assert len(set(losses)) == 3


def test_train_step_weights_classes(sgd):
    step, state = sgd
    batch = tiny.batch(0)
    loss = float(step(state, batch).metrics["loss"])
    doubled, _ = tiny.train_step(sgd_config(), class_weights=jnp.full(3, 2.0))
    np.testing.assert_allclose(doubled(state, batch).metrics["loss"], 2 * loss, rtol=1e-5)


@pytest.mark.e2e
def test_train_step_deforms_waveforms_by_the_key_of_seed_and_step(sgd):
    state, losses = sgd[1], []
    for fields in ({}, {"augment__noise": 100.0}, {"augment__noise": 100.0, "train__seed": 1}):
        step, _ = tiny.train_step(sgd_config(**fields))
        first, again = (float(step(state, tiny.batch(0)).metrics["loss"]) for _ in range(2))
        assert first == again
        losses.append(first)
    assert len(set(losses)) == 3
