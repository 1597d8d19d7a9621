"""Training of several folds at once: `train.folds_at_once` of `experiments.cross_validate`.

Every fold ends as `loop.train` would end it, in an ordinary workdir. Folds differ in the number of
steps of an epoch; those with fewer wait at its end for the others, and all are evaluated and saved
together. Each fold has its own checkpoint of every epoch, and a killed run resumes from them, even
if some folds are an epoch ahead of others.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel, progress
from mgr_jax import workdir as workdir_lib
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.training import checkpoint, diagnosis, optimizer, preemption, resident, stopping
from mgr_jax.training import epoch as epoch_lib
from mgr_jax.training import network as network_lib
from mgr_jax.training.folds.program import FoldProgram, fill_lanes, make_fold_program, stack_trees
from mgr_jax.training.resident import Windows
from mgr_jax.training.state import TrainState
from mgr_jax.training.writer import MetricsWriter


@dataclasses.dataclass(eq=False)
class _Fold:
    """One fold on the host.

    Attributes:
      name: prefix of its lines on the terminal.
      plan: step -> its windows in the clip store, `[B]` each.
      step, progress: steps taken, and the progress of early stopping.
      first, goal: steps at which this epoch was started (or resumed) and at which it ends.
    """

    name: str
    job: epoch_lib.Job
    plan: Callable[[int], Windows]
    manager: Any
    writer: Any = None
    step: int = 0
    first: int = 0
    goal: int = 0
    progress: dict[str, float] = dataclasses.field(default_factory=lambda: dict(stopping.START))

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return self.step // self.job.steps_per_epoch

    @property
    def is_done(self) -> bool:
        optim = self.job.config.optim
        return self.step == self.job.num_steps or stopping.stops(optim, self.progress)


@dataclasses.dataclass
class _Turn:
    """The folds of one call of the program, by lane, and their states on the devices."""

    folds: list[_Fold]
    states: TrainState
    constants: Any


def check(config: config_lib.Config) -> None:
    """Raise `UserError` if the folds of `config` cannot be trained together."""
    value = f"train.folds_at_once is {config.train.folds_at_once}"
    if config.model.name not in config_lib.NETWORKS:
        raise UserError(f"{value}, but model.name {config.model.name!r} is no network; set it to 0")
    if config.data.name == "arrays":
        raise UserError(f"{value}, which reads audio; with data.name 'arrays' set it to 0")
    if config.train.parallelism != "jit":
        raise UserError(f"{value}, which needs train.parallelism 'jit'; set one of them otherwise")
    if jax.process_count() > 1:
        raise UserError(f"{value}, which works in one process only; set it to 0")


def train(
    folds: Sequence[tuple[str, config_lib.Config, Dataset, workdir_lib.Run]], *, at_once: int
) -> None:
    """Train all `folds` together, resuming from the newest checkpoints in their workdirs.

    Args:
      folds: name, config, data set and workdir of each. Configs differ in `data.protocol`,
        `data.fold`, `data.repeat` and `train.seed` alone, and the data sets share their clips.
      at_once: number of folds that the program is built for.

    Raises:
      Interrupted: on SIGINT or SIGTERM, after saving.
      UserError: if a number is no longer finite, or the clips do not fit the devices.
    """
    config, dataset = folds[0][1], folds[0][2]
    check(config)
    num_classes = len(dataset.catalog.labels)
    program = make_fold_program(config, dataset.clips, num_classes=num_classes, num_folds=at_once)
    # For the shapes and the sharding of checkpoints.
    network = network_lib.make_network(config, num_classes=num_classes, devices=jax.devices()[:1])
    with contextlib.ExitStack() as stack:
        members = [_open(stack, network, *fold) for fold in folds]
        lanes = program.num_lanes
        with progress.Progress("start", f"{len(members)} folds"):
            turns = [
                _start_turn(program, network, members[i : i + lanes])
                for i in range(0, len(members), lanes)
            ]
        for fold in members:
            workdir_lib.set_status(fold.job.run.path, "done" if fold.is_done else "running")
            writer = MetricsWriter(fold.job.run.path, step=fold.step)
            fold.writer = stack.enter_context(contextlib.closing(writer))
        fewest = min(fold.job.num_steps for fold in members)
        if warning := network_lib.momentum_warning(config, num_steps=fewest):
            print(warning, flush=True)
        stop_signal = stack.enter_context(preemption.watch(members[0].manager.reached_preemption))
        bar = progress.Progress(
            "folds",
            total=sum(fold.job.num_steps for fold in members),
            unit="step",
            initial=sum(fold.step for fold in members),
        )
        stack.enter_context(bar)
        warned = False
        while unfinished := [fold for fold in members if not fold.is_done]:
            epoch = min(fold.epoch for fold in unfinished)
            running = [fold for fold in unfinished if fold.epoch == epoch]
            _train_epoch(program, turns, running, bar, stop_signal)
            lines = [(fold.name, line) for fold in running if (line := diagnosis.warning(fold.job))]
            if lines and not warned:
                warned = True
                with bar.printing():
                    print("{}: {}".format(*lines[0]), flush=True)


def _open(
    stack: contextlib.ExitStack,
    network: network_lib.Network,
    name: str,
    config: config_lib.Config,
    dataset: Dataset,
    run: workdir_lib.Run,
) -> _Fold:
    part = dataset.parts["train"]
    job = epoch_lib.Job(
        config, dataset, run, network, batches.steps_per_epoch(part, config.train.batch_size)
    )
    optimizer.check_updates(config.optim, num_steps=job.num_steps)
    manager = stack.enter_context(
        checkpoint.open_checkpoints(run.path, print, keep=config.train.keep_checkpoints)
    )
    plan = resident.make_plan(
        part, batch_size=config.train.batch_size, window=job.window, seed=config.train.seed
    )
    return _Fold(name, job, plan, manager)


def _start_turn(program: FoldProgram, network: network_lib.Network, folds: list[_Fold]) -> _Turn:
    """Return the folds with their states: of the newest checkpoints, or before the first step."""
    seeds = [fold.job.config.train.seed for fold in folds]
    num_idle = program.num_lanes - len(folds)
    initial = jax.device_get(program.init(np.array(seeds + [0] * num_idle, np.uint32)))
    abstract = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    lanes = [_lane(initial, lane) for lane in range(program.num_lanes)]
    constants = []
    for lane, fold in enumerate(folds):
        job = fold.job
        restored = checkpoint.restore_latest(fold.manager, job.run.path, abstract, print)
        if restored:
            lanes[lane], fold.progress = jax.device_get(restored[0]), restored[1]
            fold.step = int(restored[0].step)
            print(f"{fold.name}: resume from step {fold.step} of {job.num_steps}", flush=True)
        elif lanes[lane].normalizer is not None:
            normalizer = network_lib.fitted_normalizer(job.config, job.dataset.parts["train"])
            lanes[lane] = lanes[lane].replace(normalizer=jax.device_get(normalizer))
        constants.append(_constants(job))
    constants += [constants[0]] * num_idle
    return _Turn(folds, program.put(stack_trees(lanes)), program.put(stack_trees(constants)))


def _constants(job: epoch_lib.Job) -> dict[str, np.ndarray]:
    """Return the arguments of the program that are constant for a fold."""
    constants = {
        "seed": np.uint32(job.config.train.seed),
        "steps_per_epoch": np.int32(job.steps_per_epoch),
    }
    weights = network_lib.class_weights(job.config, job.dataset)
    if weights is not None:
        constants["class_weights"] = weights
    return constants


def _train_epoch(
    program: FoldProgram,
    turns: list[_Turn],
    running: list[_Fold],
    bar: progress.Progress,
    stop_signal: Callable[[int], int | None],
) -> None:
    """Train the folds that are `running` to the end of their epoch; evaluate and save them."""
    signal, wait_seconds, start = None, 0.0, time.monotonic()
    for fold in running:
        fold.first, fold.goal = fold.step, (fold.epoch + 1) * fold.job.steps_per_epoch
    while signal is None and (active := [fold for fold in running if fold.step < fold.goal]):
        for turn in turns:
            stepping = [fold for fold in turn.folds if fold in active]
            if stepping:
                reading_start = time.monotonic()
                by_lane = {turn.folds.index(fold): fold.plan(fold.step) for fold in stepping}
                windows = program.put(fill_lanes(by_lane, program.num_lanes))
                wait_seconds += time.monotonic() - reading_start
                # As in `training.loop`: an implicit transfer is an error.
                annotation = jax.profiler.StepTraceAnnotation("train", step_num=stepping[0].step)
                with annotation, jax.transfer_guard("disallow"):
                    turn.states = program.train_step(turn.states, turn.constants, windows)
        for fold in active:
            fold.step += 1
        bar.update(len(active))
        signal = stop_signal(bar.n)
    jax.block_until_ready([turn.states for turn in turns])
    # An upper bound of the wait, since the devices may have worked while windows were chosen.
    times = {"seconds": time.monotonic() - start, "wait_seconds": wait_seconds}
    for turn in turns:
        _save(program, turn, [fold for fold in turn.folds if fold in running], times, bar)
    if signal is not None:
        for fold in running:
            if not fold.is_done:
                workdir_lib.set_status(fold.job.run.path, "preempted")
        raise preemption.Interrupted(signal, bar.n)


def _save(
    program: FoldProgram,
    turn: _Turn,
    running: list[_Fold],
    times: dict[str, float],
    bar: progress.Progress,
) -> None:
    """Save the folds that are `running`, after evaluating those at the end of their epoch."""
    if not running:
        return
    # Copies, since the next step is given the memory of these while they are being written.
    states = jax.tree.map(np.array, jax.device_get(turn.states))
    ended = [fold for fold in running if fold.step == fold.goal]
    scores = _score_valid(program, turn, ended)
    for fold in running:
        lane, job, record = turn.folds.index(fold), fold.job, None
        state = _lane(states, lane)
        try:
            epoch_lib.check_finite(job, state)
            if fold in ended:
                record = epoch_lib.make_record(
                    job, state, scores.pop(0), num_steps=fold.step - fold.first, **times
                )
        except UserError as error:
            raise UserError(f"{fold.name}: {error}") from error
        if record is not None:
            fold.writer.write(record)
            bar.write(f"{fold.name}: {epoch_lib.describe_record(job, record)}")
            optim = job.config.optim
            loss = record[optim.early_stop_metric]
            fold.progress = stopping.after_epoch(optim, fold.progress, loss)
            for sums in states.metrics.values():
                sums[lane] = 0
            state = _lane(states, lane)
        state = parallel.replicate(state, job.network.mesh)
        checkpoint.save(fold.manager, state, fold.progress, record)
        if fold.is_done:
            workdir_lib.set_status(job.run.path, "done")
    turn.states = turn.states.replace(metrics=program.put(states.metrics))


def _score_valid(program: FoldProgram, turn: _Turn, ended: list[_Fold]) -> list[np.ndarray]:
    """Return log-probabilities `[N, C]` of the validation tracks of each fold that has `ended`."""
    grids, queues = {}, {}
    for fold in ended:
        part, window = fold.job.dataset.parts["valid"], fold.job.window
        lane, size = turn.folds.index(fold), fold.job.config.train.batch_size
        grids[lane] = batches.windows_of(part, window)
        queues[lane] = resident.grid_windows(part, grids[lane], batch_size=size, window=window)
    variables, pending_scores = turn.states.variables(), []
    for i in range(max(map(len, queues.values()), default=0)):
        by_lane = {lane: queue[i] for lane, queue in queues.items() if i < len(queue)}
        windows = program.put(fill_lanes(by_lane, program.num_lanes))
        pending_scores.append(program.predict_step(variables, windows))
    scores = [np.asarray(x) for x in pending_scores]
    return [
        tracks_lib.pool_windows(np.concatenate([x[lane] for x in scores])[: len(grid)], grid[:, 0])
        for lane, grid in grids.items()
    ]


def _lane(tree: Any, lane: int) -> Any:
    """Return one fold of a tree of arrays `[L, ...]`."""
    return jax.tree.map(lambda x: x[lane], tree)
