"""Optimisers from optax by name, their learning-rate schedules, clipping and accumulation.

A step reads one batch; an update changes the parameters. With `optim.accumulate_steps` k an update
takes the mean gradient of k steps, and schedules count updates.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mgr_jax import config as config_lib
from mgr_jax.errors import UserError

# Keras's ReduceLROnPlateau, which the BBNN authors used, calls this `min_delta`.
_PLATEAU_MIN_DELTA = 1e-4

# Parameters that `optim.weight_decay` leaves out.
NOT_DECAYED = ("bias", "scale")

# Where folds are trained together, counts of steps are traced.
Count = int | jax.Array


def make_optimizer(
    optim: config_lib.Optim, *, num_steps: Count, steps_per_epoch: Count
) -> optax.GradientTransformationExtraArgs:
    """Return the optimiser, whose `update` is called once a step.

    `update` takes the batch's loss as `value`, which `plateau` needs. The updates that it returns
    are zero at steps that only accumulate gradients.
    """
    rate = make_schedule(optim, num_steps=num_steps, steps_per_epoch=steps_per_epoch)
    optimizer = _make_named(optim, rate)
    if optim.clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(optim.clip_norm), optimizer)
    if optim.accumulate_steps > 1:
        accumulated = optax.MultiSteps(optimizer, every_k_schedule=optim.accumulate_steps)
        optimizer = accumulated.gradient_transformation()
    if optim.schedule == "plateau":
        # Outside of the accumulation: it reads the loss of every step.
        optimizer = optax.chain(
            optimizer,
            optax.contrib.reduce_on_plateau(
                factor=optim.plateau_factor,
                patience=optim.plateau_patience,
                rtol=0.0,
                atol=_PLATEAU_MIN_DELTA,
                accumulation_size=steps_per_epoch,
            ),
        )
    return optax.with_extra_args_support(optimizer)


def _make_named(
    optim: config_lib.Optim, rate: optax.Schedule
) -> optax.GradientTransformationExtraArgs:
    momentum, decays = optim.momentum, _add_decayed_weights(optim.weight_decay)
    scale_by_rate = optax.scale_by_learning_rate(rate)
    return {
        "adam": lambda: optax.adam(rate, eps=1e-7),  # Keras's epsilon
        "adamw": lambda: optax.chain(optax.scale_by_adam(), decays, scale_by_rate),
        "nadam": lambda: optax.nadam(rate),
        "sgd": lambda: optax.sgd(rate, momentum=momentum or None),
        "rmsprop": lambda: optax.rmsprop(rate, momentum=momentum or None),
        "adagrad": lambda: optax.adagrad(rate),
        "adafactor": lambda: optax.adafactor(rate),
        "lamb": lambda: optax.chain(
            optax.scale_by_adam(eps=1e-6), decays, optax.scale_by_trust_ratio(), scale_by_rate
        ),
        "lion": lambda: optax.chain(optax.scale_by_lion(b2=0.99), decays, scale_by_rate),
    }[optim.name]()


def _add_decayed_weights(decay: float) -> optax.GradientTransformation:
    """Return a transformation that adds `decay` times each parameter to its update.

    Biases and the scales of normalisations are left out (Goyal et al. 2017, section 5.3).
    `optax.add_decayed_weights` with a mask does the same, but its state is another tree than that
    of the checkpoints that were written without the mask.
    """

    def add(path: tuple[Any, ...], update: jax.Array, param: jax.Array) -> jax.Array:
        name = getattr(path[-1], "key", "") if path else ""
        return update if name in NOT_DECAYED else update + decay * param

    return optax.stateless(lambda updates, params: jax.tree.map_with_path(add, updates, params))


def make_schedule(
    optim: config_lib.Optim, *, num_steps: Count, steps_per_epoch: Count
) -> optax.Schedule:
    """Return the schedule: number of updates so far -> learning rate of the next one.

    With W updates of warm-up, update u of them has (u + 1) / (W + 1) of the rate. `cosine` falls
    from the peak at update W to zero at the end of the run (Loshchilov and Hutter 2017, without
    restarts); `step` counts its epochs from the start of the run, as Goyal et al. 2017 do. The
    factor of `plateau` is applied by the optimiser.
    """
    every = optim.accumulate_steps
    # Traced values where folds are trained together, since they differ in their number of steps.
    num_updates = jnp.maximum(1, num_steps // every)
    warmup = jnp.round(optim.warmup_epochs * steps_per_epoch / every)

    def schedule(count: Any) -> jax.Array:
        share = jnp.minimum(1.0, (count + 1) / (warmup + 1))
        if optim.schedule == "cosine":
            done = (count - warmup) / jnp.maximum(1, num_updates - warmup)
            share *= 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1)))
        elif optim.schedule == "step":
            drops = count * every // (optim.step_epochs * steps_per_epoch)
            share *= jnp.float32(optim.step_factor) ** drops
        return optim.learning_rate * share

    return schedule


def learning_rate(
    optim: config_lib.Optim, opt_state: Any, *, step: int, num_steps: Count, steps_per_epoch: Count
) -> jax.Array:
    """Return the learning rate of the next update after `step` steps."""
    schedule = make_schedule(optim, num_steps=num_steps, steps_per_epoch=steps_per_epoch)
    rate = jnp.asarray(schedule(step // optim.accumulate_steps))
    if optim.schedule == "plateau":
        rate *= opt_state[-1].scale  # The last of the chain in `make_optimizer`.
    return rate


def average(optim: config_lib.Optim, variables: Any, previous: Any, *, step: jax.Array) -> Any:
    """Return the moving average of `variables` after `step` steps; None without `ema_decay`.

    It is debiased (Kingma and Ba 2015, section 3), as `optax.ema` does it: the first update gets a
    weight of 1, so that the initial values are forgotten at once. It changes at updates only, so
    that accumulated batches count as the one large batch that they stand for.
    """
    if not optim.ema_decay:
        return None
    num_updates = jnp.maximum(1, step // optim.accumulate_steps)
    # 1 - decay ** num_updates, which would lose its digits in float32.
    correction = -jnp.expm1(num_updates * math.log(optim.ema_decay))
    updated, weight = step % optim.accumulate_steps == 0, (1 - optim.ema_decay) / correction
    return optax.incremental_update(variables, previous, jnp.where(updated, weight, 0.0))


def check_updates(optim: config_lib.Optim, *, num_steps: int) -> None:
    """Raise `UserError` if a run of `num_steps` ends before its first update."""
    if optim.accumulate_steps > num_steps:
        raise UserError(
            f"optim.accumulate_steps is {optim.accumulate_steps}, but the run has only"
            f" {num_steps} steps; accumulate fewer, or train for more epochs"
        )
