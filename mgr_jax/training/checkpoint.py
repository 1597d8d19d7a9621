"""Checkpoints: the latest and the best, asynchronous and atomic. The only file that calls Orbax.

A checkpoint holds the checksums of its files, which are written before it gets its final name: it
is never without them, whenever the process is killed. All files are compared with them before Orbax
opens any. Orbax's metadata say that there are checksums: a checkpoint of a version that wrote none
is read as it is, with one line, and one that has lost them is damaged.

Training moves damaged checkpoints aside and goes on from the newest intact one. To read another one
than was requested would give other results, so that `restore` names the intact ones instead.
"""

import contextlib
import functools
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from mgr_jax.errors import UserError
from mgr_jax.files import parse_json
from mgr_jax.training import checksums, orbax_errors, processes
from mgr_jax.training.state import TrainState
from mgr_jax.workdir import read_metrics

_METADATA = "_CHECKPOINT_METADATA"
# Orbax writes these after the checksums; no value of a state is read from them.
_NOT_CHECKED = (_METADATA, "commit_success.txt")
# What the metadata of a checkpoint with checksums say; those of earlier versions are empty.
_FORMAT = {"checksums": checksums.NAME}
# Outdated checkpoints are renamed into this folder at once, and then deleted file by file: one that
# is half deleted when the process is killed must not be taken for a damaged one.
_OUTDATED = "outdated"


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

    The latest `keep` and the best are kept. A checkpoint that is damaged is moved to `damaged/` and
    named in a call of `warn`.

    Raises:
      UserError: if a file cannot be written, or a checkpoint cannot be read for another reason.
    """
    best_by: Any = rank  # Orbax declares a float; it only compares the values.
    folder = _folder(workdir)

    def write_checksums() -> None:  # Of the one that is being saved, in the first process.
        for path in folder.glob("*.orbax-checkpoint-tmp"):
            checksums.write(path, path.name.partition(".")[0], ignored=_NOT_CHECKED)

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
        todelete_subdir=_OUTDATED,
        enable_async_checkpointing=True,
        # Orbax calls it when all other files are written, before the folder is renamed.
        async_options=ocp.AsyncOptions(post_finalization_callback=write_checksums),
    )

    def set_damaged_aside() -> None:
        for path in sorted(folder.glob("*")):
            if not path.name.isdecimal():
                continue
            try:
                _verify(path, warn)
                if (path / "metrics").exists():
                    rank(parse_json((path / "metrics" / "metrics").read_bytes()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                if not orbax_errors.is_damage(error):
                    raise _not_read(workdir, path.name, error) from error
                _move_to_damaged(workdir, path.name, error, warn)

    processes.run_on_first("set_damaged_aside", set_damaged_aside)
    _delete_outdated(folder)
    with orbax_errors.quiet():
        with orbax_errors.one_line_of_write_errors(folder):
            manager = ocp.CheckpointManager(folder, options=options)
        try:
            yield manager
        finally:
            with orbax_errors.one_line_of_write_errors(folder):
                manager.close()
            _delete_outdated(folder)


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    progress: dict[str, float],
    metrics: dict[str, float] | None,
) -> None:
    """Start to save `state` in the background.

    `metrics` rank the checkpoint; within an epoch there are none. `progress` is that of
    `stopping`.

    Raises:
      UserError: if this checkpoint or the previous one cannot be written.
    """
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)
    )
    with orbax_errors.one_line_of_write_errors(manager.directory):
        manager.wait_until_finished()  # As `save` would, so that nothing is being renamed.
        _delete_outdated(manager.directory)
        manager.save(
            int(state.step), args=args, metrics=metrics, custom_metadata=_FORMAT, force=True
        )


def restore_latest(
    manager: ocp.CheckpointManager,
    workdir: pathlib.Path,
    abstract_state: TrainState,
    warn: Callable[[str], None],
) -> tuple[TrainState, dict[str, float]] | None:
    """Return the newest state that can be read, with its progress; None if there is none.

    A checkpoint that cannot be read is moved to `damaged/` and named in a call of `warn`, so that
    the same command can always resume.

    Raises:
      UserError: if one cannot be read although it is not damaged, for lack of memory for example.
    """
    for step in sorted(manager.all_steps(), reverse=True):
        restored, read_error = None, None
        try:
            restored = _restore(manager, step, abstract_state)
        except Exception as error:  # Orbax raises bare ones, too.
            read_error = error
        if processes.all_agree(read_error is None):
            return restored
        read_error = read_error or OSError("in another process")
        if not processes.all_agree(orbax_errors.is_damage(read_error)):
            raise _not_read(workdir, str(step), read_error) from read_error
        move = functools.partial(_move_to_damaged, workdir, str(step), read_error, warn)
        processes.run_on_first(f"move_to_damaged_{step}", move)
        manager.reload()
    return None


def restore(
    workdir: pathlib.Path,
    which: str,
    abstract_state: TrainState,
    warn: Callable[[str], None] = print,
) -> tuple[int, TrainState]:
    """Return step and state of the checkpoint `which`: `best`, `latest` or the number of a step.

    Raises:
      UserError: if there is no such checkpoint, or it cannot be read; it names the intact ones.
    """
    folder = _folder(workdir)
    if not folder.is_dir():
        raise UserError(f"workdir {workdir}: no checkpoint in it yet; train first")
    options = ocp.CheckpointManagerOptions(
        read_only=True, save_interval_steps=0, create=False, lightweight_initialize=True
    )
    step: int | str = which
    try:
        with (
            orbax_errors.quiet(),
            contextlib.closing(ocp.CheckpointManager(folder, options=options)) as manager,
        ):
            step = _choose_step(manager, workdir, which)
            _verify(folder / str(step), warn)
            return step, _restore(manager, step, abstract_state)[0]
    except UserError:
        raise
    except Exception as error:  # Orbax raises bare ones, too.
        if not orbax_errors.is_damage(error):
            raise _not_read(workdir, str(step), error) from error
        reason = orbax_errors.first_line(error)
        raise UserError(
            f"{folder}: checkpoint {step} cannot be read ({reason}); {_remedy(folder)}"
        ) from error


def _choose_step(manager: ocp.CheckpointManager, workdir: pathlib.Path, which: str) -> int:
    steps = sorted(manager.all_steps())
    if not steps:
        raise UserError(f"workdir {workdir}: no checkpoint in it yet; train first")
    if which == "latest":
        return steps[-1]
    if which == "best":
        folder = _folder(workdir)
        for step in steps:
            _verify(folder / str(step), under="metrics/")
        ranked = [(rank(metrics), step) for step in steps if (metrics := manager.metrics(step))]
        if not ranked:
            return steps[-1]
        best = max(ranked)
        records = read_metrics(workdir)
        better = [r for r in records if r["step"] <= steps[-1] and rank(r) > best[0]]
        if better:  # Its checkpoint was damaged, and training has moved it aside.
            lost = max(better, key=rank)["step"]
            raise UserError(
                f"{folder}: the best epoch, of step {lost}, has no checkpoint any more;"
                f" {_remedy(folder, anew=True)}"
            )
        return best[1]
    if which.isdecimal() and int(which) in steps:
        return int(which)
    listed = ", ".join(map(str, steps))
    raise UserError(f"checkpoint_name {which}: not there; give best, latest or one of {listed}")


def _delete_outdated(folder: Any) -> None:
    if processes.is_first():
        shutil.rmtree(folder / _OUTDATED, ignore_errors=True)


def _verify(
    path: pathlib.Path, warn: Callable[[str], None] | None = None, *, under: str = ""
) -> None:
    """Compare a checkpoint with its checksums; call `warn` if its version wrote none.

    Raises:
      ValueError, OSError: see `checksums.verify`; also if the checksums are missing.
    """
    if checksums.verify(path, under=under):
        return
    try:
        is_old = not parse_json((path / _METADATA).read_bytes())["custom_metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        is_old = False
    if not is_old:
        raise ValueError(f"{path.name}/{checksums.NAME} is missing")
    if warn:
        warn(f"checkpoint {path.name} is of a version without checksums; it is not checked")


def _remedy(folder: pathlib.Path, *, anew: bool = False) -> str:
    """Return what a user can do without a checkpoint; `anew`: training does not compute it."""
    intact = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError, ValueError):
            if path.name.isdecimal():
                _verify(path)
                intact.append(int(path.name))
    restart = f"delete {folder} and run the training again, which begins anew"
    if not intact:
        return restart
    listed = " or ".join(f"checkpoint_name={step}" for step in sorted(intact))
    goes_on = "run the training again, which goes on from the newest intact one"
    return f"give {listed}, which is intact, or {restart if anew else goes_on}"


def _restore(
    manager: ocp.CheckpointManager, step: int, abstract_state: TrainState
) -> tuple[TrainState, dict[str, float]]:
    of_params_alone = _averages_params_alone(manager, step, abstract_state)
    if of_params_alone:
        abstract_state = abstract_state.replace(average=abstract_state.average["params"])
    args = ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract_state), progress=ocp.args.JsonRestore()
    )
    restored = manager.restore(step, args=args)
    state = restored["state"]
    if of_params_alone:  # The latest statistics, as they were evaluated then.
        batch_stats = jax.tree.map(lambda x: x.copy(), state.batch_stats)
        state = state.replace(average={"params": state.average, "batch_stats": batch_stats})
    return state, restored["progress"]


def _averages_params_alone(
    manager: ocp.CheckpointManager, step: int, abstract_state: TrainState
) -> bool:
    """Return whether the moving average has no statistics, as in checkpoints of early versions."""
    if abstract_state.average is None:
        return False
    with orbax_errors.quiet(), ocp.StandardCheckpointer() as reader:
        metadata: Any = reader.metadata(manager.directory / str(step) / "state")
    return "batch_stats" not in metadata.item_metadata.tree["average"]


def _not_read(workdir: pathlib.Path, step: str, error: Exception) -> UserError:
    return UserError(
        f"{_folder(workdir)}: checkpoint {step} cannot be read now"
        f" ({orbax_errors.first_line(error)}); it is kept: free memory, or make it"
        " readable, and run the same command again"
    )


def _move_to_damaged(
    workdir: pathlib.Path, step: str, error: Exception, warn: Callable[[str], None]
) -> None:
    damaged = workdir / "damaged" / step
    shutil.rmtree(damaged, ignore_errors=True)
    damaged.parent.mkdir(exist_ok=True)
    shutil.move(_folder(workdir) / step, damaged)
    warn(f"checkpoint {step} cannot be read ({orbax_errors.first_line(error)}); moved to {damaged}")


def _folder(workdir: pathlib.Path) -> pathlib.Path:
    return workdir.absolute() / "checkpoints"
