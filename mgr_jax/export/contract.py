"""The interface of an exported model: its inputs, and the JSON and the script next to it."""

import hashlib
import json
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp

from mgr_jax import config as config_lib
from mgr_jax import pretrained
from mgr_jax.data import audio
from mgr_jax.evaluation import conformal
from mgr_jax.export import run_exported
from mgr_jax.system import System, public_config
from mgr_jax.version import VERSION

# Runs the model on a song without this package.
_SCRIPT = pathlib.Path(run_exported.__file__)


def inputs(config: config_lib.Config, batch: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the arguments for `batch` windows: the audio, and how many of its samples are real."""
    window = config_lib.window_length(config)
    return {
        "waveform": jax.ShapeDtypeStruct((batch, window), jnp.float32),
        "num_samples": jax.ShapeDtypeStruct((batch,), jnp.int32),
    }


def write(folder: pathlib.Path, system: System, form: str, blob: bytes, more: dict[str, Any]):
    """Write the model, `run.py` with its decoder, licences and `model.json` into `folder`.

    `blob` is the model in the form `stablehlo` or `onnx`, `more` has further values for the JSON.
    """
    name, licenses = f"model.{form}", pretrained.licenses(system.config.features.kind)
    values = {
        "format": form,
        "file": name,
        "sha256": hashlib.sha256(blob).hexdigest(),
        "inputs": {
            key: {"dtype": str(argument.dtype), "shape": list(argument.shape)}
            for key, argument in inputs(system.config, "batch").items()
        },
        "outputs": {"probabilities": {"dtype": "float32", "shape": ["batch", len(system.labels)]}},
        "labels": list(system.labels),
        "sample_rate": system.config.features.sample_rate,
        "window_samples": config_lib.window_length(system.config),
        "waveform": "mono, full scale at +-1, resampled to sample_rate; shorter audio is repeated"
        " to window_samples, or followed by zeros if at most 1 % is missing",
        "track": "normalised mean of the logarithms of the windows' probabilities",
        "description": system.describe(),
        "config": public_config(system.config),
        "facts": system.facts,
        "temperature": system.temperature,
        # Coverage -> least log-probability of each label in a set of labels (run.py).
        "sets": conformal.make_rules(system.calibration, num_classes=len(system.labels)),
        "step": system.step,
        "mgr_jax": VERSION,
        "licenses": list(licenses),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(blob)
    shutil.copyfile(_SCRIPT, folder / "run.py")
    (folder / "decoding").mkdir(exist_ok=True)
    for source in audio.SOURCES:
        text = pathlib.Path(audio.__file__).with_name(source).read_text(encoding="utf-8")
        text = text.replace("from mgr_jax.data", "from decoding")
        (folder / "decoding" / source).write_text(text, encoding="utf-8")
    for license_name, text in licenses.items():
        (folder / license_name).write_text(text, encoding="utf-8")
    values |= more
    values["checksum"] = run_exported.checksum(values)
    (folder / "model.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
