"""What a run shows and records: progress bar, `metrics.jsonl`, TensorBoard events and figures."""

import contextlib
import json
import time
from collections.abc import Iterator

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import progress
from mgr_jax.training import diagnosis, processes
from mgr_jax.training import epoch as epoch_lib
from mgr_jax.training.epoch import Job
from mgr_jax.training.figures import BestConfusion
from mgr_jax.training.state import TrainState
from mgr_jax.training.writer import MetricsWriter
from mgr_jax.workdir import read_metrics

# Reading a metric waits for the device, so the bar does not show one at every step.
_SECONDS_BETWEEN_METRICS = 1.0


class RunLog:
    """The log of one run. Of several processes the first one alone shows and writes."""

    def __init__(
        self,
        job: Job,
        bar: progress.Progress,
        writer: MetricsWriter | None,
        figure: BestConfusion | None,
    ) -> None:
        self._job, self._bar, self._writer, self._figure = job, bar, writer, figure
        self._metrics_shown = 0.0

    def print(self, line: str) -> None:
        """Print a line above the progress bar."""
        self._bar.write(line)

    def wait(self, verb: str, what: str) -> progress.Progress:
        """Return a context that shows what takes long in its block."""
        return progress.Progress(verb, what, is_shown=processes.is_first())

    def after_step(self, state: TrainState, step: int) -> None:
        """Advance the bar; now and then show the metrics of the epoch so far."""
        self._bar.update()
        now = time.monotonic()
        if self._bar.has_bar and now - self._metrics_shown > _SECONDS_BETWEEN_METRICS:
            self._metrics_shown = now
            self._bar.annotate(epoch_lib.describe_running(self._job, state.metrics, step))

    def after_epoch(self, record: dict[str, float], scores: np.ndarray) -> None:
        """Write an epoch's record and print its line; `scores` as from `score_valid`."""
        if self._writer is not None:
            self._writer.write(record)
        if self._figure is not None and len(scores):
            self._figure.after_epoch(record, epoch_lib.confusion(self._job, scores))
        self.print(epoch_lib.describe_record(self._job, record))
        if self._writer is not None and (warning := diagnosis.warning(self._job)):
            self.print(warning)


@contextlib.contextmanager
def open_log(job: Job, first_step: int) -> Iterator[RunLog]:
    """Open the log of a run that has taken `first_step` steps; later records are dropped."""
    config, path, writes = job.config, job.run.path, processes.is_first()
    with contextlib.ExitStack() as stack:
        writer = figure = None
        if writes:
            writer = stack.enter_context(contextlib.closing(MetricsWriter(path, step=first_step)))
            figure = BestConfusion(writer, job.dataset.catalog.labels, read_metrics(path))
            stack.enter_context(contextlib.closing(figure))
            if first_step == 0:
                writer.write_text("config", json.dumps(config_lib.to_json(config), indent=2))
        bar = progress.Progress(
            "train", total=job.num_steps, unit="step", initial=first_step, is_shown=writes
        )
        yield RunLog(job, stack.enter_context(bar), writer, figure)
