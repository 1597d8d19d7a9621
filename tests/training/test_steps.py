"""The pure steps: what they update, what they count, and that they learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.training import objective, steps
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("unoptimized")


def test_train_step_is_sgd_on_the_mean_cross_entropy():
    values = tiny.config(name="sgd", learning_rate=0.1)
    frontend, model, tx, state = tiny.parts(values)
    step = steps.make_train_step(values, frontend, model, tx, num_classes=3)
    batch = tiny.batch(0)
    targets = objective.make_targets(batch["label"], num_classes=3)

    def loss(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        inputs = frontend(batch["waveform"])
        logits, _ = model.apply(variables, inputs, train=True, mutable=["batch_stats"])
        return objective.cross_entropy(logits, targets).mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradients)
    after = jax.jit(step)(state, batch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        after.params,
        expected,
    )
    assert int(after.step) == 1
    np.testing.assert_allclose(after.metrics["loss"], 8 * value, rtol=1e-5)


def test_train_step_adds_up_metrics_and_moves_statistics():
    step, state = tiny.train_step(tiny.config())
    step = jax.jit(step)
    before = state.batch_stats
    for number in range(3):
        state = step(state, tiny.batch(number))
    assert float(state.metrics["count"]) == 24
    assert 0 <= float(state.metrics["correct"]) <= 24
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, state.batch_stats)
    assert all(jax.tree.leaves(moved))


def test_train_step_learns_a_batch_by_heart():
    step, state = tiny.train_step(tiny.config(learning_rate=0.03))
    step, losses = jax.jit(step), []
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


def test_train_step_keeps_the_moving_average_of_the_parameters():
    values = tiny.config(name="sgd", learning_rate=0.1, ema_decay=0.75)
    step, state = tiny.train_step(values)
    step, average = jax.jit(step), state.params
    for number in range(3):
        state = step(state, tiny.batch(number))
        average = jax.tree.map(lambda a, p: 0.75 * a + 0.25 * p, average, state.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state.average, average
    )
    assert state.variables()["params"] is state.average


@pytest.mark.slow
def test_train_step_mixes_waveforms_by_the_key_of_seed_and_step():
    plain, mixed, other = (
        jax.jit(tiny.train_step(tiny.config(name="sgd", **fields))[0])
        for fields in (
            {},
            {"train__mixup_alpha": 0.4},
            {"train__mixup_alpha": 0.4, "train__seed": 1},
        )
    )
    state = tiny.parts(tiny.config(name="sgd"))[3]
    losses = [float(step(state, tiny.batch(0)).metrics["loss"]) for step in (plain, mixed, other)]
    assert len(set(losses)) == 3
    assert losses[1] == float(mixed(state, tiny.batch(0)).metrics["loss"])


def test_train_step_weighs_classes():
    values = tiny.config(name="sgd")
    batch = tiny.batch(0)
    step, state = tiny.train_step(values)
    plain = float(jax.jit(step)(state, batch).metrics["loss"])
    twice, _ = tiny.train_step(values, class_weights=jnp.full(3, 2.0))
    np.testing.assert_allclose(jax.jit(twice)(state, batch).metrics["loss"], 2 * plain, rtol=1e-5)
