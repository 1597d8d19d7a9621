"""Scores of all tracks of a data set by models of other artists, to check its labels with."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import named_configs
from mgr_jax.classical import fitting, logistic
from mgr_jax.data import batches
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data import folds as folds_lib
from mgr_jax.data.catalog import Catalog
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.evaluation.scores import normalize

# Assignments of folds over which scores are averaged.
NUM_REPEATS = 3
_MAX_FOLDS = 5


class Data(NamedTuple):
    """N tracks with their features and labels.

    Attributes:
      config: a `checking_config`. catalog: their catalog.
      features: of W windows, [W, D]. windows: the track of each, int [W].
      labels: given labels, int [N]. groups: artists [N].
    """

    config: config_lib.Config
    catalog: Catalog
    features: np.ndarray
    windows: np.ndarray
    labels: np.ndarray
    groups: tuple[str, ...]

    def with_labels(self, labels: np.ndarray) -> "Data":
        """Return the same tracks with other labels [N]."""
        names = self.catalog.labels
        tracks = tuple(
            dataclasses.replace(track, label=names[label])
            for track, label in zip(self.catalog.tracks, labels, strict=True)
        )
        return self._replace(
            catalog=dataclasses.replace(self.catalog, tracks=tracks), labels=np.asarray(labels)
        )


class Scored(NamedTuple):
    """The tracks of `Data`, scored by models that have not learned from their artist.

    Attributes:
      ids: tracks [N]. names: of the classes [C]. groups: artists [N].
      log_probabilities: [N, C].
      method: the system and its folds, in words.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    log_probabilities: np.ndarray
    method: str


def checking_config(config: config_lib.Config) -> config_lib.Config:
    """Return the config of the fast system that checks the labels of the data of `config`.

    That is logistic regression on the features of a classical system, and on MFCCs in place of a
    network.

    Raises:
      UserError: for networks and ensembles on arrays, whose features these systems do not take.
    """
    name = config.model.name
    if name == "logistic":
        return config
    if name in ("svm", "lda"):
        own = dataclasses.replace(config.model, name="logistic")
        return dataclasses.replace(config, model=own)
    if config.data.name in config_lib.ARRAY_NAMES:
        raise UserError(
            f"--labels: model.name {name!r} is too slow to fit in folds; give a config of logistic"
            " regression, such as experiments/configs/gtzan_arrays.py:logistic"
        )
    return dataclasses.replace(named_configs.get("logistic"), data=config.data)


def open_data(config: config_lib.Config) -> Data:
    """Return the readable tracks of the data of a `checking_config`, with their features.

    Raises:
      UserError: see `dataset.open_catalog`.
    """
    catalog, store = dataset_lib.open_catalog(config)
    tracks = tuple(track for track in catalog.tracks if track.id in store.row)
    names = tuple(sorted({track.label for track in tracks}))
    catalog = dataclasses.replace(catalog, tracks=tracks, labels=names)
    label_of = {track.id: track.label for track in tracks}
    part = batches.make_part(store, list(label_of), label_of, names)
    x, _ = fitting.extract(config, part)
    if x.ndim == 3:  # Layers of an encoder.
        x = x.mean(axis=1)
    windows = batches.windows_of(part, config_lib.window_length(config))[:, 0]
    group_of = folds_lib.group_ids(tracks)
    groups = tuple(group_of[name] for name in part.ids)
    return Data(config, catalog, x, windows, part.labels, groups)


def score(data: Data, *, seed: int = 0) -> Scored:
    """Return the mean scores over `NUM_REPEATS` assignments of at most 5 folds, by artist.

    Raises:
      UserError: if a class has a single artist.
    """
    total = 0.0
    for repeat in range(NUM_REPEATS):
        folds = _folds(data, seed=seed + repeat)
        log_p = log_probabilities(
            data.features,
            data.labels[data.windows],
            folds[data.windows],
            num_classes=len(data.catalog.labels),
            l2=data.config.model.l2,
        )
        total = total + np.exp(tracks_lib.pool_windows(log_p, data.windows))
    by = "artist" if len(set(data.groups)) < len(data.groups) else "track"
    count = f"{NUM_REPEATS} x {folds.max() + 1} folds by {by}"
    return Scored(
        tuple(track.id for track in data.catalog.tracks),
        data.catalog.labels,
        data.groups,
        normalize(np.log(total + 1e-300)),
        f"logistic regression on {data.config.features.kind}, {count}",
    )


def _folds(data: Data, *, seed: int) -> np.ndarray:
    """Return the fold [N] of each track.

    Groups stand for artists, so that recordings with two labels are in a fold as well.
    """
    tracks = tuple(
        dataclasses.replace(track, artist=group, recording="")
        for track, group in zip(data.catalog.tracks, data.groups, strict=True)
    )
    artists = collections.defaultdict(set)
    for track in tracks:
        artists[track.label].add(track.artist)
    label, own = min(artists.items(), key=lambda item: len(item[1]))
    if len(own) < 2:
        raise UserError(
            f"--labels: class {label!r} has a single artist, so that models of other artists do not"
            " know it; add tracks of another artist"
        )
    folds = folds_lib.assign_folds(
        dataclasses.replace(data.catalog, tracks=tracks),
        protocol="artist_kfold",
        num_folds=min(_MAX_FOLDS, len(own)),
        seed=seed,
    )
    return np.array([folds[track.id] for track in tracks])


def log_probabilities(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, *, num_classes: int, l2: Sequence[float]
) -> np.ndarray:
    """Return the log-probabilities [W, C] of windows by models of the other folds.

    The penalty is the one of least log loss over all folds, so that no model is surer of itself
    than it is right: what it is sure of and wrong about would count as a wrong label.

    Args:
      x: features [W, D]. y: labels, int [W]. folds: fold of each window, int [W].
      num_classes: C. l2: penalties to choose from.
    """
    log_p = np.zeros((len(l2), len(y), num_classes))
    for fold in np.unique(folds):
        scored = folds == fold
        weight = (~scored).astype(np.float32)
        path = logistic.fit(x, y, num_classes=num_classes, l2=list(l2), sample_weight=weight)
        # Of all windows, which compiles once.
        values = np.asarray(jax.vmap(logistic.log_probabilities, (0, None))(path, x))
        log_p[:, scored] = values[:, scored]
    return log_p[log_p[:, np.arange(len(y)), y].mean(axis=1).argmax()]
