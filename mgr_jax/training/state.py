"""The state of a training run: one pytree with everything that a step reads and writes."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from mgr_jax.training import faults

_METRICS = ("loss", "correct", "count", "gradient_norm", "parameter_norm")


class TrainState(flax.struct.PyTreeNode):
    """Everything that a checkpoint holds.

    Attributes:
      step: int32, steps taken so far.
      params, batch_stats: variables of the model.
      average: moving averages of `params` and `batch_stats`, a dict of both; None without
        `optim.ema_decay`.
      opt_state: state of the optimiser, including that of its schedule.
      normalizer: statistics that normalise the features, fitted on the training part before the
        first step; None without `features.normalize`.
      metrics: sums over the examples of this epoch: `loss`, `correct`, `count`, and the
        `gradient_norm` and `parameter_norm` (global L2 norms) of their steps.
      fault: int32 `[2]`, step and index of the first tensor that was not finite: see `faults`.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    average: Any
    opt_state: Any
    normalizer: Any
    metrics: dict[str, jax.Array]
    fault: jax.Array

    def variables(self) -> dict[str, Any]:
        """Return the variables for evaluation: the moving averages, if there are any."""
        current = {"params": self.params, "batch_stats": self.batch_stats}
        return {**(self.average or current), "normalizer": self.normalizer}


def zero_metrics() -> dict[str, jax.Array]:
    """Return the metrics of an epoch before its first step."""
    return {name: jnp.zeros((), jnp.float32) for name in _METRICS}


def create_state(
    key: jax.Array,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    inputs: jax.Array,
    *,
    normalizer: Any = None,
    averaged: bool = False,
) -> TrainState:
    """Return the state before the first step, for features `inputs` `[B, ...]`."""
    variables = model.init(key, inputs)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    # A copy: a donated state must not hold one buffer twice.
    average = jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        average=average if averaged else None,
        opt_state=optimizer.init(params),
        normalizer=normalizer,
        metrics=zero_metrics(),
        fault=faults.no_fault(),
    )
