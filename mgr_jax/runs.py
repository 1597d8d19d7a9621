"""The main commands as functions: train, evaluate and compare; `fold_runs` has cross-validation."""

import contextlib
import copy
import html
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import devices, named_configs, progress
from mgr_jax import predictor as predictor_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.data.catalog import PARTS
from mgr_jax.errors import UserError
from mgr_jax.plural import plural

if TYPE_CHECKING:
    from mgr_jax.data.dataset import Dataset


class Report(dict):
    """The values of a report, which are shown in words.

    Attributes:
      text: what the command prints. path: the HTML page, or None.
    """

    def __init__(self, values: Mapping[str, Any], text: str, path: pathlib.Path | None = None):
        super().__init__(values)
        self.text, self.path = text, path

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        if self.path is None or not self.path.exists():
            return f"<pre>{html.escape(self.text)}</pre>"
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'


def with_data(config: config_lib.Config | str, data: str | os.PathLike | None) -> config_lib.Config:
    """Return a copy of `config`, or the one of that name, for the data set at `data` if given.

    A folder has the tracks of a class in a folder each, a CSV file lists them, and a `.npz`,
    `.npy` or Parquet file holds arrays or embeddings, as the config reads them. A config that
    names such a data set already keeps its kind.
    """
    config = named_configs.get(config) if isinstance(config, str) else copy.deepcopy(config)
    if not isinstance(config, config_lib.Config):
        raise TypeError(f"config is a {type(config).__name__}; give a Config or a name")
    if data is None:
        return config
    path = os.fspath(data)
    is_list = pathlib.Path(path).suffix.lower() in (".csv", ".tsv", ".txt")
    if config.data.name == "band":
        config.data.name = "manifest" if is_list else "folder"
    config.data.root = path
    return config


def train(
    config: config_lib.Config | str,
    workdir: str | os.PathLike,
    *,
    data: str | os.PathLike | None = None,
    profile: range = range(0),
) -> workdir_lib.Run:
    """Train a system in the folder `workdir`, or go on there, and print its progress.

    Args:
      config: the system and its data, or a name such as `logistic` (`named_configs`).
      workdir: its folder, for `mgr_jax.load`, `evaluate` and `compare`.
      data: data set in place of `config.data`, see `with_data`.
      profile: steps of which a profiler's trace is written, counted from 0.

    Raises:
      UserError: if the config is wrong, the data cannot be read or split, or the workdir belongs to
        another training.
      training.preemption.Interrupted: on SIGINT or SIGTERM, after saving.
    """
    from mgr_jax.classical import fitting
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.evaluation.reports import few_tracks
    from mgr_jax.training import loop, network, processes

    config, folder = config_lib.validate_for_training(with_data(config, data)), os.fspath(workdir)
    is_network = config.model.name in config_lib.NETWORKS
    with contextlib.ExitStack() as stack:
        processes.run_on_first("hold", lambda: stack.enter_context(workdir_lib.hold(folder)))
        processes.run_on_first("reserve", lambda: workdir_lib.reserve(folder, config))
        dataset = dataset_lib.open_dataset(config)
        print(dataset_lib.describe(dataset), flush=True)
        if is_network:
            with progress.Progress("trace", "the layers", is_shown=processes.is_first()):
                layers = network.describe(config, num_classes=len(dataset.catalog.labels))
            print(layers, flush=True)
        contents = (folder, config, dataset.catalog, dataset.split)
        processes.run_on_first("create", lambda: workdir_lib.create(*contents))
        run = workdir_lib.create(*contents)
        print(devices.describe(), flush=True)
        if 0 < len(dataset.split.test) < few_tracks.FEW:
            print(f"note      {few_tracks.before_training(dataset.split)}", flush=True)
        if is_network:
            loop.train(config, dataset, run, profile=profile)
        else:
            fitting.train(config, dataset, run)
    return run


def evaluate(
    workdir: str | os.PathLike,
    part: str = "test",
    *,
    checkpoint_name: str = "best",
    data: str | os.PathLike | None = None,
) -> Report:
    """Score a trained system on a part of its split, and write the report to its workdir.

    Args:
      workdir: its folder. part: `train`, `valid` or `test`.
      checkpoint_name: `best` (on the validation part), `latest` or a step.
      data: where its data set lies now, if elsewhere than in training.

    Raises:
      UserError: if the workdir holds no trained system, or the data set lacks the part.
    """
    _check_part(part)
    predictor = predictor_lib.load(workdir, checkpoint_name=checkpoint_name)
    return evaluate_predictor(predictor, part, with_data(predictor.config, data))


def evaluate_predictor(
    predictor: predictor_lib.Predictor, part: str, config: config_lib.Config
) -> Report:
    """Score a loaded system on a part of the data of `config`; see `evaluate`."""
    dataset = open_part(predictor.run, part, config)
    print(devices.describe(), file=sys.stderr, flush=True)
    began = time.monotonic()
    scores = predictor.score_tracks(dataset.parts[part])
    seconds = time.monotonic() - began
    with progress.Progress("calibrate", "on the validation part"):
        _calibrate(predictor, config, {part: (dataset, scores)})
    title = f"{predictor.config.model.name} on the {part} part of {dataset.catalog.name}"
    facts = {"checkpoint_step": predictor.step, "seconds": seconds}
    return write_report(title, predictor.run, dataset, part, scores, **facts)


def open_part(run: workdir_lib.Run, part: str, config: config_lib.Config) -> "Dataset":
    """Return the part of a run in the data of `config`; print which files have changed.

    Raises:
      UserError: if it has no track of the part, or a class that the model does not know.
    """
    from mgr_jax.data import dataset as dataset_lib

    dataset = dataset_lib.open_part(config, run.split, part, learned=run.record.get("learned"))
    unknown = sorted(set(dataset.catalog.labels) - set(run.labels))
    if unknown:
        raise UserError(
            f"data.root {config.data.root}: class {unknown[0]!r} is unknown to the model, which"
            f" knows {', '.join(run.labels)}; give data with its classes"
        )
    scored = set(dataset.parts[part].ids)
    if dataset.split is run.split:  # Not that of another array file.
        scored.add("data.root")
    changed = set(workdir_lib.changed_tracks(run, dataset.catalog)) & scored
    if changed:
        print(
            f"changed   {plural(len(changed), 'file')} of this part with other content than in"
            f" training ({', '.join(sorted(changed)[:3])})"
        )
    return dataset


def write_report(
    title: str,
    run: workdir_lib.Run,
    dataset: "Dataset",
    part: str,
    scores: np.ndarray,
    **facts: Any,
) -> Report:
    """Write the report on the scores of a part into its workdir, and return it with its text.

    Args:
      title: first line of the text.
      scores: log-probabilities [N, C] of the tracks.
      facts: the other arguments of `evaluation.reports.report.write_report`.
    """
    from mgr_jax.evaluation.reports import report, wording

    with progress.Progress("write", "the report"):
        values = report.write_report(run, dataset, part, scores, **facts)
    page = run.path / "eval" / part / "report.html"
    return Report(values, f"{title}\n{wording.to_text(values)}", page)


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise UserError(f"part {part!r} is unknown; give {', '.join(PARTS)}")


def _calibrate(
    predictor: predictor_lib.Predictor, config: config_lib.Config, evaluated: dict[str, tuple]
) -> None:
    """Choose the temperature of this checkpoint, unless the workdir has it already.

    `evaluated` has part -> (its dataset, scores [N, C] of its tracks) as far as they are computed.
    """
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.data import folds, splits
    from mgr_jax.evaluation import calibration
    from mgr_jax.evaluation.reports import report, wording

    run, step = predictor.run, predictor.step
    if run.split.protocol == splits.IMPORTED:
        return  # Any track may be one that it was trained on.
    is_network = run.config.model.name in config_lib.NETWORKS
    # Earlier versions kept no tracks; those of a classical system are from its training alone.
    load = calibration.load_tracks if is_network else calibration.load_temperature
    if load(run.path, checkpoint_step=step) is not None:
        return
    if "valid" not in evaluated:
        try:
            dataset = dataset_lib.open_part(config, run.split, "valid")
        except UserError:
            return  # The report says that there is no temperature.
        evaluated = {"valid": (dataset, predictor.score_tracks(dataset.parts["valid"]))}
    dataset, scores = evaluated["valid"]
    if np.isnan(scores).any():
        return  # The model has diverged: `report.write_report` refuses such scores.
    labels = report.true_classes(run, dataset, "valid")
    track_of = {track.id: track for track in dataset.catalog.tracks}
    ids = dataset.parts["valid"].ids
    group_of = folds.group_ids([track_of[name] for name in ids])
    calibration.write_temperature(
        run.path,
        scores,
        labels,
        checkpoint_step=step,
        groups=[group_of[name] for name in ids],
        chose_model=run.config.model.name not in wording.WITHOUT_CHOICE,
    )


def compare(
    workdirs: Sequence[str | os.PathLike], part: str = "test", *, names: Sequence[str] = ()
) -> Report:
    """Test whether evaluated systems differ, pair by pair.

    Args:
      workdirs: folders that were evaluated on the same tracks, `DIR/<protocol>/seed<k>` of a
        cross-validation, or CSV files of predictions (`track_id,predicted`).
      part: the part of the split.
      names: of the systems; short forms of the paths by default.

    Raises:
      UserError: if one is not evaluated, or they were not evaluated on the same tracks.
    """
    from mgr_jax.evaluation import compare as compare_lib
    from mgr_jax.evaluation import predictions_file
    from mgr_jax.evaluation.reports import compare_text

    _check_part(part)
    is_one = isinstance(workdirs, str | os.PathLike)
    folders = [] if is_one or not workdirs else [os.fspath(path) for path in workdirs]
    if len(folders) < 2:
        raise UserError("workdirs: give two or more folders")
    if names and len(names) != len(folders):
        raise UserError(f"names: {len(names)} for {len(folders)} systems; give one each")
    names = names or compare_lib.short_names(folders)
    result = compare_lib.compare(predictions_file.read_all(folders, names, part), names)
    return Report(result, compare_text.to_text(result))
