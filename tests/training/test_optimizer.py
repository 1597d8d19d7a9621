"""Optimisers and schedules against formulas written out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mgr_jax.config_sections import OPTIMIZERS, Optim
from mgr_jax.errors import UserError
from mgr_jax.models import make_model
from mgr_jax.training import optimizer
from tests.training import tiny


def keras_plateau(losses, *, rate, factor, patience, min_delta=1e-4):
    """Return the rates after each epoch by Keras's ReduceLROnPlateau, by its documentation."""
    best, epochs_since, rates = np.inf, 0, []
    for loss in losses:
        if loss < best - min_delta:
            best, epochs_since = loss, 0
        else:
            epochs_since += 1
            if epochs_since >= patience:
                rate, epochs_since = rate * factor, 0
        rates.append(rate)
    return rates


def rate(optim, opt_state, step, *, num_steps, per_epoch):
    return float(
        optimizer.learning_rate(
            optim, opt_state, step=step, num_steps=num_steps, steps_per_epoch=per_epoch
        )
    )


def quadratic(key, *, rows=8, dim=5):
    """Return parameters of a least-squares problem, and its loss and gradient for some rows."""
    inputs = jax.random.normal(jax.random.fold_in(key, 0), (rows, dim))
    targets = jax.random.normal(jax.random.fold_in(key, 1), (rows,))
    params = {"w": jax.random.normal(jax.random.fold_in(key, 2), (dim,)), "b": jnp.zeros(())}

    def loss(params, chosen):
        residual = inputs[chosen] @ params["w"] + params["b"] - targets[chosen]
        return jnp.mean(residual**2)

    return params, jax.jit(jax.value_and_grad(loss))


def descend(optim, value_and_grad, params, batches, *, num_steps, per_epoch):
    """Return parameters and averages after each step on `batches` of rows, and the last state."""
    tx = optimizer.make_optimizer(optim, num_steps=num_steps, steps_per_epoch=per_epoch)

    def one(carry, chosen):
        params, state, average, step = carry
        loss, gradients = value_and_grad(params, chosen)
        updates, state = tx.update(gradients, state, params, value=loss)
        params, step = optax.apply_updates(params, updates), step + 1
        average = optimizer.average(optim, params, average, step=step)
        return (params, state, average, step), (params, average)

    start = (params, tx.init(params), params if optim.ema_decay else None, jnp.int32(0))
    (_, state, _, _), trace = jax.jit(lambda start, rows: jax.lax.scan(one, start, rows))(
        start, jnp.asarray(batches)
    )
    return *jax.device_get(trace), state


@pytest.mark.parametrize("patience", [1, 3])
def test_plateau_follows_keras_epoch_by_epoch(patience):
    optim = Optim(
        learning_rate=0.01, schedule="plateau", plateau_factor=0.5, plateau_patience=patience
    )
    per_epoch, num_epochs = 4, 30
    tx = optimizer.make_optimizer(
        optim, num_steps=per_epoch * num_epochs, steps_per_epoch=per_epoch
    )
    params = {"w": jnp.zeros(2)}
    state = tx.init(params)
    losses = np.round(np.random.default_rng(0).uniform(0, 1, (num_epochs, per_epoch)), 3)
    rates = []
    update = jax.jit(tx.update)
    for step, loss in enumerate(losses.ravel()):
        gradients = {"w": jnp.ones(2)}
        _, state = update(gradients, state, params, value=jnp.float32(loss))
        if (step + 1) % per_epoch == 0:
            rates.append(rate(optim, state, step + 1, num_steps=120, per_epoch=4))
    expected = keras_plateau(losses.mean(axis=1), rate=0.01, factor=0.5, patience=patience)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates[-1] < 0.01


def test_adam_takes_the_steps_of_the_formula():
    tx = optimizer.make_optimizer(Optim(learning_rate=0.1), num_steps=3, steps_per_epoch=1)
    params = jnp.array([1.0, -2.0])
    state = tx.init(params)
    value, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for t, gradient in enumerate(([0.5, -1.0], [0.1, 2.0], [-0.3, 0.7]), start=1):
        gradient = np.array(gradient)
        updates, state = tx.update(jnp.array(gradient), state, params, value=jnp.float32(0))
        params = optax.apply_updates(params, updates)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        value = value - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    np.testing.assert_allclose(params, value, rtol=1e-5)


def test_sgd_and_adamw_apply_rate_and_decay():
    for name, decay, expected in (("sgd", 0.0, 1.0 - 0.1 * 0.5), ("adamw", 0.2, None)):
        optim = Optim(name=name, learning_rate=0.1, weight_decay=decay)
        tx = optimizer.make_optimizer(optim, num_steps=1, steps_per_epoch=1)
        params = jnp.array(1.0)
        updates, _ = tx.update(jnp.array(0.5), tx.init(params), params, value=jnp.float32(0))
        # AdamW's first step has length one, and decays the parameter by rate * decay.
        target = expected if expected is not None else 1.0 - 0.1 * (1.0 + decay * 1.0)
        np.testing.assert_allclose(params + updates, target, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "lamb", "lion"])
def test_weight_decay_is_that_of_optax_with_biases_and_scales_masked(name):
    params = {
        "conv": {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 4.0)},
        "norm": {"scale": jnp.full(2, 5.0), "bias": jnp.full(2, -6.0)},
    }
    mask = {"conv": {"kernel": True, "bias": False}, "norm": {"scale": False, "bias": False}}
    optim = Optim(name=name, learning_rate=0.1, weight_decay=0.3)
    ours = optimizer.make_optimizer(optim, num_steps=4, steps_per_epoch=1)
    theirs = getattr(optax, name)(lambda count: 0.1, weight_decay=0.3, mask=mask)
    # Checkpoints of versions without the mask have this tree.
    before = getattr(optax, name)(lambda count: 0.1, weight_decay=0.3).init(params)
    assert jax.tree.structure(ours.init(params)) == jax.tree.structure(before)
    trees, states = [params, params], [ours.init(params), theirs.init(params)]
    for number in range(3):
        gradients = jax.tree.map(lambda p, n=number: jnp.cos(p + n), params)
        for i, tx in enumerate((ours, theirs)):
            updates, states[i] = tx.update(gradients, states[i], trees[i])
            trees[i] = optax.apply_updates(trees[i], updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *trees)


@pytest.mark.parametrize("network", ["bbnn", "cnn_lstm", "rnn"])
def test_weight_decay_applies_to_the_kernels_of_every_network(network):
    model = make_model(tiny.config(network).model, num_classes=3)
    shape = jax.ShapeDtypeStruct((1, 64, 48), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), shape)["params"]
    for path, param in jax.tree_util.tree_leaves_with_path(params):
        assert (param.ndim > 1) == (path[-1].key not in optimizer.NOT_DECAYED)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_average_is_the_debiased_one_of_optax(decay, every):
    values = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    optim, peer = Optim(ema_decay=decay, accumulate_steps=every), optax.ema(decay, debias=True)
    average, state = jnp.full(3, 9.0), peer.init(jnp.zeros(3))
    for step, value in enumerate(values, start=1):
        average = optimizer.average(optim, jnp.asarray(value), average, step=jnp.int32(step))
        if step % every == 0:
            expected, state = peer.update(jnp.asarray(value), state)
            np.testing.assert_allclose(average, expected, rtol=1e-4, atol=1e-4)
            if step == every:  # The initial value is forgotten.
                np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-5)
    weights = decay ** np.arange(12 // every - 1, -1, -1)
    written_out = weights @ values[every - 1 :: every].astype(float) / weights.sum()
    np.testing.assert_allclose(average, written_out, rtol=1e-4, atol=1e-5)


def values_of(optim, *, num_steps, per_epoch):
    """Return the rates of all updates of a run, and the one after the last."""
    schedule = optimizer.make_schedule(optim, num_steps=num_steps, steps_per_epoch=per_epoch)
    updates = num_steps // optim.accumulate_steps
    return np.array([schedule(count) for count in range(updates + 1)])


def test_cosine_falls_from_the_peak_to_zero():
    optim = Optim(learning_rate=0.4, schedule="cosine")
    rates = values_of(optim, num_steps=10, per_epoch=5)
    np.testing.assert_allclose(rates, 0.2 * (1 + np.cos(np.pi * np.arange(11) / 10)), atol=1e-7)


@pytest.mark.parametrize("every", [1, 2])
def test_warmup_rises_to_the_peak_of_the_cosine(every):
    optim = Optim(learning_rate=0.4, schedule="cosine", warmup_epochs=1.5, accumulate_steps=every)
    rates = values_of(optim, num_steps=32, per_epoch=8)
    warmup, updates = 12 // every, 32 // every
    np.testing.assert_allclose(
        rates[:warmup], 0.4 * np.arange(1, warmup + 1) / (warmup + 1), rtol=1e-6
    )
    assert rates.argmax() == warmup and rates[warmup] == np.float32(0.4)
    angles = np.pi * np.arange(updates - warmup + 1) / (updates - warmup)
    np.testing.assert_allclose(rates[warmup:], 0.2 * (1 + np.cos(angles)), atol=1e-7)
    assert rates[-1] == 0 < rates[-2]


def test_warmup_precedes_a_constant_rate():
    rates = values_of(Optim(learning_rate=0.3, warmup_epochs=1.0), num_steps=12, per_epoch=3)
    np.testing.assert_allclose(rates, [0.075, 0.15, 0.225] + 10 * [0.3], rtol=1e-6)


@pytest.mark.parametrize(("every", "per_epoch"), [(1, 3), (2, 3), (4, 8)])
def test_step_drops_the_rate_by_its_factor_every_few_epochs(every, per_epoch):
    optim = Optim(
        learning_rate=0.5,
        schedule="step",
        step_epochs=2,
        step_factor=0.1,
        accumulate_steps=every,
    )
    rates = values_of(optim, num_steps=9 * per_epoch, per_epoch=per_epoch)
    epochs = np.arange(len(rates)) * every // per_epoch
    np.testing.assert_allclose(rates, 0.5 * 0.1 ** (epochs // 2), rtol=1e-5)
    assert len(set(rates.tolist())) == 5


def test_a_schedule_that_warms_up_longer_than_its_run_stays_finite():
    optim = Optim(learning_rate=1.0, schedule="cosine", warmup_epochs=50.0)
    assert np.isfinite(values_of(optim, num_steps=10, per_epoch=1)).all()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "plateau"])
def test_the_update_is_scaled_by_the_rate_that_is_reported(schedule):
    optim = Optim(
        name="sgd",
        learning_rate=0.2,
        schedule=schedule,
        warmup_epochs=1.0,
        step_epochs=1,
        plateau_patience=1,
        accumulate_steps=2,
    )
    tx = optimizer.make_optimizer(optim, num_steps=24, steps_per_epoch=4)
    params = jnp.zeros(())
    state, update, seen = tx.init(params), jax.jit(tx.update), []
    for step in range(24):
        reported = rate(optim, state, step, num_steps=24, per_epoch=4)
        updates, state = update(jnp.ones(()), state, params, value=jnp.float32(-step))
        assert (updates == 0) == (step % 2 == 0)
        if step % 2:
            np.testing.assert_allclose(-updates, reported, rtol=1e-5)
            seen.append(reported)
    assert len(set(seen)) > 2  # Warm-up at least.


@pytest.mark.parametrize(
    ("name", "schedule"), [("adam", "plateau"), ("sgd", "cosine"), ("lamb", "cosine")]
)
def test_accumulated_batches_are_one_large_batch(name, schedule):
    fields = {"name": name, "learning_rate": 0.02, "schedule": schedule, "plateau_patience": 1}
    fields |= {"momentum": 0.9 if name == "sgd" else 0.0, "clip_norm": 0.7, "ema_decay": 0.8}
    params, value_and_grad = quadratic(jax.random.key(1))
    optim = Optim(**fields, accumulate_steps=2)
    ours, our_averages, state = descend(
        optim,
        value_and_grad,
        params,
        [[0, 1, 2, 3], [4, 5, 6, 7]] * 6,
        num_steps=12,
        per_epoch=4,
    )
    whole, averages, _ = descend(
        Optim(**fields), value_and_grad, params, [range(8)] * 6, num_steps=6, per_epoch=2
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1::2], b, atol=2e-5),
        (ours, our_averages),
        (whole, averages),
    )
    # In between nothing moves.
    jax.tree.map(lambda a: np.testing.assert_array_equal(a[2::2], a[1:-1:2]), (ours, our_averages))
    assert not np.allclose(our_averages["w"][-1], ours["w"][-1])
    if schedule == "cosine":  # It has counted updates.
        assert rate(optim, state, 12, num_steps=12, per_epoch=4) == 0


def test_plateau_reads_the_loss_of_every_step_of_an_accumulation():
    fields = {"name": "sgd", "schedule": "plateau", "plateau_patience": 1, "learning_rate": 0.1}
    optim = Optim(**fields, accumulate_steps=4)
    tx = optimizer.make_optimizer(optim, num_steps=12, steps_per_epoch=4)
    params = jnp.zeros(())
    state, update, rates = tx.init(params), jax.jit(tx.update), []
    # The mean of each epoch falls, though the loss of its last step, where the update is, rises.
    for step, loss in enumerate([9, 9, 9, 1, 6, 6, 6, 2, 3, 3, 3, 3], start=1):
        _, state = update(jnp.ones(()), state, params, value=jnp.float32(loss))
        rates.append(rate(optim, state, step, num_steps=12, per_epoch=4))
    np.testing.assert_allclose(rates, 0.1, rtol=1e-6)
    for _ in range(4):
        _, state = update(jnp.ones(()), state, params, value=jnp.float32(5))
    np.testing.assert_allclose(rate(optim, state, 12, num_steps=12, per_epoch=4), 0.05, rtol=1e-6)


def test_clip_norm_scales_the_whole_gradient_down_to_it():
    optim = Optim(name="sgd", learning_rate=1.0, clip_norm=0.5)
    tx = optimizer.make_optimizer(optim, num_steps=1, steps_per_epoch=1)
    params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    for gradients, factor in (
        ({"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}, 0.1),
        ({"a": jnp.array([0.3, 0.0]), "b": jnp.array([0.4])}, 1.0),
    ):
        updates, _ = tx.update(gradients, tx.init(params), params, value=jnp.float32(0))
        jax.tree.map(
            lambda u, g, factor=factor: np.testing.assert_allclose(u, -factor * g, rtol=1e-6),
            updates,
            gradients,
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_comes_down_a_least_squares_loss(name):
    params, value_and_grad = quadratic(jax.random.key(0))
    start = float(value_and_grad(params, np.arange(8))[0])
    size = {"adagrad": 0.5, "lion": 0.02, "lamb": 0.1, "adafactor": 0.3}.get(name, 0.05)
    trace, _, _ = descend(
        Optim(name=name, learning_rate=size, schedule="step", step_epochs=1),
        value_and_grad,
        params,
        [range(8)] * 150,
        num_steps=150,
        per_epoch=100,
    )
    end = float(value_and_grad(jax.tree.map(lambda x: x[-1], trace), np.arange(8))[0])
    assert end < 0.5 * start


def momentum_by_hand(gradients, *, size, decay):
    value, velocity = 1.0, 0.0
    for gradient in gradients:
        velocity = decay * velocity + gradient
        value -= size * velocity
    return value


def adagrad_by_hand(gradients, *, size):
    value, total = 1.0, 0.1
    for gradient in gradients:
        total += gradient**2
        value -= size * gradient / np.sqrt(total + 1e-7)
    return value


def rmsprop_by_hand(gradients, *, size, decay=0.0):
    value, square, velocity = 1.0, 0.0, 0.0
    for gradient in gradients:
        square = 0.9 * square + 0.1 * gradient**2
        velocity = decay * velocity + gradient / np.sqrt(square + 1e-8)
        value -= size * velocity
    return value


def lion_by_hand(gradients, *, size, decay):
    value, moment = 1.0, 0.0
    for gradient in gradients:
        value -= size * (np.sign(0.9 * moment + 0.1 * gradient) + decay * value)
        moment = 0.99 * moment + 0.01 * gradient
    return value


@pytest.mark.parametrize(
    ("optim", "by_hand"),
    [
        (
            Optim(name="sgd", momentum=0.8),
            lambda gradients: momentum_by_hand(gradients, size=0.1, decay=0.8),
        ),
        (Optim(name="adagrad"), lambda gradients: adagrad_by_hand(gradients, size=0.1)),
        (Optim(name="rmsprop"), lambda gradients: rmsprop_by_hand(gradients, size=0.1)),
        (
            Optim(name="rmsprop", momentum=0.8),
            lambda gradients: rmsprop_by_hand(gradients, size=0.1, decay=0.8),
        ),
        (
            Optim(name="lion", weight_decay=0.2),
            lambda gradients: lion_by_hand(gradients, size=0.1, decay=0.2),
        ),
    ],
    ids=["momentum", "adagrad", "rmsprop", "rmsprop with momentum", "lion"],
)
def test_optimizers_take_the_steps_of_their_formula(optim, by_hand):
    optim.learning_rate = 0.1
    tx = optimizer.make_optimizer(optim, num_steps=4, steps_per_epoch=1)
    params, gradients = jnp.array(1.0), [0.5, -0.2, 1.5, 0.3]
    state = tx.init(params)
    for gradient in gradients:
        updates, state = tx.update(jnp.array(gradient), state, params, value=jnp.float32(0))
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, by_hand(gradients), rtol=1e-5)


def test_check_updates_refuses_a_run_without_one():
    optimizer.check_updates(Optim(accumulate_steps=4), num_steps=4)
    with pytest.raises(UserError, match=r"^optim.accumulate_steps is 5, .* only 4 steps; "):
        optimizer.check_updates(Optim(accumulate_steps=5), num_steps=4)
