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

from mgr_jax.classical import stacking


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


def combine(
    networks: Mapping[str, Sequence[Fold]], ensemble: Sequence[Fold] | None
) -> tuple[dict[str, dict[str, bool]], list[str]]:
    """Combine networks with one another and with the ensemble, fold by fold.

    Args:
      networks: name -> its folds. ensemble: those of the ensemble, if it was run.

    Returns:
      Name of a row -> track id -> whether it is right: `network`, that with the lowest loss of the
      validation part; `networks`, all with the weights of `stacking.fit_weights` on that part; and
      `member`, the same with the ensemble among them. And what was chosen in each fold.
    """
    rows: dict[str, dict[str, bool]] = {"network": {}}
    stacks = {"networks": networks}
    if ensemble is not None:
        stacks["member"] = {"recipe": ensemble, **networks}
    chosen = []
    for number in range(len(next(iter(networks.values())))):
        best = min(networks, key=lambda name: networks[name][number]["valid"].loss())
        rows["network"] |= networks[best][number]["test"].correct()
        notes = [best]
        for row, systems in stacks.items():
            test, weights = _stack([folds[number] for folds in systems.values()])
            rows.setdefault(row, {}).update(test.correct())
            used = [(n, w) for n, w in zip(systems, weights, strict=True) if w >= 0.005]
            notes.append(", ".join(f"{name} {weight:.2f}" for name, weight in used) or "none")
        chosen.append(f"fold {number}: {'; '.join(notes)}")
    return rows, chosen


def _stack(folds: Sequence[Fold]) -> tuple[Scores, np.ndarray]:
    """Return the test part by all systems, and their weights, fitted to the validation part."""
    valid, test = ([fold[part] for fold in folds] for part in ("valid", "test"))
    weights = stacking.fit_weights(np.stack([each.log_p for each in valid]), valid[0].labels)
    log_p = stacking.combine(np.stack([each.log_p for each in test]), weights)
    return test[0]._replace(log_p=log_p), weights
