"""Fits a classical system in a workdir, and reads it back."""

import collections
import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import jax
import numpy as np

from mgr_jax import array_file, cores, parallel, progress
from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.classical import (
    held_out,
    layers,
    lda,
    logistic,
    scoring,
    svm,
    transfer,
    vector_cache,
)
from mgr_jax.data import batches, clips
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.files import write_arrays, write_whole
from mgr_jax.plural import plural

_FILE = "model/params.npz"
# Largest batches of windows of clips, which are allocated as a whole, and of features.
_MAX_BATCH, _MAX_SCORED = 8, 64

Params = dict[str, np.ndarray]


def train(config: config_lib.Config, dataset: Dataset, run: workdir_lib.Run) -> None:
    """Fit the system of `config` on the training part and choose its settings by validation.

    Writes `model/params.npz`, `metrics.jsonl`, which has a line for each setting tried, and
    `eval/temperature.json`. A model that the workdir already holds is kept.

    Raises:
      UserError: if a feature is not finite, or the clips do not suit the model.
    """
    if (run.path / _FILE).exists():
        try:
            load_params(run)
        except UserError as error:
            print(f"again     {error}")
        else:
            print("resume    the model is fitted already")
            workdir_lib.set_status(run.path, "done")
            return
    workdir_lib.set_status(run.path, "running")
    x, y = extract(config, dataset.parts["train"])
    params: dict[str, Any]
    log_p = None
    if config.features.kind == "embedding" and x.ndim == 3:
        params, records = _fit_best_layer(config, dataset, x, y)
    elif config.model.name == "ensemble":
        params, records, log_p = _fit_ensemble(config, dataset, x, y)
    elif config.model.name == "lda":
        print(f"features  {' x '.join(map(str, x.shape))} to train on")
        _check_finite("train", x)
        with progress.Progress("fit", config.model.name):
            params, records = _fit_lda(config, len(dataset.catalog.labels), x, y)
    else:
        x_valid, y_valid = extract(config, dataset.parts["valid"])
        print(f"features  {x.shape[0]} x {x.shape[1]} to train on, {len(x_valid)} to validate on")
        _check_finite("train", x)
        _check_finite("valid", x_valid)
        fit = _FITS[config.model.name]
        with progress.Progress("fit", config.model.name):
            params, records = fit(config, len(dataset.catalog.labels), x, y, x_valid, y_valid)
    held_out.write_temperature(run, dataset, params, x, y, log_p)
    if config.features.kind == "musicnn":
        with progress.Progress("fit", "the distance to the training tracks"):
            params = dict(params) | _fit_distance(config, dataset, x, y)
    if config.model.name == "svm":
        print(f"svm       {len(params['components'])} principal components, C = {params['c']:g}")
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_whole(run.path / "metrics.jsonl", lines)
    (run.path / _FILE).parent.mkdir(exist_ok=True)
    write_arrays(run.path / _FILE, params)
    workdir_lib.set_status(run.path, "done")


def count_parameters(run: workdir_lib.Run) -> int:
    """Return how many numbers the fitted model has, including means, scales and components.

    Those of the distance to the training tracks do not count.

    Raises:
      UserError: see `load_params`.
    """
    return sum(
        value.size
        for name, value in load_params(run).items()
        if value.ndim and not name.startswith(transfer.UNLIKE)
    )


def load_params(run: workdir_lib.Run) -> Params:
    """Return the arrays of the fitted model, by name.

    Raises:
      UserError: if the workdir has no fitted model, or its file is damaged.
    """
    path = run.path / _FILE
    try:
        params = array_file.read(path)
        scoring.check_params(run.config, params, num_classes=len(run.labels))
    except FileNotFoundError as error:
        raise UserError(f"workdir {run.path}: no model in it yet; train first") from error
    except (OSError, ValueError) as error:
        reason = array_file.reason_of(error)
        raise UserError(f"{path}: is damaged; train again to write it anew ({reason})") from error
    return params


def _fit_logistic(
    config: config_lib.Config,
    num_classes: int,
    x: np.ndarray,
    y: np.ndarray,
    x_valid: np.ndarray,
    y_valid: np.ndarray,
) -> tuple[Params, list[dict[str, Any]]]:
    path = jax.device_get(logistic.fit(x, y, num_classes=num_classes, l2=config.model.l2))
    chosen = jax.device_get(logistic.select(path, x_valid, y_valid))
    records = []
    for step, l2 in enumerate(config.model.l2):
        params = {name: value[step] for name, value in path.items()}
        record = {"step": step, "l2": l2, "train_loss": float(params["loss"])}
        for part, features, labels in (("train", x, y), ("valid", x_valid, y_valid)):
            predicted = np.asarray(logistic.log_probabilities(params, features)).argmax(axis=1)
            record[f"{part}_accuracy"] = float((predicted == labels).mean())
        records.append(record | {"chosen": bool(params["l2"] == chosen["l2"])})
    return chosen, records


def _fit_ensemble(
    config: config_lib.Config, dataset: Dataset, x: np.ndarray, y: np.ndarray
) -> tuple[Params, list[dict[str, Any]], np.ndarray]:
    """Return the ensemble, its records, and the log-probabilities [N, C] of held-out tracks."""
    num_classes = len(dataset.catalog.labels)
    print(f"features  {' x '.join(map(str, x.shape))} to train on")
    _check_finite("train", x)
    from mgr_jax.classical import ensemble, library

    ensemble.check_shapes(x.shape[1:])
    part = dataset.parts["train"]
    if len(x) != len(part.ids):
        raise UserError(
            "data.window_seconds: model.name 'ensemble' reads whole clips; leave it at 0"
        )
    inner = held_out.inner_folds(dataset.catalog, part.ids, seed=config.train.seed)
    with progress.Progress("fit", "the members of the ensemble"):
        params, choice = ensemble.fit(
            x,
            y,
            inner,
            num_classes=num_classes,
            features=config.features,
            seed=config.train.seed % 2**16,
            listed=library.LISTED if config.model.members == "listed" else (),
        )
    scored = int((inner >= 0).sum())
    print(
        f"members   {len(choice.weights)} of {len(choice.accuracy)}; share, and how many of"
        f" {plural(scored, 'training track')} they recognise in inner folds:"
    )
    for name, share in sorted(choice.weights.items(), key=lambda item: -item[1]):
        print(f"          {100 * share:4.1f} %  {name} ({round(choice.accuracy[name] * scored)})")
    print(f"ensemble  recognises {round(choice.ensemble_accuracy * scored)} of these tracks")
    record = dataclasses.asdict(choice)
    held_out_scores = record.pop("held_out")
    return params, [{"step": 0} | record], held_out_scores


def _fit_best_layer(
    config: config_lib.Config, dataset: Dataset, x: np.ndarray, y: np.ndarray
) -> tuple[Params, list[dict[str, Any]]]:
    """Fit the system to each layer of embeddings [W, layers, D] and choose a layer by validation.

    With `train.refit` there is no validation part; then the inner folds of the training part serve.
    """
    num_classes, num_layers = len(dataset.catalog.labels), x.shape[1]
    fit, predict = _FITS[config.model.name], scoring.log_probabilities(config)
    print(f"features  {len(x)} x {num_layers} layers x {x.shape[2]} to train on")
    if dataset.parts["valid"].ids:
        x_valid, y_valid = extract(config, dataset.parts["valid"])

        def fit_layer(layer):
            own = x_valid[:, layer]
            params, records = fit(config, num_classes, x[:, layer], y, own, y_valid)
            return params, records, predict(params, own)

        tracks = batches.windows_of(dataset.parts["valid"], 1)[:, 0]
        return layers.choose(fit_layer, num_layers, y_valid, tracks, what="validation tracks")
    part = dataset.parts["train"]
    tracks = batches.windows_of(part, 1)[:, 0]
    fold_of = held_out.inner_folds(dataset.catalog, part.ids, seed=config.train.seed)[tracks]
    scored = fold_of >= 0

    def fit_in_folds(layer):
        own = x[:, layer]
        log_p = held_out.log_probabilities(config, {}, own, y, fold_of, num_classes=num_classes)
        return *_fit_lda(config, num_classes, own, y), log_p[scored]

    what = "training tracks in inner folds"
    return layers.choose(fit_in_folds, num_layers, y[scored], tracks[scored], what=what)


def _fit_lda(
    config: config_lib.Config, num_classes: int, x: np.ndarray, y: np.ndarray, *valid: np.ndarray
) -> tuple[Params, list[dict[str, Any]]]:
    del config, valid  # There is no setting to choose.
    params = jax.device_get(lda.fit(x, y, num_classes=num_classes))
    predicted = np.asarray(lda.log_probabilities(params, x)).argmax(axis=1)
    return params, [{"step": 0, "train_accuracy": float((predicted == y).mean())}]


def _fit_distance(
    config: config_lib.Config, dataset: Dataset, x: np.ndarray, y: np.ndarray
) -> Params:
    """Return the parameters of `transfer.relative_distances`; none if no track can be held out."""
    part = dataset.parts["train"]
    try:
        folds_of_tracks = held_out.inner_folds(dataset.catalog, part.ids, seed=config.train.seed)
    except UserError:  # A class has a single track.
        return {}
    artist_of = {track.id: track.artist or track.id for track in dataset.catalog.tracks}
    tracks = batches.windows_of(part, config_lib.window_length(config))[:, 0]
    artists = [artist_of[part.ids[track]] for track in tracks]
    num_classes = len(dataset.catalog.labels)
    return transfer.fit_distance(x, y, folds_of_tracks[tracks], artists, num_classes=num_classes)


def _check_finite(part: str, features: np.ndarray) -> None:
    if not np.isfinite(features).all():
        raise UserError(f"data: features of part {part!r} are not finite; check the recordings")


def _fit_svm(
    config: config_lib.Config, num_classes: int, *arrays: np.ndarray
) -> tuple[Params, list[dict[str, Any]]]:
    model = config.model
    params = svm.fit(
        *arrays,
        num_classes=num_classes,
        kernel=model.kernel,
        c=model.c,
        gamma=model.gamma,
        num_components=model.num_components,
        seed=config.train.seed,
    )
    return params, []


_FITS = {"logistic": _fit_logistic, "svm": _fit_svm, "lda": _fit_lda}


def extract(config: config_lib.Config, part: batches.Part) -> tuple[np.ndarray, np.ndarray]:
    """Return the features [W, D] and labels [W] of all windows of a part.

    Those of decoded clips are kept beside them (`vector_cache.cached`).
    """
    window = config_lib.window_length(config)

    @functools.cache
    def features() -> scoring.Extract:
        return scoring.make_features(config)

    if isinstance(part.clips, clips.Clips):
        # Rounding depends on the size of a batch, which must not be that of the part.
        batch_size = min(config.train.batch_size, _MAX_BATCH)
        x = vector_cache.cached(
            part,
            lambda part: _extract(config, features(), part, batch_size),
            window=window,
            settings=[dataclasses.asdict(config.features), batch_size],
        )
    else:
        batch_size = min(config.train.batch_size, max(1, len(batches.windows_of(part, window))))
        x = _extract(config, features(), part, batch_size)
    return x, part.labels[batches.windows_of(part, window)[:, 0]]


def score_tracks(config: config_lib.Config, params: Params, part: batches.Part) -> np.ndarray:
    """Return the log-probabilities of the tracks of a part [N, C], from its cached features.

    Raises:
      UserError: if the features are not those that the model was fitted to.
    """
    x, _ = extract(config, part)
    windows = batches.windows_of(part, config_lib.window_length(config))
    # Blocks of one size, so that one compiled program serves any number of tracks.
    size = min(config.train.batch_size, _MAX_SCORED)
    scores = []
    for start in range(0, len(x), size):
        block = x[start : start + size]
        padding = [(0, size - len(block)), *[(0, 0)] * (x.ndim - 1)]
        padded = np.pad(block, padding, mode="edge")
        scores.append(scoring.score(config, params, padded)[: len(block)])
    return tracks_lib.pool_windows(np.concatenate(scores), windows[:, 0])


def _extract(
    config: config_lib.Config, features: scoring.Extract, part: batches.Part, batch_size: int
) -> np.ndarray:
    window = config_lib.window_length(config)
    mesh = parallel.make_mesh()
    batch_size = parallel.padded_batch_size(batch_size, mesh)
    # XLA's Fourier transform on CPU uses one core, so that each core computes a batch of its own.
    # Several devices would deadlock, since two programs could wait for each other.
    single = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
    # Arrays have no transform, and a network computes on all cores by itself.
    transforms = (
        config.features.kind != "musicnn" and config.data.name not in config_lib.ARRAY_NAMES
    )
    num_threads = cores.count() if single and transforms else 1

    def compute(batch: batches.Batch) -> np.ndarray:
        # Rows of padding count as full, so that they do not change the formula of the others.
        full = np.where(batch["mask"] > 0, batch["num_samples"], window).astype(np.int32)
        return features(batch | {"num_samples": full})

    windows = batches.eval_batches(part, batch_size=batch_size, window=window)
    results = _map_in_threads(compute, windows, num_threads)
    return np.concatenate([values[batch["mask"] > 0] for batch, values in results])


def _map_in_threads(
    function: Callable[[Any], Any], items: Iterable[Any], num_threads: int
) -> Iterator[tuple[Any, Any]]:
    """Yield each item with its result, in order; only the first is computed before the threads."""
    pending: collections.deque = collections.deque()
    remaining = iter(items)
    with futures.ThreadPoolExecutor(num_threads) as threads:
        for first in itertools.islice(remaining, 1):
            yield first, function(first)  # Compiles, which should happen once.
        for item in remaining:
            pending.append((item, threads.submit(function, item)))
            # Each pending item takes memory, so that there are only as many as keep threads busy.
            if len(pending) > num_threads:
                oldest, result = pending.popleft()
                yield oldest, result.result()
        for oldest, result in pending:
            yield oldest, result.result()
