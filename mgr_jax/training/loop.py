"""The training loop of the networks: epochs, validation, checkpoints, and what is shown."""

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import judge, metrics, stats
from mgr_jax.features.frontend import fit_normalizer, make_frontend
from mgr_jax.models import make_model, table
from mgr_jax.training import checkpoint, objective, optimizer, parallel, steps
from mgr_jax.training.state import TrainState, create_state, zero_metrics
from mgr_jax.training.writer import MetricsWriter

# What early stopping remembers from epoch to epoch, saved beside the state.
START = {"lowest_loss": math.inf, "epochs_since": 0}


@dataclasses.dataclass(frozen=True)
class Network:
    """The compiled functions of one config, and the mesh that they run on."""

    mesh: jax.sharding.Mesh
    init: Callable[[], TrainState]
    train_step: steps.TrainStep
    predict_step: steps.PredictStep


class Interrupted(Exception):
    """A signal asked to stop; the state is saved. `signal` is its number."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped at step {step}, saved; the same command goes on from there")
        self.signal = number


def make_network(
    config: config_lib.Config,
    *,
    num_classes: int,
    steps_per_epoch: int = 1,
    class_weights: jax.Array | None = None,
) -> Network:
    """Builds front end, model, optimiser and the compiled steps over all devices."""
    mesh = parallel.make_mesh()
    frontend = make_frontend(config.features, mesh=mesh if mesh.size > 1 else None)
    model = make_model(config.model, num_classes=num_classes)
    tx = optimizer.make_optimizer(
        config.optim,
        num_steps=config.train.num_epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
    )

    def init() -> TrainState:
        waveform = np.zeros((1, config_lib.window_length(config)), np.float32)
        # Split, since the steps fold their number into the same key.
        key, _ = jax.random.split(jax.random.key(config.train.seed))
        # Fitted to silence, for its shape; `train` puts the real one in its place.
        normalizer = fit_normalizer(config.features, [waveform])
        inputs = make_frontend(config.features)(waveform, normalizer)
        averaged = config.optim.ema_decay > 0
        return create_state(key, model, tx, inputs, normalizer=normalizer, averaged=averaged)

    train_step = steps.make_train_step(
        config, frontend, model, tx, num_classes=num_classes, class_weights=class_weights
    )
    predict_step = steps.make_predict_step(frontend, config.features, model)
    return Network(
        mesh,
        init,
        parallel.jit_train_step(train_step, mesh),
        parallel.jit_predict_step(predict_step, mesh),
    )


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
        waveform = jnp.zeros((1, config_lib.window_length(config)))
        normalizer = fit_normalizer(config.features, [waveform])
        return make_frontend(config.features)(waveform, normalizer)

    model = make_model(config.model, num_classes=num_classes)
    try:
        return table.summary(model, jax.eval_shape(inputs).shape[1:])
    except ValueError as error:
        raise UserError(f"model.name {config.model.name!r}: {error}") from error


def train(config: config_lib.Config, dataset: Dataset, run: workdir_lib.Run) -> None:
    """Trains until the last epoch, going on from the newest checkpoint in the workdir.

    Raises:
      Interrupted: SIGINT or SIGTERM came; everything is saved.
      UserError: the loss is not finite any more, or the batch does not fit the devices.
    """
    part = dataset.parts["train"]
    per_epoch = batches.steps_per_epoch(part, config.train.batch_size)
    num_steps = config.train.num_epochs * per_epoch
    num_classes, class_weights = len(dataset.catalog.labels), None
    if config.optim.class_weights:
        class_weights = np.asarray(objective.balanced_weights(part.labels, num_classes=num_classes))
    network = make_network(
        config,
        num_classes=num_classes,
        steps_per_epoch=per_epoch,
        class_weights=class_weights,
    )
    parallel.check_batch_size(config.train.batch_size, network.mesh)
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(checkpoint.open_checkpoints(run.path, print))
        state, progress = _start(config, part, network, manager, run, num_steps)
        step = int(state.step)
        if step == num_steps or _stops(config.optim, progress):
            workdir_lib.set_status(run.path, "done")
            return
        workdir_lib.set_status(run.path, "running")
        received = stack.enter_context(_signals())
        writer = stack.enter_context(contextlib.closing(MetricsWriter(run.path, step=step)))
        bar = stack.enter_context(
            tqdm.tqdm(total=num_steps, initial=step, desc="train", unit="step", disable=None)
        )
        source = batches.train_batches(
            part,
            batch_size=config.train.batch_size,
            window=config_lib.window_length(config),
            seed=config.train.seed,
            start_step=step,
            num_steps=num_steps,
        )
        began, shown = (time.monotonic(), step), 0.0
        for batch in source:
            state = network.train_step(state, parallel.shard(batch, network.mesh))
            step += 1
            bar.update()
            # Reading a metric waits for the device, so not at every step.
            if not bar.disable and time.monotonic() - shown > 1.0:
                shown = time.monotonic()
                bar.set_postfix_str(_running(state.metrics, step, per_epoch))
            if step % per_epoch == 0:
                record = _end_of_epoch(
                    config, dataset, run, network, state, step // per_epoch, began
                )
                writer.write(record)
                bar.write(_line(config, record, len(dataset.parts["valid"].ids)))
                progress = _early_stopping(config.optim, progress, record["train_loss"])
                state = state.replace(metrics=parallel.replicate(zero_metrics(), network.mesh))
                checkpoint.save(manager, state, progress, record)
                began = time.monotonic(), step
                if _stops(config.optim, progress):
                    bar.write(
                        f"stop      the training loss has settled, after epoch {record['epoch']}"
                    )
                    break
            if received:
                if step % per_epoch:
                    checkpoint.save(manager, state, progress, None)
                workdir_lib.set_status(run.path, "preempted")
                raise Interrupted(received[0], step)
    workdir_lib.set_status(run.path, "done")


def _start(
    config: config_lib.Config,
    part: batches.Part,
    network: Network,
    manager: Any,
    run: workdir_lib.Run,
    num_steps: int,
) -> tuple[TrainState, dict[str, float]]:
    """State and progress of the newest checkpoint, or those before the first step."""
    abstract = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    restored = checkpoint.restore_latest(manager, run.path, abstract, print)
    if restored:
        print(f"resume    from step {int(restored[0].step)} of {num_steps}", flush=True)
        return restored
    state = parallel.jit_init(network.init, network.mesh)
    if state.normalizer is not None:
        windows = batches.eval_batches(
            part, batch_size=config.train.batch_size, window=config_lib.window_length(config)
        )
        waveforms = (batch["waveform"][batch["mask"] > 0] for batch in windows)
        normalizer = fit_normalizer(config.features, waveforms)
        state = state.replace(normalizer=parallel.replicate(normalizer, network.mesh))
    return state, dict(START)


def _end_of_epoch(
    config: config_lib.Config,
    dataset: Dataset,
    run: workdir_lib.Run,
    network: Network,
    state: TrainState,
    epoch: int,
    began: tuple[float, int],
) -> dict[str, float]:
    """The record of an epoch, with the validation part judged by the state at its end."""
    sums = {name: float(value) for name, value in jax.device_get(state.metrics).items()}
    step, seconds = int(state.step), time.monotonic() - began[0]
    if not math.isfinite(sums["loss"]):
        workdir_lib.set_status(run.path, "diverged")
        raise UserError(
            f"the training loss is {sums['loss']} at step {step}; lower optim.learning_rate and"
            " use another workdir"
        )
    valid = dataset.parts["valid"]
    scores = judge.judge(
        predictor(network, state),
        valid,
        batch_size=config.train.batch_size,
        window=config_lib.window_length(config),
    )
    matrix = metrics.confusion_matrix(valid.labels, scores.argmax(axis=1), scores.shape[1])
    num_steps = step // epoch * config.train.num_epochs
    rate = optimizer.learning_rate(config.optim, state.opt_state, step=step, num_steps=num_steps)
    return {
        "step": step,
        "epoch": epoch,
        "train_loss": sums["loss"] / sums["count"],
        "train_accuracy": sums["correct"] / sums["count"],
        "valid_loss": metrics.log_loss(scores, valid.labels),
        "valid_accuracy": metrics.accuracy(matrix),
        "learning_rate": float(rate),
        "clips_per_second": (step - began[1]) * config.train.batch_size / seconds,
        "seconds": seconds,
    }


def predictor(network: Network, state: TrainState) -> judge.Predict:
    """The function from a batch of windows to log-probabilities, for the variables of `state`."""
    variables = state.variables()

    def predict(batch: batches.Batch) -> np.ndarray:
        inputs = {name: batch[name] for name in ("waveform", "num_samples")}
        return np.asarray(network.predict_step(variables, parallel.shard(inputs, network.mesh)))

    return predict


def _running(sums: dict[str, jax.Array], step: int, per_epoch: int) -> str:
    loss, correct, count = (float(sums[name]) for name in ("loss", "correct", "count"))
    accuracy = f"{100 * correct / count:.0f} %"
    return f"epoch {-(-step // per_epoch)}, loss {loss / count:.3f}, train accuracy {accuracy}"


def _line(config: config_lib.Config, record: dict[str, float], num_valid: int) -> str:
    hits = round(record["valid_accuracy"] * num_valid)
    return (
        f"epoch {record['epoch']:3d}/{config.train.num_epochs}"
        f"  loss {record['train_loss']:.3f}"
        f"  valid loss {record['valid_loss']:.3f}"
        f"  valid accuracy {stats.describe_accuracy(hits, num_valid, config.data.protocol)}"
        f"  {record['clips_per_second']:.1f} clips/s"
    )


def _early_stopping(
    optim: config_lib.Optim, progress: dict[str, float], loss: float
) -> dict[str, float]:
    """Keras's EarlyStopping: a loss counts as lower only if by more than the minimum."""
    if loss < progress["lowest_loss"] - optim.early_stop_min_delta:
        return {"lowest_loss": loss, "epochs_since": 0}
    return progress | {"epochs_since": progress["epochs_since"] + 1}


def _stops(optim: config_lib.Optim, progress: dict[str, float]) -> bool:
    return 0 < optim.early_stop_patience <= progress["epochs_since"]


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, so that a step is never cut; a second one acts at once."""
    received: list[int] = []
    before = {}

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
