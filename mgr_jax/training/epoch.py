"""The end of an epoch: scores of the validation part, the record, and its line of text."""

import dataclasses

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax import workdir as workdir_lib
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import metrics
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.plural import plural
from mgr_jax.training import faults, optimizer, processes, resident
from mgr_jax.training import network as network_lib
from mgr_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Job:
    """A training run: everything that stays the same from its first step to its last."""

    config: config_lib.Config
    dataset: Dataset
    run: workdir_lib.Run
    network: network_lib.Network
    steps_per_epoch: int

    @property
    def num_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.config.train.num_epochs * self.steps_per_epoch

    @property
    def window(self) -> int:
        """Number of samples of a window."""
        return config_lib.window_length(self.config)

    def set_status(self, status: str) -> None:
        """Write `STATUS` of the workdir; only the first process does."""
        if processes.is_first():
            workdir_lib.set_status(self.run.path, status)


def check_finite(job: Job, state: TrainState) -> None:
    """Raise `UserError`, with status `diverged`, if a tensor of some step was not finite.

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
    """Return log-probabilities `[N, C]` of the validation tracks; N may be 0."""
    if not job.dataset.parts["valid"].ids:
        return np.zeros((0, len(job.dataset.catalog.labels)))
    predict, part = network_lib.predictor(job.network, state), job.dataset.parts["valid"]
    size = parallel.padded_batch_size(job.config.train.batch_size, job.network.mesh)
    if job.network.on_device:
        local = batches.local_rows(size, jax.process_index(), jax.process_count())
        return resident.score_tracks(predict, part, batch_size=size, window=job.window, local=local)
    return tracks_lib.score_tracks(
        predict,
        part,
        batch_size=size,
        window=job.window,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        as_int16=True,
    )


def confusion(job: Job, scores: np.ndarray) -> np.ndarray:
    """Return the confusion matrix `[C, C]` of the validation part, true class by predicted."""
    labels = job.dataset.parts["valid"].labels
    return metrics.confusion_matrix(labels, scores.argmax(axis=1), scores.shape[1])


def make_record(
    job: Job,
    state: TrainState,
    scores: np.ndarray,
    *,
    num_steps: int,
    seconds: float,
    wait_seconds: float = 0.0,
) -> dict[str, float]:
    """Return the record of the epoch that ends with `state`.

    Args:
      scores: `[N, C]` as from `score_valid`.
      num_steps: steps of the epoch since the run was last started.
      seconds: time that they took. wait_seconds: how much of it training waited for batches.

    Raises:
      UserError: with status `diverged`, if a score is NaN: there is no accuracy then.
    """
    if np.isnan(scores).any():
        job.set_status("diverged")
        raise UserError(
            f"step {int(state.step)}: the validation loss is not a number; lower"
            " optim.learning_rate and use another workdir"
        )
    sums = {name: float(value) for name, value in jax.device_get(state.metrics).items()}
    count, step, valid = sums.pop("count"), int(state.step), job.dataset.parts["valid"]
    rate = optimizer.learning_rate(
        job.config.optim,
        state.opt_state,
        step=step,
        num_steps=job.num_steps,
        steps_per_epoch=job.steps_per_epoch,
    )
    valid_metrics = {}
    if valid.ids:  # With `train.refit` there are none.
        valid_metrics = {
            "valid_loss": metrics.log_loss(scores, valid.labels),
            "valid_accuracy": metrics.accuracy(confusion(job, scores)),
        }
    return {
        "step": step,
        "epoch": step // job.steps_per_epoch,
        "train_loss": sums["loss"] / count,
        "train_accuracy": sums["correct"] / count,
        **valid_metrics,
        "learning_rate": float(rate),
        "gradient_norm": sums["gradient_norm"] / count,
        "parameter_norm": sums["parameter_norm"] / count,
        "clips_per_second": num_steps * job.config.train.batch_size / seconds,
        "seconds": seconds,
        "data_wait_fraction": wait_seconds / seconds,
    }


def describe_record(job: Job, record: dict[str, float]) -> str:
    """Return the line that the terminal shows of an epoch."""
    num_valid = len(job.dataset.parts["valid"].ids)
    valid_text = ""
    if num_valid:
        num_correct = round(record["valid_accuracy"] * num_valid)
        valid_text = f"  valid loss {record['valid_loss']:.3f}"
        valid_text += f"  {num_correct} of {plural(num_valid, 'valid track')} correct"
    return (
        f"epoch {record['epoch']:3d}/{job.config.train.num_epochs}"
        f"  loss {record['train_loss']:.3f}"
        f"{valid_text}"
        f"  {record['clips_per_second']:.1f} clips/s"
        f"  waited {100 * record['data_wait_fraction']:.1f} % for data"
    )


def describe_running(job: Job, sums: dict[str, jax.Array], step: int) -> str:
    """Return what the progress bar shows in the middle of an epoch; waits for the device."""
    loss, correct, count = (float(sums[name]) for name in ("loss", "correct", "count"))
    return (
        f"epoch {-(-step // job.steps_per_epoch)}, loss {loss / count:.3f},"
        f" {correct:.0f} of {count:.0f} training windows correct"
    )
