"""The network of a config: its compiled functions on the devices, and its table of layers."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.data import batches
from mgr_jax.data.clips import Clips
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.features.frontend import fit_normalizer, make_frontend
from mgr_jax.models import make_model
from mgr_jax.models import summary as table
from mgr_jax.training import objective, optimizer, resident, steps
from mgr_jax.training.state import TrainState, create_state


@dataclasses.dataclass(frozen=True)
class Network:
    """The compiled functions of one config, and the mesh that they run on.

    Attributes:
      mesh: the devices.
      init: the state before the first step, not compiled.
      shard: this process's rows of a batch -> what the steps take.
      train_step, predict_step: see `mgr_jax.training.steps`; the state is donated.
    """

    mesh: jax.sharding.Mesh
    init: Callable[[], TrainState]
    shard: Callable[[dict[str, np.ndarray]], dict[str, jax.Array]]
    train_step: steps.TrainStep
    predict_step: steps.PredictStep


def make_network(
    config: config_lib.Config,
    *,
    num_classes: int,
    steps_per_epoch: int = 1,
    class_weights: jax.Array | None = None,
    devices: Sequence[Any] | None = None,
    store: Clips | None = None,
) -> Network:
    """Builds front end, model, optimiser and the compiled steps.

    `train.parallelism` says by what the steps reach the devices, all of them unless `devices`
    names some. Either way the state is replicated, and its checkpoints are the same. A `store` is
    put on the devices; in place of waveforms the steps then take windows of it
    (`training.resident`).

    Raises:
      UserError: the store does not fit the devices.
    """
    mesh = parallel.make_mesh(devices)
    adapter = parallel.ADAPTERS[config.train.parallelism]
    axis_name = adapter.axis_name(mesh)
    frontend = make_frontend(config.features)
    synchronised = None if config.model.local_batch_norm else axis_name
    model = make_model(config.model, num_classes=num_classes, axis_name=synchronised)
    tx = optimizer.make_optimizer(
        config.optim,
        num_steps=config.train.num_epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
    )

    def init() -> TrainState:
        waveform = np.zeros((1, *config_lib.window_shape(config)), np.float32)
        # Split, since the steps fold their number into the same key.
        key, _ = jax.random.split(jax.random.key(config.train.seed))
        # Fitted to silence, for its shape; training puts the real one in its place.
        normalizer = fit_normalizer(config.features, [waveform])
        inputs = make_frontend(config.features)(waveform, normalizer)
        averaged = config.optim.ema_decay > 0
        single = make_model(config.model, num_classes=num_classes)
        return create_state(key, single, tx, inputs, normalizer=normalizer, averaged=averaged)

    train_step = steps.make_train_step(
        config,
        frontend,
        model,
        tx,
        num_classes=num_classes,
        class_weights=class_weights,
        axis_name=axis_name,
    )
    predict_step = steps.make_predict_step(frontend, config.features, model)
    shared: tuple[resident.Resident, ...] = ()
    if store is not None:
        shared = (resident.put(store, mesh, field="data.on_device"),)
        length = config_lib.window_length(config)
        train_step, predict_step = (_reading(step, length) for step in (train_step, predict_step))
    compiled = [
        make(step, mesh, num_shared=len(shared))
        for make, step in ((adapter.train_step, train_step), (adapter.predict_step, predict_step))
    ]
    if shared:
        compiled = [functools.partial(_with_store, step, *shared) for step in compiled]
    return Network(mesh, init, lambda batch: adapter.shard(batch, mesh), *compiled)


def _reading(step: Callable[..., Any], length: int) -> Callable[..., Any]:
    """`step` of a batch -> the same of windows of `length` samples and the resident store."""
    return lambda state, windows, clips: step(state, resident.read(clips, windows, length))


def _with_store(
    step: Callable[..., Any], clips: resident.Resident, state: Any, windows: dict[str, jax.Array]
) -> Any:
    return step(state, windows, clips)


def class_weights(config: config_lib.Config, dataset: Dataset) -> np.ndarray | None:
    """Weights `[C]` of the classes in the loss, None unless `config` asks for them."""
    if not config.optim.class_weights:
        return None
    labels, num_classes = dataset.parts["train"].labels, len(dataset.catalog.labels)
    return np.asarray(objective.balanced_weights(labels, num_classes=num_classes))


def fitted_normalizer(config: config_lib.Config, part: batches.Part) -> Any:
    """The normaliser of `config` (see `features.normalize`), fitted on all windows of `part`."""
    windows = batches.eval_batches(
        part, batch_size=config.train.batch_size, window=config_lib.window_length(config)
    )
    waveforms = (batch["waveform"][batch["mask"] > 0] for batch in windows)
    return fit_normalizer(config.features, waveforms)


def predictor(network: Network, state: TrainState) -> tracks_lib.Predict:
    """The function from a batch of windows to log-probabilities, for the variables of `state`.

    It takes this process's rows, as waveforms or as windows of the resident store, and gives those
    of the whole batch, in every process.
    """
    variables = state.variables()

    def predict(batch: batches.Batch) -> np.ndarray:
        names = ("clip", "start") if "clip" in batch else ("waveform",)
        inputs = {name: batch[name] for name in (*names, "num_samples")}
        return np.asarray(network.predict_step(variables, network.shard(inputs)))

    return predict


def describe(config: config_lib.Config, *, num_classes: int) -> str:
    """The table of the network: layers, output shapes, numbers of parameters.

    Raises:
      UserError: if the window or the image is too small for the network.
    """
    return table.format_summary(_summary(config, num_classes))


def count_parameters(config: config_lib.Config, *, num_classes: int) -> int:
    """Trainable parameters of the network."""
    return _summary(config, num_classes).trainable


def _summary(config: config_lib.Config, num_classes: int) -> table.Summary:
    def inputs() -> jax.Array:
        waveform = jnp.zeros((1, *config_lib.window_shape(config)))
        normalizer = fit_normalizer(config.features, [waveform])
        return make_frontend(config.features)(waveform, normalizer)

    model = make_model(config.model, num_classes=num_classes)
    try:
        return table.summary(model, jax.eval_shape(inputs).shape[1:])
    except ValueError as error:
        raise UserError(f"model.name {config.model.name!r}: {error}") from error
