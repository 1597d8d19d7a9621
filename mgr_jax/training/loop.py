"""The training loop of the networks: steps, epochs, checkpoints, and when to stop."""

import contextlib
import time
from typing import Any

import jax
import orbax.checkpoint as ocp

from mgr_jax import config as config_lib
from mgr_jax import parallel, progress
from mgr_jax import workdir as workdir_lib
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset
from mgr_jax.training import checkpoint, optimizer, preemption, processes, resident, stopping
from mgr_jax.training import epoch as epoch_lib
from mgr_jax.training import network as network_lib
from mgr_jax.training.epoch import Job
from mgr_jax.training.feed import Feed
from mgr_jax.training.preemption import Interrupted
from mgr_jax.training.profile import Profiler, check_steps
from mgr_jax.training.run_log import open_log
from mgr_jax.training.state import TrainState, zero_metrics

# Checking that all numbers are finite waits for the device, so not at every step.
_CHECK_FINITE_EVERY = 100


def train(
    config: config_lib.Config,
    dataset: Dataset,
    run: workdir_lib.Run,
    *,
    profile: range = range(0),
) -> None:
    """Train until the last epoch, resuming from the newest checkpoint in the workdir.

    A trace of the steps `profile`, counted from 0, is written into the workdir.

    Raises:
      Interrupted: on SIGINT or SIGTERM, after saving.
      UserError: if a number is no longer finite, the batch does not fit the devices, or the run
        has no step of `profile`.
    """
    job = make_job(config, dataset, run)
    check_steps(profile, num_steps=job.num_steps)
    keep = config.train.keep_checkpoints
    with checkpoint.open_checkpoints(run.path, print, keep=keep) as manager:
        state, progress = _restore_or_init(job, manager)
        if int(state.step) < job.num_steps and not stopping.stops(config.optim, progress):
            job.set_status("running")
            if warning := network_lib.momentum_warning(config, num_steps=job.num_steps):
                print(warning, flush=True)
            _train_steps(job, manager, state, progress, profile)
    job.set_status("done")


def make_job(config: config_lib.Config, dataset: Dataset, run: workdir_lib.Run) -> Job:
    """Return the job of a config: its network, compiled for the training part of the data set.

    Raises:
      UserError: if the batch does not divide over the devices, or the run is too short.
    """
    part, num_classes = dataset.parts["train"], len(dataset.catalog.labels)
    mesh = parallel.make_mesh()
    parallel.check_batch_size(config.train.batch_size, mesh)
    steps_per_epoch = batches.steps_per_epoch(part, config.train.batch_size)
    optimizer.check_updates(config.optim, num_steps=config.train.num_epochs * steps_per_epoch)
    network = network_lib.make_network(
        config,
        num_classes=num_classes,
        steps_per_epoch=steps_per_epoch,
        class_weights=network_lib.class_weights(config, dataset),
        store=resident.chosen_store(config.data.on_device, dataset.clips, mesh),
    )
    return Job(config, dataset, run, network, steps_per_epoch)


def _restore_or_init(
    job: Job, manager: ocp.CheckpointManager
) -> tuple[TrainState, dict[str, float]]:
    """Return state and progress of the newest checkpoint, or those before the first step."""
    mesh, first = job.network.mesh, processes.is_first()
    abstract_state = parallel.abstract(jax.eval_shape(job.network.init), mesh)
    restored = checkpoint.restore_latest(manager, job.run.path, abstract_state, print)
    if restored:
        print(f"resume    from step {int(restored[0].step)} of {job.num_steps}", flush=True)
        return restored
    with progress.Progress("compile", "the initial state", is_shown=first):
        state = parallel.jit_init(job.network.init, mesh)
    if state.normalizer is not None:
        with progress.Progress("fit", "mean and deviation of the inputs", is_shown=first):
            normalizer = network_lib.fitted_normalizer(job.config, job.dataset.parts["train"])
        state = state.replace(normalizer=parallel.replicate(normalizer, mesh))
    return state, dict(stopping.START)


def _train_steps(
    job: Job,
    manager: ocp.CheckpointManager,
    state: TrainState,
    progress: dict[str, float],
    profile: range,
) -> None:
    """Take the remaining steps, from `state` on.

    Every iteration does the same things in the same order, so that a run that is killed at any
    point and resumed ends bit by bit like an unbroken one:

    1. Take the batch, and step. The batch depends on the seed and the step alone, so the state is
       all that a resumed run needs.
    2. At the end of an epoch, evaluate, write the record, and start new sums: all before saving. A
       run killed in between repeats the epoch and replaces its record, which would be missing for
       ever if the checkpoint were already there. And a checkpoint holds exactly the state that the
       next step starts from.
    3. Save: at the end of an epoch, every so many steps, and before stopping. That all numbers are
       finite is checked first, so that a diverged state never replaces the last good checkpoint.
    4. Stop, if the loss has settled or a signal has come: what was computed is saved by now.
    """
    config, first_step = job.config, int(state.step)
    save_every = config.train.checkpoint_every_steps
    with contextlib.ExitStack() as stack:
        stop_signal = stack.enter_context(preemption.watch(manager.reached_preemption))
        log = stack.enter_context(open_log(job, first_step))
        traced = profile if processes.is_first() else range(0)
        profiler = Profiler(job.run.path / "profile", traced, log.print)
        stack.enter_context(contextlib.closing(profiler))
        reader = stack.enter_context(contextlib.closing(_open_reader(job, first_step)))
        feed = Feed(reader, job.network.shard)
        epoch_start, epoch_first_step = time.monotonic(), first_step

        for step in range(first_step + 1, job.num_steps + 1):
            profiler.before(step - 1, state.step)
            is_first = step == first_step + 1
            with log.wait("compile", "the train step") if is_first else contextlib.nullcontext():
                state = _take_step(job, feed, state, step)
            log.after_step(state, step)

            ends_epoch, record = step % job.steps_per_epoch == 0, None
            if ends_epoch or step % _CHECK_FINITE_EVERY == 0:
                epoch_lib.check_finite(job, state)
            if ends_epoch:
                seconds = time.monotonic() - epoch_start
                with log.wait("score", "the validation part"):
                    scores = epoch_lib.score_valid(job, state)
                record = epoch_lib.make_record(
                    job,
                    state,
                    scores,
                    num_steps=step - epoch_first_step,
                    seconds=seconds,
                    wait_seconds=feed.take_wait_seconds(),
                )
                log.after_epoch(record, scores)
                loss = record[config.optim.early_stop_metric]
                progress = stopping.after_epoch(config.optim, progress, loss)
                state = state.replace(metrics=parallel.replicate(zero_metrics(), job.network.mesh))

            signal = stop_signal(step)
            if ends_epoch or signal is not None or (save_every and step % save_every == 0):
                epoch_lib.check_finite(job, state)
                checkpoint.save(manager, state, progress, record)
            if ends_epoch:
                epoch_start, epoch_first_step = time.monotonic(), step

            if ends_epoch and stopping.stops(config.optim, progress):
                settled = stopping.NAMES[config.optim.early_stop_metric]
                log.print(f"stop      the {settled} has settled, after epoch {record['epoch']}")
                return
            if signal is not None:
                job.set_status("preempted")
                raise Interrupted(signal, step)


def _take_step(job: Job, feed: Feed, state: TrainState, step: int) -> TrainState:
    """Dispatch step number `step` on the next batch; return the state after it.

    The guard turns an implicit transfer, which would make the host and the devices wait for each
    other at every step, into an error. `Feed` places batches explicitly, which it lets pass.
    """
    annotation = jax.profiler.StepTraceAnnotation("train", step_num=step - 1)
    with annotation, jax.transfer_guard("disallow"):
        state = job.network.train_step(state, feed.next())
        feed.throttle(state.step)
    return state


def _open_reader(job: Job, start_step: int) -> Any:
    """Return an iterator over this process's rows of the batches from `start_step` on.

    They are windows of the clips on the devices, or waveforms, which travel as int16.
    """
    config, part = job.config, job.dataset.parts["train"]
    common = {
        "batch_size": config.train.batch_size,
        "window": job.window,
        "seed": config.train.seed,
    }
    if job.network.on_device:
        return resident.train_windows(
            resident.make_plan(part, **common),
            start_step=start_step,
            num_steps=job.num_steps,
            local=batches.local_rows(
                config.train.batch_size, jax.process_index(), jax.process_count()
            ),
        )
    return batches.train_batches(
        part,
        **common,
        start_step=start_step,
        num_steps=job.num_steps,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        read_threads=config.data.read_threads,
        read_processes=config.data.read_processes,
        as_int16=True,
    )
