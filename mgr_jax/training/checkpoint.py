"""Checkpoints: the latest and the best, asynchronous and atomic. The only file that knows Orbax."""

import contextlib
import functools
import gc
import json
import logging as std_logging
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator

import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import preservation_policy

from mgr_jax.errors import UserError
from mgr_jax.training import processes
from mgr_jax.training.state import TrainState

# What a damaged checkpoint makes Orbax raise; tensorstore's errors are ValueErrors.
_DAMAGED = (OSError, ValueError, KeyError, TypeError)


def rank(metrics: dict[str, float]) -> tuple[float, float]:
    """Order of checkpoints: by accuracy on the validation part, then by a lower loss there.

    Without a validation part (`train.refit`) the later is the better.
    """
    if "valid_accuracy" not in metrics:
        return metrics["epoch"], 0.0
    return metrics["valid_accuracy"], -metrics["valid_loss"]


@contextlib.contextmanager
def open_checkpoints(
    workdir: pathlib.Path, say: Callable[[str], None], *, keep: int = 1
) -> Iterator[ocp.CheckpointManager]:
    """The checkpoints of a workdir to add to; on leaving, waits until all are written.

    The latest `keep` and the best are kept. A checkpoint whose metrics cannot be read is moved to
    `damaged/` and named through `say`.

    Raises:
      UserError: if the folder cannot be written.
    """
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(keep),
                preservation_policy.BestN(
                    get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        ),
        best_fn=rank,  # Without it, Orbax does not write the metrics down.
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
    )

    def check() -> None:
        for metrics in sorted(_folder(workdir).glob("*/metrics/metrics")):
            try:
                rank(json.loads(metrics.read_text()))
            except _DAMAGED as error:
                _set_aside(workdir, metrics.parents[1].name, error, say)

    processes.first_alone("check_checkpoints", check)
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
    """Starts to save; `metrics` rank the checkpoint and are None in the middle of an epoch."""
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)
    )
    manager.save(int(state.step), args=args, metrics=metrics, force=True)


def restore_latest(
    manager: ocp.CheckpointManager,
    workdir: pathlib.Path,
    abstract_state: TrainState,
    say: Callable[[str], None],
) -> tuple[TrainState, dict[str, float]] | None:
    """The newest state that can be read, with its progress; None if there is none.

    A checkpoint that cannot be read is moved to `damaged/` and named through `say`, so that the
    same command always goes on.
    """
    for step in sorted(manager.all_steps(), reverse=True):
        restored, problem = None, None
        try:
            restored = _restore(manager, step, abstract_state)
        except _DAMAGED as error:
            problem = error
        if processes.all_agree(problem is None):
            return restored
        set_aside = functools.partial(
            _set_aside, workdir, str(step), problem or OSError("in another process"), say
        )
        processes.first_alone(f"set_aside_{step}", set_aside)
        manager.reload()
    return None


def restore(
    workdir: pathlib.Path, which: str, abstract_state: TrainState
) -> tuple[int, TrainState]:
    """Step and state of a checkpoint: `best`, `latest` or a step.

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
            step = _find(manager, workdir, which)
            return step, _restore(manager, step, abstract_state)[0]
    except _DAMAGED as error:
        raise UserError(
            f"{_folder(workdir)}: checkpoint {which} cannot be read ({_first_line(error)}); run"
            " the training again to repair it, or choose another --checkpoint"
        ) from error


def _find(manager: ocp.CheckpointManager, workdir: pathlib.Path, which: str) -> int:
    steps = sorted(manager.all_steps())
    if not steps:
        raise UserError(f"--workdir {workdir}: no checkpoint in it yet; train first")
    if which == "latest":
        return steps[-1]
    if which == "best":
        ranked = [(rank(metrics), s) for s in steps if (metrics := manager.metrics(s))]
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
    # Of a damaged checkpoint every single read fails, with a traceback on the terminal from a
    # thread in C++, some only later. What is wrong is raised here, once.
    with _closed_stderr():
        try:
            restored = manager.restore(step, args=args)
        except _DAMAGED:
            gc.collect()
            time.sleep(0.5)
            raise
    return restored["state"], restored["progress"]


def _set_aside(
    workdir: pathlib.Path, step: str, error: Exception, say: Callable[[str], None]
) -> None:
    """Moves a damaged checkpoint out of the way, to be looked at."""
    damaged = workdir / "damaged" / step
    shutil.rmtree(damaged, ignore_errors=True)
    damaged.parent.mkdir(exist_ok=True)
    shutil.move(_folder(workdir) / step, damaged)
    say(f"checkpoint {step} cannot be read ({_first_line(error)}); moved to {damaged}")


def _folder(workdir: pathlib.Path) -> pathlib.Path:
    return workdir.absolute() / "checkpoints"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _closed_stderr() -> Iterator[None]:
    """What threads in C++ write to the terminal goes nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax off the terminal, where progress is shown; what goes wrong is raised anyway."""
    before = logging.get_verbosity()
    # It leaves the futures of a failed restore behind, and asyncio prints one traceback for each.
    tasks = std_logging.getLogger("asyncio")
    level = tasks.level
    logging.set_verbosity(logging.FATAL)
    tasks.setLevel(std_logging.CRITICAL + 1)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        tasks.setLevel(level)
