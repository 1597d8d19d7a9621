"""Networks beside the ensemble of `experiments.arrays`: every choice by the validation part.

The validation part of a fold shares no artist with its training and its test part, and none of the
systems learned from it. What it chooses in a fold is scored on that fold's test part alone, so that
the scores are nested.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

# Weights of the networks in the geometric mean with the ensemble.
WEIGHTS = np.linspace(0.0, 1.0, 21)


class Scores(NamedTuple):
    """Tracks of a part: their ids, labels int [N] and log-probabilities [N, C]."""

    ids: Sequence[str]
    labels: np.ndarray
    log_p: np.ndarray

    def loss(self) -> float:
        """Return the mean cross entropy in nats."""
        return float(-self.log_p[np.arange(len(self.labels)), self.labels].mean())

    def correct(self) -> dict[str, bool]:
        """Return track id -> whether its prediction is right."""
        return dict(zip(self.ids, (self.log_p.argmax(1) == self.labels).tolist(), strict=True))


# Part, `valid` or `test` -> its scores by the system of a fold.
Fold = Mapping[str, Scores]


def read_fold(path: str | os.PathLike) -> Fold:
    """Return the scores of the validation and the test part by the system in the workdir `path`.

    They are kept there in `scores.npz`.
    """
    file = pathlib.Path(path) / "scores.npz"
    if not file.exists():
        from mgr_jax import files, predictor
        from mgr_jax.data import dataset

        system, values = predictor.load(path), {}
        for name in ("valid", "test"):
            part = dataset.open_part(system.config, system.run.split, name).parts[name]
            values[f"{name}_ids"], values[f"{name}_labels"] = np.array(part.ids), part.labels
            values[f"{name}_log_p"] = system.score_tracks(part)
        files.write_arrays(file, values)
    with np.load(file) as values:
        return {
            name: Scores(
                values[f"{name}_ids"].tolist(), values[f"{name}_labels"], values[f"{name}_log_p"]
            )
            for name in ("valid", "test")
        }


def blend(scores: Sequence[Scores], weights: Sequence[float] | np.ndarray) -> Scores:
    """Return the weighted geometric mean of the probabilities of the same tracks."""
    log_p = sum(weight * each.log_p for weight, each in zip(weights, scores, strict=True))
    log_p = log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)
    return Scores(scores[0].ids, scores[0].labels, log_p)


def combine(
    networks: Mapping[str, Sequence[Fold]], ensemble: Sequence[Fold] | None
) -> tuple[dict[str, dict[str, bool]], list[str]]:
    """Combine networks with one another and with the ensemble, fold by fold.

    Args:
      networks: name -> its folds. ensemble: those of the ensemble, if it was run.

    Returns:
      Name of a row -> track id -> whether it is right: `network`, that with the lowest loss of the
      validation part; `networks`, the geometric mean of all, unweighted; and `member`, this mean
      with the ensemble, its weight being that of the lowest loss. And what was chosen in each fold.
    """
    rows: dict[str, dict[str, bool]] = {"network": {}, "networks": {}}
    if ensemble is not None:
        rows["member"] = {}
    chosen = []
    for number in range(len(next(iter(networks.values())))):
        folds = {name: folds[number] for name, folds in networks.items()}
        best = min(folds, key=lambda name: folds[name]["valid"].loss())
        rows["network"] |= folds[best]["test"].correct()
        equal = np.full(len(folds), 1 / len(folds))
        means = {
            part: blend([fold[part] for fold in folds.values()], equal)
            for part in ("valid", "test")
        }
        rows["networks"] |= means["test"].correct()
        note = f"fold {number}: {best}"
        if ensemble is not None:
            pairs = {part: (ensemble[number][part], means[part]) for part in means}
            losses = [blend(pairs["valid"], (1 - w, w)).loss() for w in WEIGHTS]
            weight = WEIGHTS[int(np.argmin(losses))]
            rows["member"] |= blend(pairs["test"], (1 - weight, weight)).correct()
            note += f", weight {weight:.2f}"
        chosen.append(note)
    return rows, chosen
