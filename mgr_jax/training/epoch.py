"""The end of an epoch: its record, with the validation part judged, and what is shown of it."""

import dataclasses

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import judge, metrics, stats
from mgr_jax.training import faults, optimizer, parallel
from mgr_jax.training import network as network_lib
from mgr_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Job:
    """What stays the same from the first step of a run to its last."""

    config: config_lib.Config
    dataset: Dataset
    run: workdir_lib.Run
    network: network_lib.Network
    steps_per_epoch: int

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.train.num_epochs * self.steps_per_epoch

    @property
    def window(self) -> int:
        """Samples of a window."""
        return config_lib.window_length(self.config)


def check_finite(job: Job, state: TrainState) -> None:
    """Raises `UserError`, with status `diverged`, once a tensor of a step was not finite.

    Waits for the device.
    """
    fault = faults.read_fault(state.fault, state.params, state.batch_stats)
    if fault:
        workdir_lib.set_status(job.run.path, "diverged")
        raise UserError(
            f"step {fault[0]}: {fault[1]} is not finite; lower optim.learning_rate and use another"
            " workdir"
        )


def close_epoch(job: Job, state: TrainState, *, num_steps: int, seconds: float) -> dict[str, float]:
    """The record of the epoch that ends with `state`.

    `seconds` is the time of its last `num_steps` steps: the others may have been before a restart.
    """
    scores = judge.judge(
        network_lib.predictor(job.network, state),
        job.dataset.parts["valid"],
        batch_size=parallel.padded_batch_size(job.config.train.batch_size, job.network.mesh),
        window=job.window,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    return make_record(job, state, scores, num_steps=num_steps, seconds=seconds)


def make_record(
    job: Job, state: TrainState, scores: np.ndarray, *, num_steps: int, seconds: float
) -> dict[str, float]:
    """The record of `close_epoch`, for log-probabilities `[N, C]` of the validation part."""
    sums = {name: float(value) for name, value in jax.device_get(state.metrics).items()}
    count, step, valid = sums.pop("count"), int(state.step), job.dataset.parts["valid"]
    matrix = metrics.confusion_matrix(valid.labels, scores.argmax(axis=1), scores.shape[1])
    rate = optimizer.learning_rate(
        job.config.optim,
        state.opt_state,
        step=step,
        num_steps=job.num_steps,
        steps_per_epoch=job.steps_per_epoch,
    )
    return {
        "step": step,
        "epoch": step // job.steps_per_epoch,
        "train_loss": sums["loss"] / count,
        "train_accuracy": sums["correct"] / count,
        "valid_loss": metrics.log_loss(scores, valid.labels),
        "valid_accuracy": metrics.accuracy(matrix),
        "learning_rate": float(rate),
        "gradient_norm": sums["gradient_norm"] / count,
        "parameter_norm": sums["parameter_norm"] / count,
        "clips_per_second": num_steps * job.config.train.batch_size / seconds,
        "seconds": seconds,
    }


def describe_record(job: Job, record: dict[str, float]) -> str:
    """The line of an epoch on the terminal."""
    num_valid = len(job.dataset.parts["valid"].ids)
    hits = round(record["valid_accuracy"] * num_valid)
    return (
        f"epoch {record['epoch']:3d}/{job.config.train.num_epochs}"
        f"  loss {record['train_loss']:.3f}"
        f"  valid loss {record['valid_loss']:.3f}"
        f"  valid accuracy {stats.describe_accuracy(hits, num_valid, job.config.data.protocol)}"
        f"  {record['clips_per_second']:.1f} clips/s"
    )


def describe_running(job: Job, sums: dict[str, jax.Array], step: int) -> str:
    """What the progress bar says in the middle of an epoch; waits for the device."""
    loss, correct, count = (float(sums[name]) for name in ("loss", "correct", "count"))
    return (
        f"epoch {-(-step // job.steps_per_epoch)}, loss {loss / count:.3f},"
        f" train accuracy {100 * correct / count:.0f} %"
    )
