"""StableHLO by `jax.export`: from waveforms to probabilities, for any batch and three platforms.

The file runs without this package, for as long as the compatibility guarantees of `jax.export`
last.
"""

import pathlib

import jax
import jax.numpy as jnp
from jax import export

from mgr_jax import config as config_lib
from mgr_jax.export import contract
from mgr_jax.system import System, make_log_probabilities

PLATFORMS = ("cpu", "cuda", "tpu")


def make_function(system: System):
    """Return the pure function from `contract.inputs` to calibrated probabilities [B, C].

    Raises:
      UserError: if the system is not computed in JAX.
    """
    window = config_lib.window_length(system.config)
    function = make_log_probabilities(system.config, num_classes=len(system.labels))

    def probabilities(waveform: jax.Array, num_samples: jax.Array | None = None) -> jax.Array:
        if num_samples is None:
            num_samples = jnp.full(waveform.shape[0], window)
        batch = {"waveform": waveform, "num_samples": num_samples}
        scores = function(system.variables, batch) / (system.temperature or 1.0)
        return jax.nn.softmax(scores).astype(jnp.float32)

    return probabilities


def write(folder: pathlib.Path, system: System) -> None:
    """Write `model.stablehlo`, `model.json` and `run.py` into `folder`.

    Raises:
      UserError: if the system is not computed in JAX.
      OSError: if the folder cannot be written.
    """
    (batch,) = export.symbolic_shape("batch")
    arguments = contract.inputs(system.config, batch).values()
    exported = export.export(jax.jit(make_function(system)), platforms=PLATFORMS)(*arguments)
    more = {
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
    }
    contract.write(folder, system, "stablehlo", bytes(exported.serialize()), more)
