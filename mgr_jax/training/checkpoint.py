"""Checkpoints: the latest and the best, asynchronous and atomic. The only file that knows Orbax."""

import contextlib
import functools
import json
import logging as std_logging
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import preservation_policy

from mgr_jax.errors import UserError
from mgr_jax.training import processes
from mgr_jax.training.state import TrainState

# What Orbax raises on reading a damaged checkpoint; tensorstore's errors are ValueErrors.
_READ_ERRORS = (OSError, ValueError, KeyError, TypeError)


def rank(metrics: dict[str, float]) -> tuple[float, float]:
    """Return the key that checkpoints are ranked by, higher is better.

    It is the accuracy on the validation part, then the negative loss there. Without a validation
    part (`train.refit`) a later epoch ranks higher.
    """
    if "valid_accuracy" not in metrics:
        return metrics["epoch"], 0.0
    return metrics["valid_accuracy"], -metrics["valid_loss"]


@contextlib.contextmanager
def open_checkpoints(
    workdir: pathlib.Path, warn: Callable[[str], None], *, keep: int = 1
) -> Iterator[ocp.CheckpointManager]:
    """Open the checkpoints of a workdir for writing; on exit, wait until all are written.

    The latest `keep` and the best are kept. A checkpoint whose metrics cannot be read is moved to
    `damaged/` and named in a call of `warn`.

    Raises:
      UserError: if the folder cannot be written.
    """
    best_by: Any = rank  # Orbax declares a float; it only compares the values.
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(keep),
                preservation_policy.BestN(
                    get_metric_fn=best_by, n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        ),
        best_fn=best_by,  # Without it, Orbax does not write the metrics down.
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
    )

    def check_metrics() -> None:
        for metrics in sorted(_folder(workdir).glob("*/metrics/metrics")):
            try:
                rank(json.loads(metrics.read_text()))
            except _READ_ERRORS as error:
                _move_to_damaged(workdir, metrics.parents[1].name, error, warn)

    processes.run_on_first("check_checkpoints", check_metrics)
    with _quiet():
        try:
            manager = ocp.CheckpointManager(_folder(workdir), options=options)
        except OSError as error:
            raise UserError(
                f"{_folder(workdir)}: cannot be written ({error.strerror}); choose another workdir"
            ) from error
        with contextlib.closing(manager):
            yield manager


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    progress: dict[str, float],
    metrics: dict[str, float] | None,
) -> None:
    """Start to save `state` in the background.

    `metrics` rank the checkpoint; within an epoch there are none. `progress` is that of
    `stopping`.
    """
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)
    )
    manager.save(int(state.step), args=args, metrics=metrics, force=True)


def restore_latest(
    manager: ocp.CheckpointManager,
    workdir: pathlib.Path,
    abstract_state: TrainState,
    warn: Callable[[str], None],
) -> tuple[TrainState, dict[str, float]] | None:
    """Return the newest state that can be read, with its progress; None if there is none.

    A checkpoint that cannot be read is moved to `damaged/` and named in a call of `warn`, so that
    the same command can always resume.
    """
    for step in sorted(manager.all_steps(), reverse=True):
        restored, read_error = None, None
        try:
            restored = _restore(manager, step, abstract_state)
        except _READ_ERRORS as error:
            read_error = error
        if processes.all_agree(read_error is None):
            return restored
        read_error = read_error or OSError("in another process")
        move = functools.partial(_move_to_damaged, workdir, str(step), read_error, warn)
        processes.run_on_first(f"move_to_damaged_{step}", move)
        manager.reload()
    return None


def restore(
    workdir: pathlib.Path, which: str, abstract_state: TrainState
) -> tuple[int, TrainState]:
    """Return step and state of the checkpoint `which`: `best`, `latest` or the number of a step.

    Raises:
      UserError: if there is no such checkpoint, or it cannot be read.
    """
    if not _folder(workdir).is_dir():
        raise UserError(f"--workdir {workdir}: no checkpoint in it yet; train first")
    options = ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
    try:
        with (
            _quiet(),
            contextlib.closing(ocp.CheckpointManager(_folder(workdir), options=options)) as manager,
        ):
            step = _choose_step(manager, workdir, which)
            return step, _restore(manager, step, abstract_state)[0]
    except _READ_ERRORS as error:
        raise UserError(
            f"{_folder(workdir)}: checkpoint {which} cannot be read ({_first_line(error)}); run"
            " the training again to repair it, or choose another --checkpoint"
        ) from error


def _choose_step(manager: ocp.CheckpointManager, workdir: pathlib.Path, which: str) -> int:
    steps = sorted(manager.all_steps())
    if not steps:
        raise UserError(f"--workdir {workdir}: no checkpoint in it yet; train first")
    if which == "latest":
        return steps[-1]
    if which == "best":
        ranked = [(rank(metrics), step) for step in steps if (metrics := manager.metrics(step))]
        return max(ranked)[1] if ranked else steps[-1]
    if which.isdecimal() and int(which) in steps:
        return int(which)
    listed = ", ".join(map(str, steps))
    raise UserError(f"--checkpoint {which}: not there; give best, latest or one of {listed}")


def _restore(
    manager: ocp.CheckpointManager, step: int, abstract_state: TrainState
) -> tuple[TrainState, dict[str, float]]:
    args = ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract_state), progress=ocp.args.JsonRestore()
    )
    # For a damaged checkpoint, C++ threads print a traceback for every read that fails, some of
    # them late: the pause lets them end while unseen. Orbax abandons the futures of those reads,
    # and asyncio logs a traceback for each when it is freed, at any time later.
    std_logging.getLogger("asyncio").addFilter(_is_not_an_abandoned_read)
    with _discarded_stderr():
        try:
            restored = manager.restore(step, args=args)
        except _READ_ERRORS:
            time.sleep(0.5)
            raise
    return restored["state"], restored["progress"]


def _is_not_an_abandoned_read(record: std_logging.LogRecord) -> bool:
    return "tensorstore_spec" not in record.getMessage()


def _move_to_damaged(
    workdir: pathlib.Path, step: str, error: Exception, warn: Callable[[str], None]
) -> None:
    damaged = workdir / "damaged" / step
    shutil.rmtree(damaged, ignore_errors=True)
    damaged.parent.mkdir(exist_ok=True)
    shutil.move(_folder(workdir) / step, damaged)
    warn(f"checkpoint {step} cannot be read ({_first_line(error)}); moved to {damaged}")


def _folder(workdir: pathlib.Path) -> pathlib.Path:
    return workdir.absolute() / "checkpoints"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _discarded_stderr() -> Iterator[None]:
    """Discard what the process writes to stderr, C++ threads included."""
    sys.stderr.flush()
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Orbax's log, which would break the progress bar; errors are raised all the same."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
