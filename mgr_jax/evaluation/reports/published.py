"""The numbers of systems for a paper: of each and of its classes, with intervals and origin.

A system is one training, or several: the seeds of a cross-validation, whose numbers are means.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mgr_jax.data import gtzan
from mgr_jax.data.folds import PROTOCOLS
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.evaluation import compare, intervals, metrics, pooled
from mgr_jax.evaluation.results import count, f1_ends
from mgr_jax.files import csv_text, json_digest, parse_json

OVERALL = "macro avg"
# Folders of a cross-validation below its own.
_LEVEL = re.compile(rf"fold\d+|seed\d+|{'|'.join(PROTOCOLS)}")
_FIELDS = (
    "class", "accuracy", "accuracy_low", "accuracy_high", "accuracy_interval", "n", "num_correct",
    "num_groups", "grouped_by", "precision", "f1", "f1_low", "f1_high", "f1_interval",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class System:
    """A system to publish.

    Attributes:
      name: as in the tables.
      seeds: its evaluations on the same tracks, one a training.
    """

    name: str
    seeds: tuple[compare.Evaluation, ...]

    @property
    def report(self) -> dict[str, Any]:
        """Return the report of the first training."""
        return self.seeds[0].report

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the config of the first training as JSON values; empty if it is not known."""
        return self.report.get("provenance", {}).get("config", {})


def read(paths: Sequence[str], part: str) -> list[System]:
    """Read workdirs and folders of cross-validations; of the latter, each protocol is a system.

    Raises:
      UserError: see `pooled.read` and `compare.short_names`.
    """
    return [
        System(f"{name}, {protocol}" if protocol else name, seeds)
        for path, name in zip(paths, _names(paths), strict=True)
        for protocol, seeds in pooled.read(path, part).items()
    ]


def leakage_gaps(paths: Sequence[str]) -> list[list[tuple[str, dict[str, Any]]]]:
    """Return name and `report.json` of the cross-validations that have a leakage gap.

    Those of a list have the same data and the same number of folds and seeds.

    Raises:
      UserError: if a file is damaged.
    """
    gaps: dict[tuple, list[tuple[str, dict[str, Any]]]] = {}
    for path, name in zip(paths, _names(paths), strict=True):
        file = pathlib.Path(path) / "report.json"
        try:
            values = parse_json(file.read_text(encoding="utf-8")) if file.exists() else {}
            if "leakage_gap" in values and values["grouped_by"] != "track":
                key = [values.get(field) for field in ("data", "data_hash", "grouped_by")]
                key += [values["num_folds"], values["num_seeds"], values["leakage_gap"]["n"]]
                gaps.setdefault(tuple(key), []).append((name, values))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"{file}: cannot be read ({error}); run cross_validate again"
            ) from error
    return list(gaps.values())


def sections(systems: Sequence[System]) -> list[list[System]]:
    """Group systems by test set, number of trainings and, of folds, protocol; the best first."""
    groups: dict[tuple, list[System]] = {}
    for system in systems:
        first = system.seeds[0]
        is_folded = first.report["checkpoint_step"] is None
        protocol = first.report["protocol"] if is_folded else ""
        key = first.ids, first.labels, len(system.seeds), protocol
        groups.setdefault(key, []).append(system)
    return [
        sorted(group, key=lambda s: (-_mean_accuracy(s), s.name))
        for group in sorted(groups.values(), key=len, reverse=True)
    ]


def measure(system: System) -> dict[str, Any]:
    """Return the accuracy, macro F1 and results by class of a system, as JSON values.

    Returns:
      The fields of `results.count` without `ci95_wilson` (`num_correct` is None for several
      trainings), `interval`, the method of `ci95`; `num_seeds`; `classes`, by name and for
      `macro avg` the same with `precision`, `recall`, `f1`, `f1_ci95` and `f1_interval`; and
      `confusion_matrix` [C, C], the sum over the trainings.

    Raises:
      UserError: if a predicted class is unknown.
    """
    labels = system.report["labels"]
    index = {label: i for i, label in enumerate(labels)}
    ids = sorted(set.intersection(*(set(seed.ids) for seed in system.seeds)))
    try:
        columns = [_predictions(seed, ids, index) for seed in system.seeds]
    except KeyError as error:
        raise UserError(
            f"{system.seeds[0].workdir}: predicted class {error} is none of its labels; evaluate"
            " it again"
        ) from error
    truth, predicted = columns[0][0], np.stack([column[1] for column in columns], axis=1)
    first = system.seeds[0]
    group_of = dict(zip(first.ids, first.groups, strict=True))
    groups = np.array([group_of[name] for name in ids])
    matrices = [metrics.confusion_matrix(truth, row, len(labels)) for row in predicted.T]
    by_seed = [metrics.per_class(matrix, tuple(labels)) for matrix in matrices]
    correct = predicted == truth[:, None]
    whole = _share(correct, groups, first.grouped_by)
    grouped = None if whole["grouped_by"] == "track" else groups
    ends = np.full((2, len(labels) + 2), np.nan)
    if len(columns) == 1:
        ends = f1_ends(truth, predicted[:, 0], len(labels), grouped)
    classes = {}
    for i, name in enumerate((*labels, OVERALL)):
        own = truth == i if name != OVERALL else np.ones(len(ids), bool)
        mean = {
            field: float(np.mean([report[name][field] for report in by_seed]))
            for field in ("precision", "recall", "f1")
        }
        has_ends = np.isfinite(ends[0, i])
        f1_ci95 = [float(end) for end in ends[:, i]] if has_ends else None
        interval = _method(whole["grouped_by"], 1) if has_ends else ""
        values = _share(correct[own], groups[own], first.grouped_by) if own.any() else _NO_TRACKS
        classes[name] = {**values, **mean, "f1_ci95": f1_ci95, "f1_interval": interval}
    return {
        **whole,
        "num_seeds": len(columns),
        "classes": classes,
        "confusion_matrix": np.sum(matrices, axis=0),
    }


def to_csv(systems: Sequence[System], measured: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a row for each system (`class` is empty) and for each of its classes.

    `accuracy` of a class is its recall. The other fields of a system are those of its first
    training: hashes are SHA-256, versions those that trained it. An empty cell is not defined.
    """
    origins = [_origin(system) for system in systems]
    head = list(dict.fromkeys(name for origin in origins for name in origin))
    rows = []
    for system, values, origin in zip(systems, measured, origins, strict=True):
        for name, row in (("", values | values["classes"][OVERALL]), *values["classes"].items()):
            if name == OVERALL:
                continue
            numbers = {
                "class": name,
                **{field: row[field] for field in ("accuracy", "n", "num_correct", "num_groups")},
                **{field: row[field] for field in ("grouped_by", "precision", "f1")},
                "accuracy_interval": row["interval"],
                "f1_interval": row["f1_interval"],
            }
            for field, ci95 in (("accuracy", row["ci95"]), ("f1", row["f1_ci95"])):
                low, high = ci95 or (None, None)
                numbers |= {f"{field}_low": low, f"{field}_high": high}
            cells = [*map(numbers.get, _FIELDS), values["num_seeds"], *map(origin.get, head)]
            rows.append([system.name, *map(_cell, cells)])
    return csv_text(["run", *_FIELDS, "num_seeds", *head], rows)


def is_gtzan(system: System) -> bool:
    """Return whether the tracks are those of GTZAN."""
    facts = gtzan.facts()
    return all(name in facts for name in system.seeds[0].ids)


_NO_TRACKS = {
    "accuracy": None, "ci95": None, "n": 0, "num_correct": 0, "num_groups": 0, "grouped_by": "",
    "interval": "",
}  # fmt: skip


def _names(paths: Sequence[str]) -> list[str]:
    """Return `compare.short_names`, with the folder of a cross-validation before its `seed<k>`."""
    names = []
    for path, name in zip(paths, compare.short_names(paths), strict=True):
        parts = pathlib.PurePath(path).parts
        depth = len(pathlib.PurePath(name).parts)
        while depth < len(parts) and _LEVEL.fullmatch(parts[-depth]):
            depth += 1
        names.append(printable("/".join(parts[-depth:])) if parts else name)
    return names


def _share(correct: np.ndarray, groups: np.ndarray, grouped_by: str) -> dict[str, Any]:
    """Return the fields of an accuracy of answers [N, S] by S trainings."""
    values = count(correct[:, 0], groups, grouped_by=grouped_by)
    del values["ci95_wilson"]
    if correct.shape[1] > 1:
        own = None if values["grouped_by"] == "track" else groups
        ends = intervals.two_way_interval(correct.astype(float), own, is_share=True)
        values |= {"accuracy": float(correct.mean()), "num_correct": None}
        values["ci95"] = None if ends is None else list(ends)
    method = _method(values["grouped_by"], correct.shape[1]) if values["ci95"] else ""
    return values | {"interval": method}


def _method(grouped_by: str, num_seeds: int) -> str:
    if num_seeds > 1:
        return f"wilson_by_{grouped_by}_and_seed"
    return "wilson" if grouped_by == "track" else f"wilson_at_effective_n_by_{grouped_by}"


def _predictions(
    seed: compare.Evaluation, ids: Sequence[str], index: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted classes of `ids`, int [N] each."""
    true_of = dict(zip(seed.ids, seed.labels, strict=True))
    predicted_of = dict(zip(seed.ids, seed.predicted, strict=True))
    return (
        np.array([index[true_of[name]] for name in ids], int),
        np.array([index[predicted_of[name]] for name in ids], int),
    )


def _mean_accuracy(system: System) -> float:
    return float(np.mean([seed.correct.mean() for seed in system.seeds]))


def _origin(system: System) -> dict[str, Any]:
    report = system.report
    trained = report.get("provenance", {}).get("trained_with", {})
    fields = ("system", "data", "part", "protocol", "checkpoint_step")
    values = {name: report[name] for name in fields}
    values["config_hash"] = json_digest(system.config) if system.config else ""
    values |= {name: report.get(name, "") for name in ("data_hash", "split_hash")}
    values["git_commit"] = trained.get("git_commit", "")
    versions = trained.get("versions", {})
    return values | {f"version_{name}": version for name, version in versions.items()}


def _cell(value: Any) -> Any:
    return f"{value:.6f}" if isinstance(value, float) else "" if value is None else value
