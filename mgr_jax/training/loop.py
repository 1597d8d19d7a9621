"""The training loop of the networks: steps, epochs, checkpoints, and when to stop."""

import contextlib
import json
import time
from typing import Any

import jax
import tqdm

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax import workdir as workdir_lib
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset
from mgr_jax.training import checkpoint, optimizer, preemption, processes, resident, stopping
from mgr_jax.training import epoch as epoch_lib
from mgr_jax.training import network as network_lib
from mgr_jax.training.epoch import Job
from mgr_jax.training.feed import Feed
from mgr_jax.training.figures import Pictures
from mgr_jax.training.preemption import Interrupted
from mgr_jax.training.profile import Profiler, check_steps
from mgr_jax.training.state import TrainState, zero_metrics
from mgr_jax.training.writer import MetricsWriter
from mgr_jax.workdir import read_metrics

# Steps after which the loop looks whether all numbers are finite; it then waits for the device.
_LOOK_EVERY = 100


def train(
    config: config_lib.Config,
    dataset: Dataset,
    run: workdir_lib.Run,
    *,
    profile: range = range(0),
) -> None:
    """Trains until the last epoch, going on from the newest checkpoint in the workdir.

    A trace of the steps `profile`, counted from 0, is written into the workdir.

    Raises:
      Interrupted: SIGINT or SIGTERM came; everything is saved.
      UserError: a number is not finite any more, the batch does not fit the devices, or the run
        has no step of `profile`.
    """
    job = make_job(config, dataset, run)
    check_steps(profile, num_steps=job.num_steps)
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(
            checkpoint.open_checkpoints(run.path, print, keep=config.train.keep_checkpoints)
        )
        state, progress = _start(job, manager)
        if int(state.step) < job.num_steps and not stopping.stops(config.optim, progress):
            job.set_status("running")
            _run(job, manager, state, progress, profile)
    job.set_status("done")


def make_job(config: config_lib.Config, dataset: Dataset, run: workdir_lib.Run) -> Job:
    """Compiles what the config asks for, for the training part of the data set.

    Raises:
      UserError: if the batch does not spread over the devices, or the run is too short.
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
        store=dataset.clips if config.data.on_device else None,
    )
    return Job(config, dataset, run, network, steps_per_epoch)


def _start(job: Job, manager: Any) -> tuple[TrainState, dict[str, float]]:
    """State and progress of the newest checkpoint, or those before the first step."""
    mesh = job.network.mesh
    abstract = parallel.abstract(jax.eval_shape(job.network.init), mesh)
    restored = checkpoint.restore_latest(manager, job.run.path, abstract, print)
    if restored:
        print(f"resume    from step {int(restored[0].step)} of {job.num_steps}", flush=True)
        return restored
    state = parallel.jit_init(job.network.init, mesh)
    if state.normalizer is not None:
        normalizer = network_lib.fitted_normalizer(job.config, job.dataset.parts["train"])
        state = state.replace(normalizer=parallel.replicate(normalizer, mesh))
    return state, dict(stopping.START)


def _run(
    job: Job, manager: Any, state: TrainState, progress: dict[str, float], profile: range
) -> None:
    """The steps that are left."""
    config, run, first, writes = job.config, job.run, int(state.step), processes.is_first()
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(preemption.watch(manager.reached_preemption))
        if writes:
            writer = stack.enter_context(contextlib.closing(MetricsWriter(run.path, step=first)))
            pictures = Pictures(writer, job.dataset.catalog.labels, read_metrics(run.path))
            stack.enter_context(contextlib.closing(pictures))
            if first == 0:
                writer.write_text("config", json.dumps(config_lib.to_json(config), indent=2))
        bar = stack.enter_context(
            tqdm.tqdm(
                total=job.num_steps,
                initial=first,
                desc="train",
                unit="step",
                disable=None if writes else True,
            )
        )
        profiler = Profiler(run.path / "profile", profile if writes else range(0), bar.write)
        stack.enter_context(contextlib.closing(profiler))
        reader = stack.enter_context(contextlib.closing(_reader(job, first)))
        feed = Feed(reader, job.network.shard)
        began, began_at, shown = time.monotonic(), first, 0.0
        for step in range(first + 1, job.num_steps + 1):
            profiler.before(step - 1, state.step)
            state = job.network.train_step(state, feed.next())
            feed.follow(state.step)
            bar.update()
            # Reading a metric waits for the device, so not at every step.
            if not bar.disable and time.monotonic() - shown > 1.0:
                shown = time.monotonic()
                bar.set_postfix_str(epoch_lib.describe_running(job, state.metrics, step))
            ends = step % job.steps_per_epoch == 0
            if ends or step % _LOOK_EVERY == 0:
                epoch_lib.check_finite(job, state)
            if ends:
                seconds = time.monotonic() - began
                scores = epoch_lib.score_valid(job, state)
                record = epoch_lib.make_record(
                    job,
                    state,
                    scores,
                    num_steps=step - began_at,
                    seconds=seconds,
                    waited=feed.take_wait(),
                )
                if writes:
                    writer.write(record)
                    if len(scores):
                        pictures.after_epoch(record, epoch_lib.confusion(job, scores))
                bar.write(epoch_lib.describe_record(job, record))
                progress = stopping.after_epoch(config.optim, progress, record["train_loss"])
                state = state.replace(metrics=parallel.replicate(zero_metrics(), job.network.mesh))
                checkpoint.save(manager, state, progress, record)
                began, began_at = time.monotonic(), step
                if stopping.stops(config.optim, progress):
                    bar.write(
                        f"stop      the training loss has settled, after epoch {record['epoch']}"
                    )
                    return
            number, every = asked(step), config.train.checkpoint_every_steps
            if not ends and (number is not None or (every and step % every == 0)):
                epoch_lib.check_finite(job, state)
                checkpoint.save(manager, state, progress, None)
            if number is not None:
                job.set_status("preempted")
                raise Interrupted(number, step)


def _reader(job: Job, start_step: int) -> Any:
    """This process's rows of the batches from `start_step` on: waveforms, or where they lie."""
    config, part = job.config, job.dataset.parts["train"]
    common = {
        "batch_size": config.train.batch_size,
        "window": job.window,
        "seed": config.train.seed,
    }
    if config.data.on_device:
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
    )
