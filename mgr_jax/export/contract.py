"""The interface of an exported model: its inputs, and the JSON and the script next to it."""

import hashlib
import json
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp

from mgr_jax import config as config_lib
from mgr_jax.system import System, public_config
from mgr_jax.version import VERSION

# Runs the model on a song without this package.
_SCRIPT = pathlib.Path(__file__).with_name("run_exported.py")


def inputs(config: config_lib.Config, batch: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the arguments for `batch` windows: the audio, and how many of its samples are real."""
    window = config_lib.window_length(config)
    return {
        "waveform": jax.ShapeDtypeStruct((batch, window), jnp.float32),
        "num_samples": jax.ShapeDtypeStruct((batch,), jnp.int32),
    }


def write(folder: pathlib.Path, system: System, form: str, blob: bytes, more: dict[str, Any]):
    """Write the model, `run.py` and `model.json` into `folder`, which is created; the JSON last.

    `blob` is the model in the form `stablehlo` or `onnx`, `more` has further values for the JSON.
    """
    name = f"model.{form}"
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
        "waveform": "mono, full scale at +-1, resampled to sample_rate, zeros after its end",
        "track": "normalised mean of the logarithms of the windows' probabilities",
        "description": system.describe(),
        "config": public_config(system.config),
        "facts": system.facts,
        "temperature": system.temperature,
        "step": system.step,
        "mgr_jax": VERSION,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(blob)
    shutil.copyfile(_SCRIPT, folder / "run.py")
    (folder / "model.json").write_text(json.dumps(values | more, indent=1), encoding="utf-8")
