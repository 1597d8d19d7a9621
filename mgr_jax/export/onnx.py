"""ONNX by jax2onnx: a waveform in, probabilities out, for any batch; checked with onnxruntime.

Run by `experiments.export` in an environment of its own, `python -m mgr_jax.export.onnx BUNDLE
FOLDER`: jax2onnx pins an Orbax that training cannot use.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable

import jax
import numpy as np

from mgr_jax import ops
from mgr_jax.errors import UserError
from mgr_jax.export import bundle, contract, stablehlo
from mgr_jax.system import System

# Largest difference of a probability from JAX's that is accepted.
TOLERANCE = 1e-4
_OPSET = 21


def write(folder: pathlib.Path, system: System) -> float:
    """Write `model.onnx`, `model.json` and `run.py` into `folder`.

    Returns:
      The largest difference of a probability between onnxruntime and JAX on noise and tones.

    Raises:
      UserError: if the system cannot be converted, or the difference is above `TOLERANCE`.
      OSError: if the folder cannot be written.
    """
    import jax2onnx
    import onnxruntime

    arguments = contract.inputs(system.config, "B")
    window, names = arguments["waveform"].shape[1], tuple(arguments)
    model = jax2onnx.to_onnx(
        make_function(system),
        [x.shape if name == "waveform" else x for name, x in arguments.items()],
        model_name=system.config.model.name,
        opset=_OPSET,
        input_names=names,
        output_names=["probabilities"],
    )
    blob = model.SerializeToString()
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    function = jax.jit(stablehlo.make_function(system))
    largest = 0.0
    for batch in (1, 3):
        inputs = _examples(batch, window, names)
        ours = np.asarray(function(*inputs.values()))
        theirs = session.run(None, inputs)[0]
        largest = max(largest, float(np.abs(ours - theirs).max()))
    if not largest <= TOLERANCE:
        raise UserError(f"probabilities of the ONNX model are off by {largest:.1e}; not written")
    more = {"opset": _OPSET, "largest_difference": largest}
    contract.write(folder, system, "onnx", blob, more)
    return largest


def make_function(system: System) -> Callable[..., jax.Array]:
    """Return `stablehlo.make_function(system)` in operations that ONNX has.

    Networks and front ends are computed by their reference formulas, which make no choice by
    platform: the Fourier transform is a product with its matrix, a pooling is one operation, and
    the BBNN is the textbook's.
    """
    model = dataclasses.replace(system.config.model, implementation="reference")
    config = dataclasses.replace(system.config, model=model)
    function = stablehlo.make_function(dataclasses.replace(system, config=config))

    def by_formulas(*inputs: jax.Array) -> jax.Array:
        with ops.implementation("reference"):
            return function(*inputs)

    return by_formulas


def _examples(batch: int, window: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return tones in noise, float32 `[B, T]`, and the samples of each window that are audio."""
    generator = np.random.default_rng(batch)
    time = np.arange(window)
    tones = np.sin(time * generator.uniform(0.01, 1.0, (batch, 1)))
    waveform = 0.3 * tones + 0.05 * generator.normal(size=(batch, window))
    inputs = {
        "waveform": waveform.astype(np.float32),
        "num_samples": np.linspace(window, window // 3, batch).astype(np.int32),
    }
    return {name: inputs[name] for name in names}


def main(source: str, folder: str) -> None:
    """Convert a bundle; an error ends in one line and exit code 1."""
    try:
        difference = write(pathlib.Path(folder), bundle.read(source))
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"checked   onnxruntime differs by {difference:.1e} at most")


if __name__ == "__main__":
    main(*sys.argv[1:])
