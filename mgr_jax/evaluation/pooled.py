"""The folds of a cross-validation as one evaluation: every track is scored once.

`DIR/<protocol>/seed<k>/fold<i>` are the workdirs of `fold_runs.cross_validate`. `read` takes any of
these levels, or a single workdir.
"""

import itertools
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from mgr_jax.data.catalog import Track
from mgr_jax.data.folds import PROTOCOLS, group_ids
from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare, metrics
from mgr_jax.files import read_csv


def read(path: str, part: str) -> dict[str, tuple[compare.Evaluation, ...]]:
    """Read a workdir, or the folds of a cross-validation.

    Args:
      path: a workdir, `DIR`, `DIR/<protocol>` or `DIR/<protocol>/seed<k>`.
      part: `train`, `valid` or `test`.

    Returns:
      Protocol -> the evaluations, one a seed; the protocol is empty but for `DIR`.

    Raises:
      UserError: if a workdir was not evaluated, or a file is damaged.
    """
    folder = pathlib.Path(path)
    if has_folds(path):
        return {"": (read_folds(path, part),)}
    if seeds := _seeds(folder):
        return {"": tuple(read_folds(str(seed), part) for seed in seeds)}
    protocols = {name: seeds for name in PROTOCOLS if (seeds := _seeds(folder / name))}
    if protocols:
        return {
            name: tuple(read_folds(str(seed), part) for seed in seeds)
            for name, seeds in protocols.items()
        }
    return {"": (compare.read(path, part),)}


def read_one(path: str, part: str) -> compare.Evaluation:
    """Read a workdir, or the folds of one training `DIR/<protocol>/seed<k>`.

    Raises:
      UserError: if it was not evaluated, a file is damaged, or there are several trainings.
    """
    if has_folds(path):
        return read_folds(path, part)
    folder = pathlib.Path(path)
    if any(_seeds(parent) for parent in (folder, *(folder / name for name in PROTOCOLS))):
        raise UserError(
            f"workdirs: {path} has the trainings of a cross-validation; give one of them,"
            " DIR/<protocol>/seed<k>"
        )
    return compare.read(path, part)


def is_one(path: str) -> bool:
    """Return whether `read_one` takes the folder of an evaluation."""
    return has_folds(path) or pathlib.Path(path, "eval").exists()


def has_folds(path: str) -> bool:
    """Return whether the folder has the folds of `experiments.cross_validate`."""
    return next(pathlib.Path(path).glob("fold*/eval"), None) is not None


def read_folds(path: str, part: str) -> compare.Evaluation:
    """Read all folds of a folder DIR/<protocol>/seed<k> of a cross-validation as one evaluation.

    Its report has the confusion matrix and `per_class` of all tracks, and no metric of a fold.

    Raises:
      UserError: if a fold was not evaluated, or a file is damaged; if a track is in two.
    """
    folders = sorted(pathlib.Path(path).glob("fold*"), key=_number)
    folds = [compare.read(str(folder), part) for folder in folders]
    rows = [
        row
        for fold in folds
        for row in zip(
            fold.ids, fold.labels, fold.correct, fold.groups, fold.predicted, strict=True
        )
    ]
    ids, labels, correct, groups, predicted = zip(*sorted(rows), strict=True)
    if len(set(ids)) < len(ids):
        raise UserError(f"workdirs: {path} has tracks in two folds of part {part!r}")
    reports = [fold.report for fold in folds]
    fields = ("system", "data", "part", "protocol", "labels", "provenance", "mgr_jax", "data_hash")
    report = {name: reports[0][name] for name in fields if name in reports[0]}
    report |= {"n": len(ids), "num_correct": sum(map(int, correct)), "checkpoint_step": None}
    report["split_hash"] = " ".join(report["split_hash"] for report in reports)
    for name in ("shared_artists", "shared_recordings"):
        report[name] = sorted({x for fold in reports for x in fold[name]})
    if all("artists_known" in fold for fold in reports):
        report["artists_known"] = sum(fold["artists_known"] for fold in reports)
    if all("confusion_matrix" in fold for fold in reports):
        matrix = np.sum([fold["confusion_matrix"] for fold in reports], axis=0)
        report["confusion_matrix"] = matrix.tolist()
        report["per_class"] = metrics.per_class(matrix, tuple(report["labels"]))
    groups = _joined(folders, part, dict(zip(ids, groups, strict=True)))
    grouped_by = folds[0].grouped_by
    return compare.Evaluation(
        path, report, ids, labels, np.array(correct, bool), groups, grouped_by, predicted
    )


def _joined(folders: Sequence[pathlib.Path], part: str, groups: dict[str, str]) -> tuple[str, ...]:
    """Return the groups [N] over all folds: `kfold` has tracks of one artist in several."""
    paths = [folder / "eval" / part / "tracks.csv" for folder in folders]
    if not all(path.exists() for path in paths):  # Earlier versions did not write it.
        return tuple(groups.values())
    rows = itertools.chain.from_iterable(map(read_csv, paths))
    tracks = [Track(r["track_id"], "", "", r["artist"], r["recording"]) for r in rows]
    first_of, name_of = group_ids(tracks), dict[str, str]()
    for track, group in groups.items():
        first = first_of.get(track, track)
        name_of[first] = min(group, name_of.get(first, group))
    return tuple(name_of[first_of.get(track, track)] for track in groups)


def _seeds(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted((p for p in folder.glob("seed*") if has_folds(str(p))), key=_number)


def _number(path: pathlib.Path) -> tuple[int, str]:
    digits = re.search(r"\d+$", path.name)
    return int(digits[0]) if digits else -1, path.name
