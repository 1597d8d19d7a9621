"""The GTZAN model: genres of 30 s of music from its spectrogram and its MusiCNN tags.

`experiments.fit_gtzan` writes the folder: `weights.safetensors`, `model.json` with labels, tracks
that were trained on and cross-validated figures, and `calibration.json` with scores of held-out
tracks (`evaluation.conformal`). `classical.fusion` computes with it:

    model = gtzan.load()
    tags = tag_head.summarize(taggrams)  # probabilities [W, 50] of each piece
    log_p = fusion.log_probabilities(model.params, spectrograms, tags)  # [N, 10]
    strangeness = fusion.strangeness(model.params, spectrograms, tags, seconds)
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mgr_jax.errors import UserError
from mgr_jax.files import write_whole
from mgr_jax.pretrained import WEIGHTS

FOLDER = pathlib.Path(__file__).parent / "gtzan"
NUM_TAGS = 50  # of MusiCNN
_MODEL, _CALIBRATION = "model.json", "calibration.json"
_TEXTS = ("spectrogram/views", "spectrogram/members")
_DAMAGED = (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError)


@dataclasses.dataclass(frozen=True)
class GtzanModel:
    """The fitted model.

    Attributes:
      labels: names of the classes [C].
      params: arrays by name, see `classical.fusion`.
      trained_on: ids of the tracks that it was fitted to.
      facts: JSON values on its origin and its cross-validated accuracy.
      calibration: values of `conformal.to_json` for the cross-validated tracks; None in folders of
        earlier versions.
    """

    labels: tuple[str, ...]
    params: Mapping[str, np.ndarray]
    trained_on: tuple[str, ...]
    facts: Mapping[str, Any]
    calibration: Mapping[str, Any] | None = None


def compact(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return `params` as they are written and read: the large arrays rounded to float16."""
    return {name: _restored(_stored(value)) for name, value in params.items()}


def write(folder: str | os.PathLike, model: GtzanModel) -> None:
    """Write the model to a folder, the same bytes for the same model.

    Raises:
      OSError: if it cannot be written.
    """
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tensors = {k: _stored(v) for k, v in sorted(model.params.items()) if k not in _TEXTS}
    values = {
        "labels": list(model.labels),
        "trained_on": list(model.trained_on),
        "facts": dict(model.facts),
        "texts": {name: model.params[name].tolist() for name in _TEXTS},
    }
    write_whole(path / WEIGHTS, safetensors.numpy.save(tensors))
    if model.calibration is not None:
        write_whole(path / _CALIBRATION, json.dumps(model.calibration, sort_keys=True) + "\n")
    write_whole(path / _MODEL, json.dumps(values, indent=1, sort_keys=True) + "\n")


@functools.cache
def load(folder: str | os.PathLike = FOLDER) -> GtzanModel:
    """Read the model of a folder.

    Raises:
      UserError: if a file is missing or damaged.
    """
    path = pathlib.Path(folder)
    try:
        with safetensors.safe_open(path / WEIGHTS, framework="numpy") as file:
            params = {name: _restored(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        values = json.loads((path / _MODEL).read_text(encoding="utf-8"))
        params |= {name: np.asarray(values["texts"][name]) for name in _TEXTS}
        labels = tuple(values["labels"])
        if "repetition" not in params:
            raise ValueError("it has no 'repetition', so that an older version wrote it")
        if params["tags/kernel"].shape[1] != len(labels):
            raise ValueError(f"{len(labels)} labels for {params['tags/kernel'].shape[1]} classes")
        tracks, calibration = path / _CALIBRATION, None
        if tracks.exists():
            calibration = json.loads(tracks.read_text(encoding="utf-8"))
        return GtzanModel(labels, params, tuple(values["trained_on"]), values["facts"], calibration)
    except _DAMAGED as error:
        raise UserError(
            f"{path}: is not a folder of experiments.fit_gtzan, or is damaged ({error}); fit it"
            " again"
        ) from error


def _stored(value: np.ndarray) -> np.ndarray:
    value = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
    if value.dtype.kind == "f":
        # Matrices of weights; the distance needs the precision of its small ones.
        return value.astype(np.float16 if value.size > 5000 else np.float32)
    return value


def _restored(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype == np.float16 else value
