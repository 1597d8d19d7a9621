"""The interface of an exported model: its inputs, and the JSON and the script next to it."""

import hashlib
import json
import pathlib
import shutil
from typing import Any

from mgr_jax import config as config_lib
from mgr_jax.system import System, public_config
from mgr_jax.version import VERSION

# Runs the model on a song without this package.
_SCRIPT = pathlib.Path(__file__).with_name("run_exported.py")


def inputs(config: config_lib.Config) -> tuple[str, ...]:
    """Return the names of the arguments; recurrent networks need the length of the audio."""
    return ("waveform", "num_samples") if config.model.name == "rnn" else ("waveform",)


def write(folder: pathlib.Path, system: System, form: str, blob: bytes, more: dict[str, Any]):
    """Write the model, `run.py` and `model.json` into `folder`, the JSON last.

    Args:
      folder: the folder to write to, which is created.
      system: the exported system.
      form: `stablehlo` or `onnx`, the suffix of the model.
      blob: the serialised model.
      more: further values for the JSON.
    """
    window = config_lib.window_length(system.config)
    shapes = {
        "waveform": {"dtype": "float32", "shape": ["batch", window]},
        "num_samples": {"dtype": "int32", "shape": ["batch"]},
    }
    name = f"model.{form}"
    values = {
        "format": form,
        "file": name,
        "sha256": hashlib.sha256(blob).hexdigest(),
        "inputs": {key: shapes[key] for key in inputs(system.config)},
        "outputs": {"probabilities": {"dtype": "float32", "shape": ["batch", len(system.labels)]}},
        "labels": list(system.labels),
        "sample_rate": system.config.features.sample_rate,
        "window_samples": window,
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
