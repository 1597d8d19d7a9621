"""The end of an epoch: its record, with the validation part judged, and what is shown of it."""

import dataclasses

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax import workdir as workdir_lib
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import metrics, stats
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.training import faults, optimizer, processes, resident
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

    def set_status(self, status: str) -> None:
        """Writes `STATUS` of the workdir, which the first process does alone."""
        if processes.is_first():
            workdir_lib.set_status(self.run.path, status)


def check_finite(job: Job, state: TrainState) -> None:
    """Raises `UserError`, with status `diverged`, once a tensor of a step was not finite.

    Waits for the device.
    """
    fault = faults.read_fault(state.fault, state.params, state.batch_stats)
    if fault:
        job.set_status("diverged")
        raise UserError(
            f"step {fault[0]}: {fault[1]} is not finite any more; lower optim.learning_rate and use"
            " another workdir"
        )


def score_valid(job: Job, state: TrainState) -> np.ndarray:
    """Log-probabilities `[N, C]` of the tracks of the validation part, which may be empty."""
    if not job.dataset.parts["valid"].ids:
        return np.zeros((0, len(job.dataset.catalog.labels)))
    predict, part = network_lib.predictor(job.network, state), job.dataset.parts["valid"]
    size = parallel.padded_batch_size(job.config.train.batch_size, job.network.mesh)
    if job.config.data.on_device:
        local = batches.local_rows(size, jax.process_index(), jax.process_count())
        return resident.score_tracks(predict, part, batch_size=size, window=job.window, local=local)
    return tracks_lib.score_tracks(
        predict,
        part,
        batch_size=size,
        window=job.window,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def confusion(job: Job, scores: np.ndarray) -> np.ndarray:
    """Counts `[C, C]` of the validation part, true class by judged class."""
    labels = job.dataset.parts["valid"].labels
    return metrics.confusion_matrix(labels, scores.argmax(axis=1), scores.shape[1])


def make_record(
    job: Job,
    state: TrainState,
    scores: np.ndarray,
    *,
    num_steps: int,
    seconds: float,
    waited: float = 0.0,
) -> dict[str, float]:
    """The record of the epoch that ends with `state`, whose `score_valid` are `scores` `[N, C]`.

    `seconds` is the time of its last `num_steps` steps, since the others may have been before a
    restart, and `waited` how many of them training stood still for a batch.
    """
    sums = {name: float(value) for name, value in jax.device_get(state.metrics).items()}
    count, step, valid = sums.pop("count"), int(state.step), job.dataset.parts["valid"]
    rate = optimizer.learning_rate(
        job.config.optim,
        state.opt_state,
        step=step,
        num_steps=job.num_steps,
        steps_per_epoch=job.steps_per_epoch,
    )
    judged = {}
    if valid.ids:  # With `train.refit` there are none.
        judged = {
            "valid_loss": metrics.log_loss(scores, valid.labels),
            "valid_accuracy": metrics.accuracy(confusion(job, scores)),
        }
    return {
        "step": step,
        "epoch": step // job.steps_per_epoch,
        "train_loss": sums["loss"] / count,
        "train_accuracy": sums["correct"] / count,
        **judged,
        "learning_rate": float(rate),
        "gradient_norm": sums["gradient_norm"] / count,
        "parameter_norm": sums["parameter_norm"] / count,
        "clips_per_second": num_steps * job.config.train.batch_size / seconds,
        "seconds": seconds,
        "data_wait_fraction": waited / seconds,
    }


def describe_record(job: Job, record: dict[str, float]) -> str:
    """The line of an epoch on the terminal."""
    num_valid = len(job.dataset.parts["valid"].ids)
    judged = ""
    if num_valid:
        hits = round(record["valid_accuracy"] * num_valid)
        judged = (
            f"  valid loss {record['valid_loss']:.3f}"
            f"  valid accuracy {stats.describe_accuracy(hits, num_valid, job.config.data.protocol)}"
        )
    return (
        f"epoch {record['epoch']:3d}/{job.config.train.num_epochs}"
        f"  loss {record['train_loss']:.3f}"
        f"{judged}"
        f"  {record['clips_per_second']:.1f} clips/s"
        f"  waited {100 * record['data_wait_fraction']:.1f} % for data"
    )


def describe_running(job: Job, sums: dict[str, jax.Array], step: int) -> str:
    """What the progress bar says in the middle of an epoch; waits for the device."""
    loss, correct, count = (float(sums[name]) for name in ("loss", "correct", "count"))
    return (
        f"epoch {-(-step // job.steps_per_epoch)}, loss {loss / count:.3f},"
        f" train accuracy {100 * correct / count:.0f} %"
    )
