"""Scores of training tracks by systems that are fitted to the other folds of the training part.

They choose the temperature of a classical system. The validation part, which chose its settings,
would make it too sure: its tracks are classified better than others.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import progress
from mgr_jax import workdir as workdir_lib
from mgr_jax.classical import lda, logistic, scoring, svm
from mgr_jax.data import batches
from mgr_jax.data import folds as folds_lib
from mgr_jax.data.catalog import Catalog
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import calibration
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.plural import plural

_NUM_FOLDS = 5

Params = Mapping[str, np.ndarray]


def inner_folds(catalog: Catalog, ids: Sequence[str], *, seed: int) -> np.ndarray:
    """Return the fold [N] of each of the tracks `ids` of a catalog, which keeps artists whole.

    There are no more folds than the rarest class has artists, and 5 at most; if a class has a
    single artist, tracks are drawn one by one. A recording with two labels is in no fold (-1): all
    models learn from it, none scores it.

    Raises:
      UserError: if a class has a single track.
    """
    known = set(ids)
    tracks = tuple(track for track in catalog.tracks if track.id in known)
    groups = folds_lib.artist_groups(tracks)
    fewest = min(
        sum(any(track.label == label for track in group) for group in groups)
        for label in {track.label for track in tracks}
    )
    protocol = "artist_kfold" if fewest > 1 else "kfold"
    num_folds = min(_NUM_FOLDS, fewest) if fewest > 1 else 2
    fold_of = folds_lib.assign_folds(
        dataclasses.replace(catalog, tracks=tracks),
        protocol=protocol,
        num_folds=num_folds,
        seed=seed,
    )
    return np.array([fold_of.get(name, -1) for name in ids])


def scores(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray], folds: np.ndarray, *, num_classes: int
) -> np.ndarray:
    """Return the scores [N, C] of each fold's rows by a model of all other rows.

    Args:
      score: rows to fit to and rows to score, bool [N] each -> scores of the latter.
      folds: fold [N] of each row; rows of fold -1 are only learned from, and their scores are NaN.
      num_classes: C.
    """
    values = np.full((len(folds), num_classes), np.nan)
    for fold in np.unique(folds[folds >= 0]):
        scored = folds == fold
        values[scored] = score(~scored, scored)
    return values


def log_probabilities(
    config: config_lib.Config,
    params: Params,
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    num_classes: int,
) -> np.ndarray:
    """Return the `scores` of a linear model or support vector machine with its chosen settings.

    Args:
      config: its config.
      params: the model fitted to all rows, which has the chosen settings; `lda` has none.
      x: features [N, D]. y: labels [N]. folds: see `scores`. num_classes: C.
    """
    predict = scoring.log_probabilities(config)

    def refit(rows: np.ndarray) -> Params:
        if config.model.name == "svm":
            return svm.refit(params, x[rows], y[rows], seed=config.train.seed)
        if config.model.name == "lda":
            return jax.device_get(lda.fit(x, y, num_classes=num_classes, rows=rows))
        # As many penalties as before, whose compiled program serves again; those below the chosen
        # one are not needed.
        l2 = np.maximum(config.model.l2, params["l2"])
        weight = rows.astype(np.float32)
        path = logistic.fit(x, y, num_classes=num_classes, l2=l2.tolist(), sample_weight=weight)
        return jax.device_get({name: value[l2.argmin()] for name, value in path.items()})

    def score(rows: np.ndarray, scored: np.ndarray) -> np.ndarray:
        return np.asarray(predict(refit(rows), x[scored]))

    return scores(score, folds, num_classes=num_classes)


def write_temperature(
    run: workdir_lib.Run,
    dataset: Dataset,
    params: Params,
    x: np.ndarray,
    y: np.ndarray,
    log_p: np.ndarray | None = None,
) -> None:
    """Choose the temperature of a fitted system on held-out training tracks, and write it.

    If no track can be held out, `evaluate` chooses it on the validation part.

    Args:
      run: the workdir. dataset: its data set.
      params: the system.
      x: features of the windows of the training part [W, ...]. y: their labels [W].
      log_p: their log-probabilities [W, C] by models of the other folds, NaN where there are none;
        None to compute them.
    """
    config, part = run.config, dataset.parts["train"]
    tracks = batches.windows_of(part, config_lib.window_length(config))[:, 0]
    if log_p is None:
        try:
            fold_of = inner_folds(dataset.catalog, part.ids, seed=config.train.seed)[tracks]
        except UserError:  # A class has a single track.
            return
        if any(set(y[fold_of == fold]) - set(y[fold_of != fold]) for fold in np.unique(fold_of)):
            return  # The models of a fold would not know its class.
        own = x[:, int(params["layer"])] if "layer" in params else x
        num_classes = len(dataset.catalog.labels)
        with progress.Progress("calibrate", "by models of the other folds"):
            log_p = log_probabilities(config, params, own, y, fold_of, num_classes=num_classes)
    scored = np.isfinite(log_p).any(axis=1)
    chosen, rows = np.unique(tracks[scored], return_inverse=True)
    ids = {part.ids[track] for track in chosen}
    group_of = folds_lib.group_ids(track for track in dataset.catalog.tracks if track.id in ids)
    temperature = calibration.write_temperature(
        run.path,
        tracks_lib.pool_windows(log_p[scored], rows),
        part.labels[chosen],
        checkpoint_step=0,
        groups=[group_of[part.ids[track]] for track in chosen],
        part="train",
        # Without a validation part, these tracks have chosen the layer.
        chose_model="layer" in params and not dataset.parts["valid"].ids,
    )
    count = plural(len(ids), "training track")
    print(f"calibrate temperature {temperature:.2f}, from {count} scored by models without them")
