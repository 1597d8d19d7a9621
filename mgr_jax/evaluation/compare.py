"""Comparison of systems on the same tracks: differences, tests and the power of the test set."""

import csv
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.errors import UserError
from mgr_jax.evaluation import bootstrap, stats
from mgr_jax.evaluation.results import count

_ALPHA = 0.05
# Protocol of predictions that somebody else made, see `predictions_file`.
FROM_FILE = "from a file"
# Fields of a report that are used here.
_FIELDS = {"system", "data", "part", "protocol", "accuracy", "ci95", "n", "num_correct"} | {
    "checkpoint_step", "split_hash", "shared_artists", "shared_recordings", "labels", "per_class"
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one system on one part, as `experiments.evaluate` wrote them.

    Attributes:
      workdir: path of the workdir.
      report: content of `report.json`.
      ids: tracks of the part, sorted.
      labels: their true classes [N].
      correct: whether the prediction is right, bool [N].
      groups: group of each track, which shares an artist or a recording [N].
    """

    workdir: str
    report: dict[str, Any]
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    correct: np.ndarray
    groups: tuple[str, ...]


def read(workdir: str, part: str) -> Evaluation:
    """Read `eval/<part>/` of a workdir.

    Raises:
      UserError: if it was not evaluated, or a file is damaged.
    """
    folder = pathlib.Path(workdir) / "eval" / part
    command = f"python -m experiments.evaluate --workdir={workdir} --split={part}"
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        rows = _rows(folder / "predictions.csv")
        group_of = _groups(folder / "tracks.csv")
        labels = tuple(row["label"] for row in rows)
        correct = np.array([row["label"] == row["predicted"] for row in rows], bool)
        ids = tuple(row["track_id"] for row in rows)
        complete = len(set(ids)) == len(ids) == report["n"]
        complete &= correct.sum() == report["num_correct"]
        complete &= not _FIELDS - report.keys()
    except FileNotFoundError as error:
        raise UserError(
            f"--workdirs: {workdir} has no {error.filename and pathlib.Path(error.filename).name}"
            f" for its {part} part; run {command} first"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"--workdirs: {folder} is damaged; run {command} again") from error
    if not complete:
        raise UserError(
            f"--workdirs: {folder}: report.json and predictions.csv do not agree; run {command}"
            " again"
        )
    groups = tuple(group_of.get(name, name) for name in ids)
    return Evaluation(workdir, report, ids, labels, correct, groups)


def has_folds(path: str) -> bool:
    """Return whether the folder has the folds of `experiments.cross_validate`."""
    return next(pathlib.Path(path).glob("fold*/eval"), None) is not None


def read_folds(path: str, part: str) -> Evaluation:
    """Read all folds of a folder DIR/<protocol>/seed<k> of a cross-validation as one evaluation.

    Raises:
      UserError: if a fold was not evaluated, or a file is damaged; if a track is in two.
    """
    folders = sorted(pathlib.Path(path).glob("fold*"))
    folds = [read(str(folder), part) for folder in folders]
    rows = [
        row
        for fold in folds
        for row in zip(fold.ids, fold.labels, fold.correct, fold.groups, strict=True)
    ]
    ids, labels, correct, groups = zip(*sorted(rows), strict=True)
    if len(set(ids)) < len(ids):
        raise UserError(f"--workdirs: {path} has tracks in two folds of part {part!r}")
    reports = [fold.report for fold in folds]
    report = reports[0] | count(sum(map(int, correct)), len(ids))
    report["split_hash"] = " ".join(report["split_hash"] for report in reports)
    for name in ("shared_artists", "shared_recordings"):
        report[name] = sorted({x for fold in reports for x in fold[name]})
    return Evaluation(path, report, ids, labels, np.array(correct, bool), groups)


def compare(systems: Sequence[Evaluation], names: Sequence[str]) -> dict[str, Any]:
    """Compare every pair of systems on the same tracks, as JSON values.

    A pair has the difference of the accuracies (second minus first) with its paired bootstrap
    interval, McNemar's test, and the smallest difference that the part shows with a power of 80 %.
    If artists repeat, the interval and the deciding test are by artist (`sign_flip_test`), and n
    is divided by the design effect. The p value that decides is corrected by Holm's method over
    the pairs.

    Args:
      systems: two or more.
      names: a name for each.

    Raises:
      UserError: if there are fewer than two, or their tracks or true labels differ.
    """
    if len(systems) < 2:
        raise UserError("--workdirs: one workdir only; give two or more, separated by commas")
    for other, name in zip(systems[1:], names[1:], strict=True):
        _check_same(systems[0], names[0], other, name)
    first = systems[0]
    groups = None if len(set(first.groups)) == len(first.groups) else first.groups
    pairs = [
        _pair(systems[i], names[i], systems[j], names[j], groups)
        for i, j in itertools.combinations(range(len(systems)), 2)
    ]
    for field in ("p", "mcnemar_exact", "mcnemar_mid_p"):
        for pair, p in zip(pairs, stats.holm([pair[field] for pair in pairs]), strict=True):
            pair[f"{field}_holm"] = p
    for pair in pairs:
        pair["distinguishable"] = pair["p_holm"] < _ALPHA
        pair["verdict"] = _verdict(pair, len(first.ids), len(pairs))
    return describe_part(systems, names) | {"pairs": pairs, "notes": _notes(systems, names)}


def describe_part(systems: Sequence[Evaluation], names: Sequence[str]) -> dict[str, Any]:
    """Return the result of `compare` without its pairs and notes."""
    first = systems[0]
    return {
        "part": first.report["part"],
        "data": first.report["data"],
        "n": len(first.ids),
        "num_groups": len(set(first.groups)),
        "systems": [_describe_system(s, name) for s, name in zip(systems, names, strict=True)],
        "pairs": [],
        "correction": "holm",
        "notes": [],
    }


def short_names(workdirs: Sequence[str]) -> list[str]:
    """Return the last folders of each path, as many as it takes to make them distinct.

    Raises:
      UserError: if a path is repeated.
    """
    parts = [pathlib.PurePath(workdir).parts or (workdir,) for workdir in workdirs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError("--workdirs: a workdir stands there twice; name each once")


def _pair(
    first: Evaluation,
    first_name: str,
    second: Evaluation,
    second_name: str,
    groups: Sequence[str] | None,
) -> dict[str, Any]:
    test = stats.mcnemar(first.correct, second.correct)
    differences = second.correct.astype(float) - first.correct
    interval = bootstrap.mean_interval(differences, groups=groups)
    effect, artist_p = 1.0, None
    if groups is not None:
        artist_p = stats.sign_flip_test(first.correct, second.correct, groups)
        effect = max(1.0, stats.design_effect(differences, groups))
    n = len(differences)
    discordant = (test.only_first + test.only_second) / n
    difference = float(differences.mean())
    needed = None
    if difference:
        needed = round(effect * stats.needed_n(abs(difference), discordant=discordant))
    effective_n = max(1, int(n / effect))
    return {
        "first": first_name,
        "second": second_name,
        "difference": difference,
        "ci95": interval and list(interval),
        "only_first": test.only_first,
        "only_second": test.only_second,
        "mcnemar_exact": test.exact,
        "mcnemar_mid_p": test.mid_p,
        "artist_p": artist_p,
        "p": test.mid_p if artist_p is None else artist_p,
        "p_test": "mcnemar_mid_p" if artist_p is None else "artist_p",
        "design_effect": effect,
        "detectable_difference": stats.smallest_difference(effective_n, discordant=discordant),
        "needed_n": needed,
    }


def _verdict(pair: dict[str, Any], n: int, num_pairs: int) -> str:
    test = "McNemar mid-p" if pair["p_test"] == "mcnemar_mid_p" else "by artist"
    holm = f", Holm over {num_pairs} pairs" if num_pairs > 1 else ""
    p = f"p = {format_p(pair['p_holm'])} ({test}{holm})"
    if pair["distinguishable"]:
        better, worse = pair["first"], pair["second"]
        if pair["difference"] > 0:
            better, worse = worse, better
        return f"{better} is better than {worse} at n = {n}, {p}"
    text = f"not distinguishable at n = {n}, {p}"
    smallest = pair["detectable_difference"]
    if smallest is None:
        text += "; this n shows no difference at all"
    else:
        text += f"; a difference of {100 * smallest:.1f} points would have been needed"
    if pair["needed_n"] and pair["needed_n"] > n:
        size = abs(100 * pair["difference"])
        text += f", or {pair['needed_n']} such tracks to see {size:.1f} points"
    return text + " (power 80 %)"


def _check_same(first: Evaluation, first_name: str, second: Evaluation, second_name: str) -> None:
    if first.ids != second.ids:
        ours, theirs = set(first.ids), set(second.ids)
        only = sorted(ours ^ theirs)
        where = first_name if only[0] in ours else second_name
        raise UserError(
            f"--workdirs: different test sets: {first_name} has {len(ours)} tracks, {second_name}"
            f" {len(theirs)}, and {len(only)} are in one of them only ({only[0]!r} in {where});"
            " compare systems that were tested on the same tracks"
        )
    for name, ours, theirs in zip(first.ids, first.labels, second.labels, strict=True):
        if ours != theirs:
            raise UserError(
                f"--workdirs: different test sets: {name!r} is {ours!r} in {first_name} and"
                f" {theirs!r} in {second_name}; compare systems that were tested on the same labels"
            )


def _describe_system(system: Evaluation, name: str) -> dict[str, Any]:
    report = system.report
    fields = ("system", "protocol", "accuracy", "ci95", "n", "num_correct", "checkpoint_step")
    return {"name": name, "workdir": system.workdir} | {field: report[field] for field in fields}


def _notes(systems: Sequence[Evaluation], names: Sequence[str]) -> list[str]:
    """Return remarks on differences between the runs other than the model."""
    notes = []
    reports = [system.report for system in systems]
    files = [n for n, report in zip(names, reports, strict=True) if report["protocol"] == FROM_FILE]
    if files:
        notes.append(f"what {', '.join(files)} learned from is unknown, and may be these tracks")
        reports = [report for report in reports if report["protocol"] != FROM_FILE]
    if len({report["protocol"] for report in reports}) > 1:
        notes.append("the runs have different protocols: they learned from different tracks")
    elif len({report["split_hash"] for report in reports}) > 1:
        notes.append("the runs have different splits: they learned from different tracks")
    leaks = [
        name
        for name, system in zip(names, systems, strict=True)
        if system.report["shared_artists"] or system.report["shared_recordings"]
    ]
    if leaks:
        notes.append(f"artists or recordings are on both sides of the split of {', '.join(leaks)}")
    return notes


def _rows(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["track_id"])


def _groups(path: pathlib.Path) -> dict[str, str]:
    if not path.exists():  # Earlier versions did not write it.
        return {}
    return {row["track_id"]: row["group"] for row in _rows(path)}


def format_p(value: float) -> str:
    """Format a p value with two digits."""
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
