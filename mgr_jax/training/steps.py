"""The train step and the evaluation step, as pure functions of a state and a batch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mgr_jax import config as config_lib
from mgr_jax.features.frontend import Frontend, num_frames
from mgr_jax.training import objective
from mgr_jax.training.state import TrainState

TrainStep = Callable[[TrainState, dict[str, jax.Array]], TrainState]
PredictStep = Callable[[Any, dict[str, jax.Array]], jax.Array]


def make_train_step(
    frontend: Frontend,
    features: config_lib.Features,
    model: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    seed: int,
) -> TrainStep:
    """One step of gradient descent: waveform -> features -> logits -> loss -> update.

    The random draws of an example depend on `seed`, the step and its row in the global batch
    alone, so that they are the same however the rows are spread over devices.
    """

    def train_step(state: TrainState, batch: dict[str, jax.Array]) -> TrainState:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        row_keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch["row"])
        inputs = frontend(batch["waveform"], state.normalizer)

        def loss_fn(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array]]:
            logits, updates = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                inputs,
                train=True,
                row_keys=row_keys,
                num_frames=num_frames(features, batch["num_samples"]),
                mutable=["batch_stats"],
            )
            loss = objective.cross_entropy(logits, batch["label"]).mean()
            return loss, (updates.get("batch_stats", {}), logits)

        (loss, (batch_stats, logits)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params, value=loss)
        count = batch["label"].shape[0]
        added = {
            "loss": loss * count,
            "correct": objective.correct(logits, batch["label"]).sum(),
            "count": jnp.float32(count),
        }
        return state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            metrics=jax.tree.map(jnp.add, state.metrics, added),
        )

    return train_step


def make_predict_step(
    frontend: Frontend, features: config_lib.Features, model: nn.Module
) -> PredictStep:
    """`(variables, batch) -> log-probabilities [B, C]`, with running statistics, no dropout.

    `variables` holds `params`, `batch_stats` and `normalizer` of a `TrainState`.
    """

    def predict_step(variables: Any, batch: dict[str, jax.Array]) -> jax.Array:
        logits = model.apply(
            {name: variables[name] for name in ("params", "batch_stats")},
            frontend(batch["waveform"], variables["normalizer"]),
            train=False,
            num_frames=num_frames(features, batch["num_samples"]),
        )
        return jax.nn.log_softmax(logits)

    return predict_step
