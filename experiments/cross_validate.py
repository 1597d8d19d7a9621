"""Train and test every fold: `python -m experiments.cross_validate --config=FILE --workdir=DIR`.

    [--protocols=kfold,artist_kfold] [--seeds=5] [--json=FILE] [--config.data.num_folds=5]
    [--config.train.folds_at_once=5]

Seed k of `--seeds` draws other folds (`data.repeat` + k) and trains with another seed
(`train.seed` + k). DIR/<protocol>/seed<k>/fold<i>/ are ordinary workdirs. The same command after a
kill goes on with what is missing. The report is DIR/report.md, and .json. `train.folds_at_once`
folds of a network are trained as one program.
"""

import contextlib
import copy
import dataclasses
import itertools
import json
import pathlib
import shutil
import signal
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import command, devices
from mgr_jax import config as config_lib

_PROTOCOLS = ("kfold", "artist_kfold")

_CONFIG = command.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_PROTOCOL = flags.DEFINE_list("protocols", list(_PROTOCOLS), "Protocols with folds.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of times that folds are drawn and trained.", 1)
_JSON = flags.DEFINE_string("json", None, "Another file to write report.json to.")


@dataclasses.dataclass(frozen=True)
class _Job:
    """One fold to train."""

    protocol: str
    seed: int
    fold: int
    path: pathlib.Path
    config: config_lib.Config

    def __str__(self) -> str:
        folds = self.config.data.num_folds
        return f"{self.protocol}, seed {self.seed}, fold {self.fold} of 0 to {folds - 1}"


def main(argv: Sequence[str]) -> int:
    """Train, test and pool the folds; return the exit code."""
    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)
    _check(config)
    jobs = _jobs(config)

    from mgr_jax import workdir
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.data.folds import group_ids
    from mgr_jax.evaluation import cross_validation
    from mgr_jax.evaluation.reports import cross_validation_text
    from mgr_jax.files import write_whole
    from mgr_jax.training import network, preemption
    from mgr_jax.training.folds import loop as folds_lib

    if config.model.name in config_lib.NETWORKS:
        network.count_parameters(config, num_classes=2)  # Refuses too small an image or window.
    if config.train.folds_at_once:
        folds_lib.check(config)
    command.set_up_jax(deterministic=config.train.deterministic)
    for job in jobs:
        workdir.reserve(str(job.path), job.config)
    catalog, store = dataset_lib.open_catalog(config)
    # Before any training, so that a protocol that the data do not allow is refused at once.
    datasets = [dataset_lib.split_dataset(job.config, catalog, store) for job in jobs]
    print(dataset_lib.describe_clips(catalog, store), flush=True)
    print(devices.describe(), flush=True)
    if len(set(group_ids(catalog.tracks).values())) == len(catalog.tracks):
        print(f"note      {cross_validation_text.NO_GAP}", flush=True)
    try:
        # The same folds always go together, whether or not some of them are done.
        at_once = config.train.folds_at_once or 1
        for first in range(0, len(jobs), at_once):
            chosen = slice(first, first + at_once)
            with contextlib.ExitStack() as stack:
                for job in jobs[chosen]:
                    stack.enter_context(workdir.hold(str(job.path)))
                _train_and_evaluate(jobs[chosen], datasets[chosen], total=len(jobs), first=first)
    except preemption.Interrupted as interrupt:
        print(interrupt)
        return command.PREEMPTED if interrupt.signal == signal.SIGTERM else command.INTERRUPTED
    folds = [
        cross_validation.read_fold(j.path, protocol=j.protocol, seed=j.seed, fold=j.fold)
        for j in jobs
    ]
    report = cross_validation.make_report(
        folds, catalog.tracks, system=config.model.name, data=catalog.name
    )
    record = workdir.load(str(jobs[0].path)).record
    report |= {name: record[name] for name in ("data_hash", "versions", "git_commit")}
    folder = pathlib.Path(_WORKDIR.value)
    write_whole(folder / "report.md", cross_validation_text.to_markdown(report))
    write_whole(folder / "report.json", json.dumps(report, indent=1))
    if _JSON.value:
        shutil.copyfile(folder / "report.json", _JSON.value)
    print("\n" + cross_validation_text.to_text(report))
    print(f"report    {folder / 'report.md'}")
    return 0


def _check(config: config_lib.Config) -> None:
    """Raise `UserError` for flags that contradict one another, before any file is read."""
    choices = f"give {' or '.join(_PROTOCOLS)}, or both"
    if not _PROTOCOL.value:
        raise command.UserError(f"--protocols is empty; {choices}")
    for name in _PROTOCOL.value:
        if name not in _PROTOCOLS:
            raise command.UserError(f"--protocols: {name!r} has no folds; {choices}")
    if len(set(_PROTOCOL.value)) < len(_PROTOCOL.value):
        raise command.UserError("--protocols names one protocol twice; name each once")
    for field in ("fold", "repeat"):
        value = getattr(config.data, field)
        if value:
            raise command.UserError(
                f"data.{field} is {value}; all are trained here, so leave it out"
            )
    if _WORKDIR.value and (pathlib.Path(_WORKDIR.value) / "config.json").exists():
        raise command.UserError(
            f"--workdir {_WORKDIR.value}: is the workdir of one training; name another folder"
        )
    if _JSON.value:
        command.output_file("json", _JSON.value)  # Not only after hours of training.


def _jobs(config: config_lib.Config) -> list[_Job]:
    """Return all folds of all seeds and protocols, in the order of their training."""
    jobs = []
    choices = itertools.product(_PROTOCOL.value, range(_SEEDS.value), range(config.data.num_folds))
    for protocol, seed, fold in choices:
        own = copy.deepcopy(config)
        own.data.protocol, own.data.fold, own.data.repeat = protocol, fold, seed
        own.train.seed += seed
        path = pathlib.Path(_WORKDIR.value, protocol, f"seed{seed}", f"fold{fold}")
        jobs.append(_Job(protocol, seed, fold, path, own))
    return jobs


def _train_and_evaluate(
    jobs: Sequence[_Job], datasets: Sequence[Any], *, total: int, first: int
) -> None:
    """Train and evaluate those of these folds that are not evaluated yet."""
    from mgr_jax import workdir
    from mgr_jax.classical import fitting
    from mgr_jax.evaluation import cross_validation
    from mgr_jax.training import loop
    from mgr_jax.training.folds import loop as folds

    left = []
    for number, (job, dataset) in enumerate(zip(jobs, datasets, strict=True), start=first + 1):
        run = workdir.create(str(job.path), job.config, dataset.catalog, dataset.split)
        if not cross_validation.is_evaluated(job.path):
            print(f"\nfold      {job} ({number} of {total} trainings)", flush=True)
            left.append((str(job), job.config, dataset, run))
    if not left:
        return
    config = left[0][1]
    if config.train.folds_at_once:
        folds.train(left, at_once=config.train.folds_at_once)
    for name, config, dataset, run in left:
        if config.model.name not in config_lib.NETWORKS:
            fitting.train(config, dataset, run)
        elif not config.train.folds_at_once:
            loop.train(config, dataset, run)
        if config.train.folds_at_once:
            print(f"fold      {name}")
        _evaluate(run, dataset)


def _evaluate(run: Any, dataset: Any) -> None:
    """Evaluate the test part as `experiments.evaluate` does."""
    from mgr_jax import predictor as predictor_lib
    from mgr_jax.evaluation import stats
    from mgr_jax.evaluation.reports import report

    predictor = predictor_lib.load(str(run.path))
    scores = predictor.score_tracks(dataset.parts["test"])
    values = report.write_report(run, dataset, "test", scores, checkpoint_step=predictor.step)
    print(f"accuracy  {stats.describe(values, values['protocol'])}", flush=True)


if __name__ == "__main__":
    command.run(main)
