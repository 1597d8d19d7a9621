"""The train step and the evaluation step, as pure functions of a state and a batch."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from mgr_jax import config as config_lib
from mgr_jax.features import augment, deform
from mgr_jax.features.frontend import Frontend, num_frames
from mgr_jax.training import faults, objective
from mgr_jax.training import optimizer as optimizer_lib
from mgr_jax.training.state import TrainState

# Larger than any row of a batch, since the keys of rows are folded from the same key.
_MIXUP = 2**31
_DEFORM = _MIXUP + 1
_MASKS = _MIXUP + 2

TrainStep = Callable[[TrainState, dict[str, jax.Array]], TrainState]
PredictStep = Callable[[Any, dict[str, jax.Array]], jax.Array]
# Clips on the devices: samples int16 [N, T], and the factor of each row that makes them audio,
# float32 [N].
Resident = tuple[jax.Array, jax.Array]


def to_float32(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Return a batch whose `waveform` [B, T] is float32, computed on the device.

    Waveforms of decoded clips travel as int16, half as many bytes, with their `scale` [B]; the
    values are those of `Clips.waveform` to the last bit. Without `scale` it is the batch as it is.
    """
    rest = dict(batch)
    if "scale" not in rest:
        return rest
    waveform = rest.pop("waveform").astype(jnp.float32) * rest.pop("scale")[:, None]
    return {"waveform": waveform, **rest}


def read_windows(
    clips: Resident, windows: Mapping[str, jax.Array], length: int
) -> dict[str, jax.Array]:
    """Return the batch of waveforms `[B, length]`, equal to those of `Clips.waveform`."""
    samples, scale = clips

    def read_one(clip: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(samples, (clip, start), (1, length))[0]

    values = jax.vmap(read_one)(windows["clip"], windows["start"]).astype(jnp.float32)
    fields = ("num_samples", "label", "row")
    return {
        "waveform": values * scale[windows["clip"]][:, None],
        **{name: windows[name] for name in fields if name in windows},
    }


def on_windows(step: Callable[..., Any], length: int) -> Callable[..., Any]:
    """Return `step` as a function of windows of `length` samples and the clips on the devices."""
    return lambda state, windows, clips: step(state, read_windows(clips, windows, length))


def make_train_step(
    config: config_lib.Config,
    frontend: Frontend,
    model: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    num_classes: int,
    class_weights: jax.Array | np.ndarray | None = None,
    axis_name: str | None = None,
) -> TrainStep:
    """Return one step of gradient descent: waveform -> features -> logits -> loss -> update.

    `config` gives the seed, deformations, mixup, label smoothing and the decay of the average;
    `class_weights` `[C]` weight the loss. The random draws of an example depend on the seed, the
    step and its row in the global batch alone, so that they are the same however the rows are
    spread over devices.

    With `axis_name` a batch is one device's rows, while the loss, its gradients and the metrics are
    those of the rows of all devices. That takes one collective, beside those of batch normalisation
    in the network; with `model.local_batch_norm` it also averages the running averages.
    """

    def train_step(state: TrainState, batch: dict[str, jax.Array]) -> TrainState:
        batch = to_float32(batch)
        key = jax.random.fold_in(jax.random.key(config.train.seed), state.step)
        row_keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch["row"])
        targets = objective.make_targets(
            batch["label"], num_classes=num_classes, label_smoothing=config.optim.label_smoothing
        )
        waveform = deform.augmented(
            jax.random.fold_in(key, _DEFORM),
            batch["waveform"],
            config.augment,
            sample_rate=config.features.sample_rate,
            rows=batch["row"],
        )
        waveform, targets = augment.mixup(
            jax.random.fold_in(key, _MIXUP),
            waveform,
            targets,
            alpha=config.train.mixup_alpha,
            rows=batch["row"],
            axis_name=axis_name,
        )
        # A mixture sounds to the end of its longer clip, so that nothing of it is padding.
        num_samples = None if config.train.mixup_alpha else batch["num_samples"]
        inputs = frontend(waveform, state.normalizer, num_samples)
        if config.train.mask_frames or config.train.mask_bins:
            inputs = augment.spec_augment(
                jax.random.fold_in(key, _MASKS),
                inputs,
                bins=config.train.mask_bins,
                bin_masks=2,
                frames=config.train.mask_frames,
                frame_masks=2,
                rows=batch["row"],
            )

        def loss_fn(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array]]:
            logits, updates = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                inputs,
                train=True,
                row_keys=row_keys,
                num_frames=num_frames(config.features, batch["num_samples"]),
                mutable=["batch_stats"],
            )
            loss = objective.cross_entropy(logits, targets, class_weights).mean()
            return loss, (updates.get("batch_stats", {}), logits)

        with matmul_precision(config.train.matmul_precision):
            (loss, (batch_stats, logits)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
                state.params
            )
        correct = objective.correct(logits, batch["label"]).sum()
        count = jnp.float32(len(logits))
        if axis_name is not None:
            local_stats = batch_stats if config.model.local_batch_norm else {}
            (loss, gradients, local_stats), correct = _over_devices(
                (loss, gradients, local_stats), correct, axis_name
            )
            batch_stats = local_stats or batch_stats
            count = count * jax.lax.axis_size(axis_name)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params, value=loss)
        params = optax.apply_updates(state.params, updates)
        step, variables = state.step + 1, {"params": params, "batch_stats": batch_stats}
        sums = {
            "loss": loss * count,
            "correct": correct,
            "count": count,
            "gradient_norm": _norm(gradients) * count,
            "parameter_norm": _norm(params) * count,
        }
        return state.replace(
            step=step,
            params=params,
            average=optimizer_lib.average(config.optim, variables, state.average, step=step),
            batch_stats=batch_stats,
            opt_state=opt_state,
            metrics=jax.tree.map(jnp.add, state.metrics, sums),
            fault=faults.find_fault(
                state.fault,
                step,
                loss=loss,
                gradients=gradients,
                params=params,
                batch_stats=batch_stats,
            ),
        )

    return train_step


def make_predict_step(
    frontend: Frontend,
    features: config_lib.Features,
    model: nn.Module,
    *,
    precision: str = "default",
) -> PredictStep:
    """Return the evaluation step: `(variables, batch) -> log-probabilities [B, C]`.

    It uses running averages and no dropout. `variables` holds `params`, `batch_stats` and
    `normalizer` of a `TrainState`; `precision` is `train.matmul_precision`.
    """

    def predict_step(variables: Any, batch: dict[str, jax.Array]) -> jax.Array:
        batch = to_float32(batch)
        inputs = frontend(batch["waveform"], variables["normalizer"], batch["num_samples"])
        with matmul_precision(precision):
            logits: Any = model.apply(
                {name: variables[name] for name in ("params", "batch_stats")},
                inputs,
                train=False,
                num_frames=num_frames(features, batch["num_samples"]),
            )
        return jax.nn.log_softmax(logits)

    return predict_step


def matmul_precision(name: str) -> contextlib.AbstractContextManager[None]:
    """Return the context in which products are traced: see `train.matmul_precision`."""
    return contextlib.nullcontext() if name == "default" else jax.default_matmul_precision(name)


def _over_devices(tree: Any, count: jax.Array, axis_name: str) -> tuple[Any, jax.Array]:
    """Return the mean of `tree` and the sum of `count` over all devices, by one all-reduce."""
    flat, unravel = ravel_pytree((tree, count))
    tree, count = unravel(jax.lax.psum(flat, axis_name))
    return jax.tree.map(lambda x: x / jax.lax.axis_size(axis_name), tree), count


def _norm(tree: Any) -> jax.Array:
    """Return the global L2 norm of a tree."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))
