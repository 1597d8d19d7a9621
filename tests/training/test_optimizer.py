"""Optimisers and schedules against formulas written out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mgr_jax.config import Optim
from mgr_jax.training import optimizer


def keras_plateau(losses, *, rate, factor, patience, min_delta=1e-4):
    """Keras's ReduceLROnPlateau, from its documentation: the rate after each epoch."""
    best, waited, rates = np.inf, 0, []
    for loss in losses:
        if loss < best - min_delta:
            best, waited = loss, 0
        else:
            waited += 1
            if waited >= patience:
                rate, waited = rate * factor, 0
        rates.append(rate)
    return rates


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
            rates.append(float(optimizer.learning_rate(optim, state, step=step, num_steps=120)))
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


def test_cosine_ends_at_zero():
    optim = Optim(learning_rate=0.4, schedule="cosine")
    schedule = optimizer.make_schedule(optim, num_steps=10)
    steps = np.arange(11)
    np.testing.assert_allclose(
        [schedule(s) for s in steps], 0.2 * (1 + np.cos(np.pi * steps / 10)), atol=1e-7
    )
