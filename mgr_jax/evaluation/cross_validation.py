"""Cross-validation: accuracies pooled over the folds, by protocol and seed, and the leakage gap.

With one seed, every track is tested once, by a model that has not seen it, and intervals are for
other tracks, by other artists, and this one training. With several, each seed draws new folds and
trains again, and intervals are for other trainings as well (`intervals.two_way_interval`). Groups
are tracks that share an artist or a recording.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mgr_jax.data.catalog import Track
from mgr_jax.data.folds import group_ids
from mgr_jax.errors import UserError
from mgr_jax.evaluation import intervals, metrics
from mgr_jax.evaluation.results import count, f1_ends
from mgr_jax.files import parse_json, read_csv
from mgr_jax.version import VERSION

RANDOM, GROUPED = "kfold", "artist_kfold"


@dataclasses.dataclass(frozen=True)
class Fold:
    """The test part of one trained fold.

    Attributes:
      protocol, seed, fold: identity of the fold.
      correct: track id -> whether its prediction is right.
      shared_artists, shared_recordings: how many are both in its test part and outside of it.
      predicted: track id -> its predicted class; empty where only `correct` is known.
    """

    protocol: str
    seed: int
    fold: int
    correct: Mapping[str, bool]
    shared_artists: int = 0
    shared_recordings: int = 0
    predicted: Mapping[str, str] = dataclasses.field(default_factory=dict)


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
        report = parse_json((folder / "report.json").read_text(encoding="utf-8"))
        rows = read_csv(folder / "predictions.csv")
        correct = {row["track_id"]: row["label"] == row["predicted"] for row in rows}
        if len(correct) != report["n"] or sum(correct.values()) != report["num_correct"]:
            raise ValueError("predictions.csv is not that of report.json")
        predicted = {row["track_id"]: row["predicted"] for row in rows}
        shared = len(report["shared_artists"]), len(report["shared_recordings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: cannot be read ({error}); delete the folder and run the same command again"
        ) from error
    return Fold(protocol, seed, fold, correct, *shared, predicted)


def make_report(
    folds: Sequence[Fold], tracks: Sequence[Track], *, system: str, data: str
) -> dict[str, Any]:
    """Return accuracies by protocol, seed and fold, as JSON values.

    If there are folds of both `kfold` and `artist_kfold`, `leakage_gap` is the difference of their
    pooled accuracies on the tracks that both test, with its paired interval. Each protocol has the
    confusion matrix and the metrics by class of the predictions of all seeds, whose intervals take
    all predictions for a group as one draw, and so do not cover other trainings.

    Args:
      folds: all folds of all seeds and protocols.
      tracks: all tracks of the data set.
      system: name of the model. data: name of the data set.

    Raises:
      ValueError: if a track is tested twice under one seed and protocol.
    """
    groups = group_ids(tracks)
    grouped_by = "track"
    if len(set(groups.values())) < len(groups):
        grouped_by = "artist" if any(track.artist for track in tracks) else "recording"
    protocols = list(dict.fromkeys(fold.protocol for fold in folds))
    by_protocol = {
        name: _one_protocol([f for f in folds if f.protocol == name], groups, grouped_by)
        for name in protocols
    }
    labels = sorted({track.label for track in tracks})
    for name, values in by_protocol.items():
        values |= _classes([f for f in folds if f.protocol == name], tracks, labels, groups)
    report = {
        "system": system,
        "data": data,
        "labels": labels,
        "num_folds": len({fold.fold for fold in folds}),
        "num_seeds": len({fold.seed for fold in folds}),
        "num_tracks": len(groups),
        "num_groups": len(set(groups.values())),
        "grouped_by": grouped_by,
        "unknown_artists": sum(not track.artist for track in tracks),
        "protocols": by_protocol,
        "mgr_jax": VERSION,
    }
    if RANDOM in by_protocol and GROUPED in by_protocol:
        report["leakage_gap"] = _gap(folds, groups, grouped_by)
    return report


def _one_protocol(
    folds: Sequence[Fold], groups: Mapping[str, str], grouped_by: str
) -> dict[str, Any]:
    seeds = sorted({fold.seed for fold in folds})
    by_seed = [_one_seed([f for f in folds if f.seed == s], groups, grouped_by) for s in seeds]
    ids, correct = _by_seed(folds)
    accuracies = [seed["accuracy"] for seed in by_seed]
    fold_accuracies = [fold["accuracy"] for seed in by_seed for fold in seed["folds"]]
    return {
        "accuracy": float(np.mean(accuracies)),
        "ci95": _interval(ids, correct, groups, grouped_by, is_share=True),
        "n": len(ids),
        "num_groups": len({groups[name] for name in ids}),
        "seed_sd": _sd(accuracies),
        "fold_mean": float(np.mean(fold_accuracies)),
        "fold_sd": _sd(fold_accuracies),
        "seeds": by_seed,
    }


def _classes(
    folds: Sequence[Fold], tracks: Sequence[Track], labels: Sequence[str], groups: Mapping[str, str]
) -> dict[str, Any]:
    """Return the confusion matrix and the metrics by class of all predictions, as JSON values."""
    label_of = {track.id: track.label for track in tracks}
    predictions = [item for fold in folds for item in fold.predicted.items()]
    if not predictions:
        return {}
    pairs = [(labels.index(label_of[name]), labels.index(chosen)) for name, chosen in predictions]
    truth, predicted = np.array(pairs).T
    matrix = metrics.confusion_matrix(truth, predicted, len(labels))
    # Predictions of one track under several seeds are no more independent than those of an artist.
    names = [groups[name] for name, _ in predictions]
    ends = f1_ends(truth, predicted, len(labels), names).T
    intervals_of = {
        name: [float(low), float(high)] if np.isfinite(low) else None
        for name, (low, high) in zip((*labels, "macro avg"), ends, strict=False)
    }
    return {
        "confusion_matrix": matrix.tolist(),
        "per_class": metrics.per_class(matrix, tuple(labels)),
        "f1_ci95": intervals_of,
    }


def _one_seed(folds: Sequence[Fold], groups: Mapping[str, str], grouped_by: str) -> dict[str, Any]:
    ids, correct = _by_seed(folds)
    ordered = sorted(folds, key=lambda fold: fold.fold)
    rows = [_one_fold(fold, groups, grouped_by) for fold in ordered]
    accuracies = [row["accuracy"] for row in rows]
    return {
        "seed": folds[0].seed,
        **count(correct[:, 0], [groups[name] for name in ids], grouped_by=grouped_by),
        "fold_mean": float(np.mean(accuracies)),
        "fold_sd": _sd(accuracies),
        "folds": rows,
    }


def _one_fold(fold: Fold, groups: Mapping[str, str], grouped_by: str) -> dict[str, Any]:
    correct = np.array(list(fold.correct.values()), bool)
    return {
        "fold": fold.fold,
        **count(correct, [groups[name] for name in fold.correct], grouped_by=grouped_by),
        "shared_artists": fold.shared_artists,
        "shared_recordings": fold.shared_recordings,
    }


def _gap(folds: Sequence[Fold], groups: Mapping[str, str], grouped_by: str) -> dict[str, Any]:
    (ids, random), (others, grouped) = (
        _by_seed([fold for fold in folds if fold.protocol == name]) for name in (RANDOM, GROUPED)
    )
    row_of = {name: row for row, name in enumerate(others)}
    both = [row for row, name in enumerate(ids) if name in row_of]
    names = [ids[row] for row in both]
    # Training seeds of the two protocols are the same, so that their differences are paired.
    differences = random[both] - grouped[[row_of[name] for name in names]]
    return {
        "gap": float(differences.mean()),
        "ci95": _interval(names, differences, groups, grouped_by, is_share=False),
        "n": len(names),
        "num_groups": len({groups[name] for name in names}),
    }


def _by_seed(folds: Sequence[Fold]) -> tuple[list[str], np.ndarray]:
    """Return the ids of the tracks that all seeds test, sorted, and the correct predictions [N, S].

    Raises:
      ValueError: if a track is tested twice under one seed.
    """
    by_seed: dict[int, dict[str, bool]] = {}
    for fold in folds:
        correct = by_seed.setdefault(fold.seed, {})
        twice = sorted(correct.keys() & fold.correct.keys())
        if twice:
            raise ValueError(f"folds test track {twice[0]!r} twice in {fold.protocol!r}")
        correct |= fold.correct
    ids = sorted(set.intersection(*map(set, by_seed.values())))
    columns = [[by_seed[seed][name] for name in ids] for seed in sorted(by_seed)]
    return ids, np.array(columns, float).T


def _interval(
    ids: Sequence[str],
    values: np.ndarray,
    groups: Mapping[str, str],
    grouped_by: str,
    *,
    is_share: bool,
) -> list[float] | None:
    """Return the interval of the mean of `values` [N, S], over tracks and, if S > 1, seeds."""
    own = None if grouped_by == "track" else [groups[name] for name in ids]
    if values.shape[1] > 1:
        interval = intervals.two_way_interval(values, own, is_share=is_share)
    elif is_share:
        interval = count(values[:, 0] > 0, own)["ci95"]
    else:
        interval = intervals.difference_interval(values[:, 0], own)
    return None if interval is None else list(interval)


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
