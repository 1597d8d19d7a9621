"""Training and use of the systems that are fitted in one call, on the workdir of the networks."""

import json
import os
import pathlib

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.classical import logistic
from mgr_jax.data import batches
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import judge
from mgr_jax.features.frontend import make_frontend
from mgr_jax.training import parallel

_FILE = "model/logistic.npz"


def train(config: config_lib.Config, dataset: Dataset, run: workdir_lib.Run) -> None:
    """Fits every penalty of `model.l2` on the training part; the validation part chooses one.

    Writes `model/` and, one line for each penalty, `metrics.jsonl`.
    """
    if (run.path / _FILE).exists():
        print("resume    the model is fitted already")
        return
    workdir_lib.set_status(run.path, "running")
    x, y = extract(config, dataset.parts["train"])
    x_valid, y_valid = extract(config, dataset.parts["valid"])
    print(f"features  {x.shape[0]} x {x.shape[1]} to train on, {len(x_valid)} to validate on")
    num_classes = len(dataset.catalog.labels)
    paths = jax.device_get(logistic.fit(x, y, num_classes=num_classes, l2=config.model.l2))
    params = jax.device_get(logistic.select(paths, x_valid, y_valid))
    records = []
    for step, l2 in enumerate(config.model.l2):
        one = {name: value[step] for name, value in paths.items()}
        hits = {
            part: np.asarray(logistic.log_probabilities(one, features)).argmax(axis=1) == labels
            for part, features, labels in (("train", x, y), ("valid", x_valid, y_valid))
        }
        record = {"step": step, "l2": l2, "train_loss": float(one["loss"])}
        record |= {f"{part}_accuracy": float(right.mean()) for part, right in hits.items()}
        records.append(record | {"chosen": bool(one["l2"] == params["l2"])})
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (run.path / "metrics.jsonl").write_text(lines, encoding="utf-8")
    _save(run.path / _FILE, params)
    workdir_lib.set_status(run.path, "done")


def load(run: workdir_lib.Run) -> judge.Predict:
    """The function from a batch of windows to log-probabilities `[B, C]`.

    Raises:
      UserError: if the workdir has no fitted model, or its file is damaged.
    """
    path = run.path / _FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            params = {name: arrays[name] for name in ("kernel", "bias", "mean", "scale")}
    except FileNotFoundError as error:
        raise UserError(f"--workdir {run.path}: no model in it yet; train first") from error
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and train anew") from error
    features = _features(run.config)

    def predict(batch: batches.Batch) -> np.ndarray:
        return np.asarray(logistic.log_probabilities(params, features(batch)))

    return predict


def extract(config: config_lib.Config, part: batches.Part) -> tuple[np.ndarray, np.ndarray]:
    """Features `[W, D]` and labels `[W]` of all windows of a part."""
    features, window = _features(config), config_lib.window_length(config)
    batch_size = parallel.padded_batch_size(config.train.batch_size, parallel.make_mesh())
    rows, labels = [], []
    for batch in batches.eval_batches(part, batch_size=batch_size, window=window):
        real = batch["mask"] > 0
        rows.append(features(batch)[real])
        labels.append(batch["label"][real])
    return np.concatenate(rows), np.concatenate(labels)


def _features(config: config_lib.Config):
    """The front end, compiled, from a batch to its feature vectors `[B, D]`."""
    frontend = make_frontend(config.features)
    mesh = parallel.make_mesh()
    step = parallel.jit_predict_step(lambda _, batch: frontend(batch["waveform"]), mesh)
    return lambda batch: np.asarray(step({}, parallel.shard({"waveform": batch["waveform"]}, mesh)))


def _save(path: pathlib.Path, params: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name("partial.npz")
    np.savez(partial, **params)
    os.replace(partial, path)
