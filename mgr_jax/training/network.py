"""The network of a config: its compiled steps on the devices, and its table of layers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.config_sections import has_batch_norm
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset, Store
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.features.frontend import fit_normalizer, make_frontend
from mgr_jax.models import make_model
from mgr_jax.models import summary as table
from mgr_jax.models.layers import settling_momentum
from mgr_jax.training import objective, optimizer, resident, steps
from mgr_jax.training.state import TrainState, create_state

# Share of the initial running averages that may be left at the end of a run.
_LARGEST_INITIAL_SHARE = 0.05
# What the predict step reads of a batch of waveforms, or of windows of the resident clips.
_INPUTS = ("waveform", "scale", "clip", "start", "num_samples")


@dataclasses.dataclass(frozen=True)
class Network:
    """The compiled functions of one config, and the mesh that they run on.

    Attributes:
      mesh: the devices.
      init: returns the state before the first step; not compiled.
      shard: this process's rows of a batch -> the global batch that the steps take.
      train_step, predict_step: see `mgr_jax.training.steps`; the state is donated.
      on_device: the steps take windows of clips on the devices in place of waveforms.
    """

    mesh: jax.sharding.Mesh
    init: Callable[[], TrainState]
    shard: Callable[[dict[str, np.ndarray]], dict[str, jax.Array]]
    train_step: steps.TrainStep
    predict_step: steps.PredictStep
    on_device: bool = False


def make_network(
    config: config_lib.Config,
    *,
    num_classes: int,
    steps_per_epoch: int = 1,
    class_weights: jax.Array | np.ndarray | None = None,
    devices: Sequence[Any] | None = None,
    store: Store | None = None,
) -> Network:
    """Build front end, model and optimiser, and return the compiled steps.

    Args:
      config: the network; `train.parallelism` chooses `jit` or `pmap`. Either way the state is
        replicated, and its checkpoints are the same.
      num_classes: C.
      steps_per_epoch: for the learning-rate schedule and the momentum of batch normalisation.
      class_weights: `[C]`, weights of the classes in the loss.
      devices: devices to run on; all by default.
      store: clips to put on the devices; the steps then take windows of it (`training.resident`)
        in place of waveforms.

    Raises:
      UserError: if the store does not fit the devices.
    """
    mesh = parallel.make_mesh(devices)
    adapter = parallel.ADAPTERS[config.train.parallelism]
    axis_name = adapter.axis_name(mesh)
    frontend = make_frontend(config.features)
    batch_norm_axis = None if config.model.local_batch_norm else axis_name
    num_steps = config.train.num_epochs * steps_per_epoch
    model = make_model(
        config.model, num_classes=num_classes, axis_name=batch_norm_axis, num_steps=num_steps
    )
    tx = optimizer.make_optimizer(
        config.optim, num_steps=num_steps, steps_per_epoch=steps_per_epoch
    )

    def init() -> TrainState:
        waveform = np.zeros((1, *config_lib.window_shape(config)), np.float32)
        # Split, since the steps fold their number into the same key.
        key, _ = jax.random.split(jax.random.key(config.train.seed))
        # Fitted to silence, for its shape; training replaces it by the real one.
        normalizer = fit_normalizer(config.features, [(waveform, None)])
        inputs = make_frontend(config.features)(waveform, normalizer)
        averaged = config.optim.ema_decay > 0
        # Without the axis, which exists inside the compiled steps alone.
        single_device_model = make_model(config.model, num_classes=num_classes)
        try:
            return create_state(
                key, single_device_model, tx, inputs, normalizer=normalizer, averaged=averaged
            )
        except ValueError as error:  # The window or the image is too small.
            raise UserError(f"model.name {config.model.name!r}: {error}") from error

    train_step = steps.make_train_step(
        config,
        frontend,
        model,
        tx,
        num_classes=num_classes,
        class_weights=class_weights,
        axis_name=axis_name,
    )
    predict_step = steps.make_predict_step(
        frontend, config.features, model, precision=config.train.matmul_precision
    )
    clips, num_shared = None, 0
    if store is not None:
        length = config_lib.window_length(config)
        clips, num_shared = resident.put(store, mesh, window=length, field="data.on_device"), 1
        train_step = steps.on_windows(train_step, length)
        predict_step = steps.on_windows(predict_step, length)
    train_step = adapter.train_step(train_step, mesh, num_shared=num_shared)
    predict_step = adapter.predict_step(predict_step, mesh, num_shared=num_shared)
    if clips is not None:
        train_step, predict_step = _with_clips(train_step, clips), _with_clips(predict_step, clips)
    return Network(
        mesh,
        init,
        lambda batch: adapter.shard(batch, mesh),
        train_step,
        predict_step,
        on_device=clips is not None,
    )


def momentum_warning(config: config_lib.Config, *, num_steps: int) -> str:
    """Return a warning if running averages of batch normalisation cannot settle in `num_steps`.

    They begin at a mean of 0 and a variance of 1, of which a share of momentum ** `num_steps` is
    left at the end. Empty if it is small, or if the network has no batch normalisation.
    """
    momentum = config.model.batch_norm_momentum
    left = momentum**num_steps
    if not has_batch_norm(config.model) or left <= _LARGEST_INITIAL_SHARE:
        return ""
    return (
        f"warning   model.batch_norm_momentum is {momentum:g}: after the {num_steps} steps of this"
        f" run, {100 * left:.0f} % of the running averages are still their initial values, so that"
        f" scores mean little; set it to 0, which chooses {settling_momentum(num_steps):.2g}"
    )


def _with_clips(step: Callable[..., Any], clips: steps.Resident) -> Callable[..., Any]:
    """Return the compiled `step` with the resident clips as its last argument."""
    return lambda state, windows: step(state, windows, clips)


def class_weights(config: config_lib.Config, dataset: Dataset) -> np.ndarray | None:
    """Return weights `[C]` of the classes in the loss; None without `optim.class_weights`."""
    if not config.optim.class_weights:
        return None
    labels, num_classes = dataset.parts["train"].labels, len(dataset.catalog.labels)
    return np.asarray(objective.balanced_weights(labels, num_classes=num_classes))


def fitted_normalizer(config: config_lib.Config, part: batches.Part) -> Any:
    """Return the normaliser of `config` (`features.normalize`), fitted on all windows of `part`."""
    windows = batches.eval_batches(
        part, batch_size=config.train.batch_size, window=config_lib.window_length(config)
    )
    return fit_normalizer(
        config.features, ((batch["waveform"], batch["num_samples"]) for batch in windows)
    )


def predictor(network: Network, state: TrainState) -> tracks_lib.Predict:
    """Return the function from a batch of windows to log-probabilities, with `state`'s variables.

    It takes this process's rows, as waveforms or as windows of the resident store, and returns the
    log-probabilities of the whole batch, in every process.
    """
    variables = state.variables()

    def predict(batch: batches.Batch) -> np.ndarray:
        inputs = {name: value for name, value in batch.items() if name in _INPUTS}
        return np.asarray(network.predict_step(variables, network.shard(inputs)))

    return predict


def describe(config: config_lib.Config, *, num_classes: int) -> str:
    """Return the table of the network's layers: output shapes, numbers of parameters.

    Raises:
      UserError: if the window or the image is too small for the network.
    """
    return table.format_summary(_summary(config, num_classes))


def count_parameters(config: config_lib.Config, *, num_classes: int) -> int:
    """Return the number of trainable parameters of the network."""
    return _summary(config, num_classes).trainable


def _summary(config: config_lib.Config, num_classes: int) -> table.Summary:
    def inputs() -> jax.Array:
        waveform = jnp.zeros((1, *config_lib.window_shape(config)))
        normalizer = fit_normalizer(config.features, [(waveform, None)])
        return make_frontend(config.features)(waveform, normalizer)

    textbook = dataclasses.replace(config.model, implementation="reference")
    model = make_model(textbook, num_classes=num_classes)
    try:
        return table.summary(model, jax.eval_shape(inputs).shape[1:])
    except ValueError as error:
        raise UserError(f"model.name {config.model.name!r}: {error}") from error
