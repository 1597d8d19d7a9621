"""Cross-validation: accuracies pooled over the folds, by protocol and seed, and the leakage gap.

With one seed, every track is tested once, by a model that has not seen it. With several, each seed
draws new folds and trains again, and the share of the seeds that classify a track correctly is
resampled. Intervals come from the bootstrap over groups of tracks that share an artist or a
recording; Wilson intervals, which treat tracks as independent, are given as well.
"""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mgr_jax.data.catalog import Track
from mgr_jax.data.folds import group_ids
from mgr_jax.errors import UserError
from mgr_jax.evaluation import bootstrap
from mgr_jax.evaluation.results import count
from mgr_jax.version import VERSION

RANDOM, GROUPED = "kfold", "artist_kfold"


@dataclasses.dataclass(frozen=True)
class Fold:
    """The test part of one trained fold.

    Attributes:
      protocol, seed, fold: identity of the fold.
      correct: track id -> whether its prediction is right.
      shared_artists, shared_recordings: how many are both in its test part and outside of it.
    """

    protocol: str
    seed: int
    fold: int
    correct: Mapping[str, bool]
    shared_artists: int = 0
    shared_recordings: int = 0


def is_evaluated(path: pathlib.Path) -> bool:
    """Return whether the workdir of a fold has the report of its test part."""
    return (path / "eval" / "test" / "report.json").is_file()


def read_fold(path: pathlib.Path, *, protocol: str, seed: int, fold: int) -> Fold:
    """Read the evaluation of a fold from its workdir.

    Raises:
      UserError: if there is none, or a file is damaged.
    """
    folder = path / "eval" / "test"
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        correct = {row["track_id"]: row["label"] == row["predicted"] for row in rows}
        if len(correct) != report["n"] or sum(correct.values()) != report["num_correct"]:
            raise ValueError("predictions.csv is not that of report.json")
        shared = len(report["shared_artists"]), len(report["shared_recordings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: cannot be read ({error}); delete the folder and run the same command again"
        ) from error
    return Fold(protocol, seed, fold, correct, *shared)


def make_report(
    folds: Sequence[Fold], tracks: Sequence[Track], *, system: str, data: str
) -> dict[str, Any]:
    """Return accuracies by protocol, seed and fold, as JSON values.

    If there are folds of both `kfold` and `artist_kfold`, `leakage_gap` is the difference of their
    pooled accuracies on the tracks that both test, with its paired bootstrap interval over groups.

    Args:
      folds: all folds of all seeds and protocols.
      tracks: all tracks of the data set.
      system: name of the model. data: name of the data set.

    Raises:
      ValueError: if a track is tested twice under one seed and protocol.
    """
    groups = group_ids(tracks)
    protocols = list(dict.fromkeys(fold.protocol for fold in folds))
    by_protocol = {
        name: _one_protocol([fold for fold in folds if fold.protocol == name], groups)
        for name in protocols
    }
    report = {
        "system": system,
        "data": data,
        "num_folds": len({fold.fold for fold in folds}),
        "num_seeds": len({fold.seed for fold in folds}),
        "num_tracks": len(groups),
        "num_groups": len(set(groups.values())),
        "protocols": by_protocol,
        "mgr_jax": VERSION,
    }
    if RANDOM in by_protocol and GROUPED in by_protocol:
        report["leakage_gap"] = _gap(folds, groups)
    return report


def _one_protocol(folds: Sequence[Fold], groups: Mapping[str, str]) -> dict[str, Any]:
    seeds = sorted({fold.seed for fold in folds})
    by_seed = [_one_seed([f for f in folds if f.seed == seed], groups) for seed in seeds]
    correct = _share_correct(folds)
    accuracies = [seed["accuracy"] for seed in by_seed]
    fold_accuracies = [fold["accuracy"] for seed in by_seed for fold in seed["folds"]]
    return {
        "accuracy": float(np.mean(accuracies)),
        "ci95": _interval(correct, groups),
        "n": len(correct),
        "seed_sd": _sd(accuracies),
        "fold_mean": float(np.mean(fold_accuracies)),
        "fold_sd": _sd(fold_accuracies),
        "seeds": by_seed,
    }


def _one_seed(folds: Sequence[Fold], groups: Mapping[str, str]) -> dict[str, Any]:
    correct = _share_correct(folds)
    rows = [_one_fold(fold) for fold in sorted(folds, key=lambda fold: fold.fold)]
    accuracies = [row["accuracy"] for row in rows]
    return {
        "seed": folds[0].seed,
        **count(round(sum(correct.values())), len(correct)),
        "ci95_groups": _interval(correct, groups),
        "fold_mean": float(np.mean(accuracies)),
        "fold_sd": _sd(accuracies),
        "folds": rows,
    }


def _one_fold(fold: Fold) -> dict[str, Any]:
    return {
        "fold": fold.fold,
        **count(sum(fold.correct.values()), len(fold.correct)),
        "shared_artists": fold.shared_artists,
        "shared_recordings": fold.shared_recordings,
    }


def _gap(folds: Sequence[Fold], groups: Mapping[str, str]) -> dict[str, Any]:
    random, grouped = (
        _share_correct([fold for fold in folds if fold.protocol == name])
        for name in (RANDOM, GROUPED)
    )
    differences = {name: random[name] - grouped[name] for name in random if name in grouped}
    return {
        "gap": float(np.mean(list(differences.values()))),
        "ci95": _interval(differences, groups),
        "n": len(differences),
        "num_groups": len({groups[name] for name in differences}),
    }


def _share_correct(folds: Sequence[Fold]) -> dict[str, float]:
    """Return track id -> share of the seeds that predict its class."""
    by_track: dict[str, dict[int, bool]] = {}
    for fold in folds:
        for name, correct in fold.correct.items():
            seeds = by_track.setdefault(name, {})
            if fold.seed in seeds:
                raise ValueError(f"folds test track {name!r} twice in {fold.protocol!r}")
            seeds[fold.seed] = correct
    return {name: float(np.mean(list(by_track[name].values()))) for name in sorted(by_track)}


def _interval(values: Mapping[str, float], groups: Mapping[str, str]) -> list[float] | None:
    """Return the bootstrap interval of the mean over groups; see `bootstrap.mean_interval`."""
    interval = bootstrap.mean_interval(
        np.array(list(values.values())), groups=[groups[name] for name in values]
    )
    return None if interval is None else list(interval)


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
