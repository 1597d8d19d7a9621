"""Cross-validation as a function: every fold of a protocol trained, tested and pooled."""

import contextlib
import copy
import dataclasses
import itertools
import numbers
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from mgr_jax import config as config_lib
from mgr_jax import devices, progress, runs
from mgr_jax import workdir as workdir_lib
from mgr_jax.data.folds import PROTOCOLS
from mgr_jax.errors import UserError


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


def cross_validate(
    config: config_lib.Config | str,
    workdir: str | os.PathLike,
    *,
    data: str | os.PathLike | None = None,
    protocols: str | Sequence[str] = PROTOCOLS,
    seeds: int = 5,
) -> runs.Report:
    """Train and test every fold below `workdir`, or go on there, and pool the results.

    Seed k draws other folds (`data.repeat` = k) and trains with another seed (`train.seed` + k).
    `workdir/<protocol>/seed<k>/fold<i>` are ordinary workdirs, without figures but of networks;
    `report.html`, `.md` and `.json` and their figures lie in `workdir`.

    Args:
      config: the system and its data, as in `runs.train`.
      workdir: the folder of all folds.
      data: data set in place of the config's, see `runs.with_data`.
      protocols: `kfold`, `artist_kfold` or both, which shows the leakage gap.
      seeds: number of times that folds are drawn and trained.

    Raises:
      UserError: if the data do not allow a protocol, or the folder belongs to other trainings.
      training.preemption.Interrupted: on SIGINT or SIGTERM, after saving.
    """
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.data.folds import group_ids
    from mgr_jax.evaluation import cross_validation
    from mgr_jax.evaluation.reports import cross_validation_page, cross_validation_text
    from mgr_jax.training import network
    from mgr_jax.training.folds import loop as folds_lib

    config = config_lib.validate_for_training(runs.with_data(config, data))
    folder = pathlib.Path(workdir)
    if not os.fspath(workdir):
        raise UserError("workdir is empty; name a folder for the folds")
    _check(config, folder)
    protocols = [protocols] if isinstance(protocols, str) else protocols
    check_protocols(protocols)
    if not isinstance(seeds, numbers.Integral) or seeds < 1:
        raise UserError(f"seeds is {seeds!r}; it must be a whole number, 1 or more")
    jobs = _jobs(config, folder, protocols, seeds)
    if config.model.name in config_lib.NETWORKS:
        network.count_parameters(config, num_classes=2)  # Refuses too small an image or window.
    if config.train.folds_at_once:
        folds_lib.check(config)
    for job in jobs:
        workdir_lib.reserve(str(job.path), job.config)
    catalog, store = dataset_lib.open_catalog(config)
    # Before any training, so that a protocol that the data do not allow is refused at once.
    datasets = [dataset_lib.split_dataset(job.config, catalog, store) for job in jobs]
    print(dataset_lib.describe_clips(catalog, store), flush=True)
    print(devices.describe(), flush=True)
    if len(set(group_ids(catalog.tracks).values())) == len(catalog.tracks):
        print(f"note      {cross_validation_text.NO_GAP}", flush=True)
    # The same folds always go together, whether or not some of them are done.
    at_once = config.train.folds_at_once or 1
    for first in range(0, len(jobs), at_once):
        chosen = slice(first, first + at_once)
        with contextlib.ExitStack() as stack:
            for job in jobs[chosen]:
                stack.enter_context(workdir_lib.hold(str(job.path)))
            _train_and_evaluate(jobs[chosen], datasets[chosen], total=len(jobs), first=first)
    folds = [
        cross_validation.read_fold(j.path, protocol=j.protocol, seed=j.seed, fold=j.fold)
        for j in jobs
    ]
    with progress.Progress("pool", "the folds"):
        report = cross_validation.make_report(
            folds, catalog.tracks, system=config.model.name, data=catalog.name
        )
        record = workdir_lib.load(str(jobs[0].path)).record
        report |= {name: record[name] for name in ("data_hash", "versions", "git_commit")}
        cross_validation_page.write(folder, report)
    page = folder / cross_validation_page.PAGE
    return runs.Report(report, cross_validation_text.to_text(report), page)


def _check(config: config_lib.Config, folder: pathlib.Path) -> None:
    """Raise `UserError` if there is one fold alone, or `folder` is that of one training."""
    for field in ("fold", "repeat"):
        value = getattr(config.data, field)
        if value:
            raise UserError(f"data.{field} is {value}; all are trained here, so leave it out")
    if (folder / "config.json").exists():
        raise UserError(f"workdir {folder}: is the workdir of one training; name another folder")


def check_protocols(protocols: Sequence[str]) -> None:
    """Raise `UserError` unless these are protocols with folds, each named once."""
    choices = f"give {' or '.join(PROTOCOLS)}, or both"
    if not protocols:
        raise UserError(f"protocols is empty; {choices}")
    for name in protocols:
        if name not in PROTOCOLS:
            raise UserError(f"protocols: {name!r} has no folds; {choices}")
    if len(set(protocols)) < len(protocols):
        raise UserError("protocols names one protocol twice; name each once")


def _jobs(
    config: config_lib.Config, folder: pathlib.Path, protocols: Sequence[str], seeds: int
) -> list[_Job]:
    """Return all folds of all seeds and protocols, in the order of their training."""
    jobs = []
    choices = itertools.product(protocols, range(seeds), range(config.data.num_folds))
    for protocol, seed, fold in choices:
        own = copy.deepcopy(config)
        own.data.protocol, own.data.fold, own.data.repeat = protocol, fold, seed
        own.train.seed += seed
        path = folder / protocol / f"seed{seed}" / f"fold{fold}"
        jobs.append(_Job(protocol, seed, fold, path, own))
    return jobs


def _train_and_evaluate(
    jobs: Sequence[_Job], datasets: Sequence[Any], *, total: int, first: int
) -> None:
    """Train and evaluate those of these folds that are not evaluated yet."""
    from mgr_jax.classical import fitting
    from mgr_jax.evaluation import cross_validation
    from mgr_jax.training import loop
    from mgr_jax.training.folds import loop as folds

    left = []
    for number, (job, dataset) in enumerate(zip(jobs, datasets, strict=True), start=first + 1):
        run = workdir_lib.create(str(job.path), job.config, dataset.catalog, dataset.split)
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

    # Without the processes that decode files, which take longer to start than a fold to score.
    predictor = predictor_lib.make_predictor(predictor_lib.load_system(run.path))
    scores = predictor.score_tracks(dataset.parts["test"])
    values = report.write_report(
        run,
        dataset,
        "test",
        scores,
        checkpoint_step=predictor.step,
        # Those of a fold would take longer than its training.
        with_figures=run.config.model.name in config_lib.NETWORKS,
    )
    print(f"accuracy  {stats.describe(values, values['protocol'])}", flush=True)
