"""Export a trained model: `python -m experiments.export --workdir=DIR --format=F --output=O`.

- `bundle`: one file (safetensors) that `mgr_jax.load` and `experiments.predict` take.
- `stablehlo`: a folder with the model for JAX on CPU, CUDA and TPU, waveform in, probabilities
  out, any batch; `run.py` in it runs it without mgr_jax.
- `onnx`: the same for onnxruntime. jax2onnx needs another Orbax than training does, and hence an
  environment of its own: `bash experiments/onnx_env.sh DIR` makes it, `--onnx_env=DIR` names it.
- `card`: a README.md in the form of the Hugging Face Hub.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from absl import flags

from experiments import command

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, or a bundle.", required=True)
_FORMAT = flags.DEFINE_enum(
    "format", None, ["bundle", "stablehlo", "onnx", "card"], "What to write.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "File, or folder, to write.", required=True)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_NAME = flags.DEFINE_string("name", "", "card: name of the model; empty means the system's.")
_ONNX_ENV = flags.DEFINE_string("onnx_env", "", "onnx: environment made by onnx_env.sh.")


def main(argv: Sequence[str]) -> command.Ending:
    """Write the model in one format; return how it ended."""
    command.refuse_arguments(argv)
    output = pathlib.Path(_OUTPUT.value)
    if _FORMAT.value == "bundle" and output.is_dir():
        raise command.UserError(f"--output {output}: is a folder; name a file in it")
    if _FORMAT.value == "bundle":
        command.output_file("output", _OUTPUT.value)
    if _FORMAT.value == "onnx" and not _python().is_file():
        raise command.UserError(
            f"--onnx_env {_ONNX_ENV.value!r}: has no bin/python; make the environment with `bash"
            " experiments/onnx_env.sh DIR` and give DIR"
        )

    from mgr_jax import devices, hearing, predictor, progress
    from mgr_jax.export import bundle, card, stablehlo

    print(devices.describe(), file=sys.stderr, flush=True)
    with progress.Progress("load", "the model"):
        system = predictor.load_system(_WORKDIR.value, checkpoint_name=_CHECKPOINT.value)
    hearing.check(system.config)
    if system.config.data.name == "arrays" and _FORMAT.value in ("stablehlo", "onnx"):
        raise command.UserError(
            f"--format {_FORMAT.value}: the model takes spectrograms, which are drawn in SciPy; use"
            " --format=bundle"
        )
    if system.config.features.kind == "musicnn" and _FORMAT.value == "onnx":
        raise command.UserError(
            "--format onnx: ONNX Runtime does not run the converted loop over MusiCNN's windows;"
            " use --format=bundle or --format=stablehlo"
        )
    writers = {"bundle": bundle.write, "stablehlo": stablehlo.write, "onnx": _write_onnx}
    try:
        if _FORMAT.value == "card":
            if output.is_dir():
                output /= "README.md"
            name = _NAME.value or f"{system.config.model.name}-{system.config.data.name}"
            text = card.make_card(system, name=name)
            command.write_output("output", str(output), text)
        else:
            with progress.Progress("export", f"the model as {_FORMAT.value}"):
                writers[_FORMAT.value](output, system)
    except OSError as error:
        raise command.UserError(
            f"--output {output}: cannot be written ({error.strerror or error}); choose another"
        ) from error
    print(f"{_FORMAT.value:9} {output}")
    print(f"model     {system.describe()}")
    if _FORMAT.value == "bundle":
        return command.Ending(0, command.page_or_prediction(f"--model={output}"))
    if _FORMAT.value == "card":
        form, file = "bundle", output.with_name("model.safetensors")
    else:
        form, file = "card", output / "README.md"
    arguments = (f"--workdir={_WORKDIR.value}", f"--format={form}", f"--output={file}")
    return command.Ending(0, ("export", *arguments))


def _write_onnx(output: pathlib.Path, system) -> None:
    from mgr_jax.export import bundle

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        bundle.write(path, system)
        root = str(pathlib.Path(__file__).parents[1])
        arguments = ["-m", "mgr_jax.export.onnx", path, os.path.abspath(output)]
        done = subprocess.run(
            [os.path.abspath(_python()), *arguments],
            env=os.environ | {"PYTHONPATH": root, "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise command.UserError(f"--format=onnx: {lines[-1].removeprefix('error: ')}")


def _python() -> pathlib.Path:
    return pathlib.Path(_ONNX_ENV.value or os.devnull, "bin", "python")


if __name__ == "__main__":
    command.run(main)
