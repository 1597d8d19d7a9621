"""Optimisers with their learning-rate schedules, from optax by name."""

from typing import Any

import jax
import optax

from mgr_jax import config as config_lib

# Keras's ReduceLROnPlateau, which the BBNN authors used, calls this `min_delta`.
_PLATEAU_MIN_DELTA = 1e-4


def make_optimizer(
    optim: config_lib.Optim, *, num_steps: int, steps_per_epoch: int
) -> optax.GradientTransformationExtraArgs:
    """The optimiser; its `update` takes the batch's loss as `value`, which `plateau` needs."""
    rate = make_schedule(optim, num_steps=num_steps)
    optimizer = {
        "adam": lambda: optax.adam(rate, eps=1e-7),  # Keras's epsilon
        "adamw": lambda: optax.adamw(rate, weight_decay=optim.weight_decay),
        "sgd": lambda: optax.sgd(rate),
    }[optim.name]()
    if optim.schedule == "plateau":
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


def make_schedule(optim: config_lib.Optim, *, num_steps: int) -> optax.Schedule:
    """Step -> learning rate, before what `plateau` takes off."""
    if optim.schedule == "cosine":
        return optax.cosine_decay_schedule(optim.learning_rate, num_steps)
    return optax.constant_schedule(optim.learning_rate)


def learning_rate(
    optim: config_lib.Optim, opt_state: Any, *, step: int, num_steps: int
) -> jax.Array | float:
    """The rate in force at `step`."""
    rate = make_schedule(optim, num_steps=num_steps)(step)
    if optim.schedule == "plateau":
        rate *= opt_state[-1].scale  # The last of the chain in `make_optimizer`.
    return rate
