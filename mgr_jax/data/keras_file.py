"""HDF5 files of Keras, parsed in a process: `python -m mgr_jax.data.keras_file FILE`.

HDF5 is native code that trusts its files. A crash, an endless loop or an allocation of all memory
costs that process, and not the program.
"""

import os
import pathlib
import subprocess
import sys
from typing import Any

import h5py
import numpy as np
from safetensors import numpy as safetensors

from mgr_jax.data import decoder

# A file may claim any shape without holding its values; the BBNN has below 1 MB.
_MOST_BYTES = 1 << 28
_TIMEOUT_SECONDS = 60

Layers = dict[str, dict[str, np.ndarray]]


def read(path: str | os.PathLike) -> Layers:
    """Return layer -> weight -> its values, of a file that Keras saved, optimiser state or not.

    Raises:
      ValueError: if it is no such file, or is damaged.
    """
    root = str(pathlib.Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{path} cannot be read as an HDF5 file: it takes too long") from error
    if done.returncode == 2:
        raise ValueError(done.stderr.decode("utf-8", "replace").strip())
    if done.returncode:
        raise ValueError(f"{path} cannot be read as an HDF5 file: it crashes its reader")
    layers: Layers = {}
    for key, value in safetensors.load(done.stdout).items():
        layer, _, weight = key.partition("/")
        layers.setdefault(layer, {})[weight] = value
    return layers


def parse(path: str | os.PathLike) -> Layers:
    """Return what `read` does, in this process."""
    try:
        with h5py.File(path, "r") as file:
            return _layers(file.get("model_weights", file), path)
    except Exception as error:  # h5py raises many kinds for damaged files.
        if isinstance(error, ValueError) and str(error).startswith(f"{path}: layer "):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an HDF5 file: {reason}") from error


def _layers(root: Any, path: str | os.PathLike) -> Layers:
    layers: Layers = {}
    left = _MOST_BYTES
    for name in root:
        weights: dict[str, np.ndarray] = {}

        def collect(key: str, item: Any, weights: dict = weights, layer: str = name) -> None:
            nonlocal left
            if not isinstance(item, h5py.Dataset):
                return
            weight = key.rsplit("/", 1)[-1]
            if item.external or item.is_virtual:
                raise ValueError(f"{path}: layer {layer}: {weight} lies in another file")
            left -= item.nbytes if item.shape is not None else 0
            if item.dtype.kind not in "fiu" or item.shape is None or left < 0:
                raise ValueError(
                    f"{path}: layer {layer}: {weight} claims {item.shape} values of {item.dtype}; a"
                    f" BBNN has below {_MOST_BYTES >> 20} MiB of numbers"
                )
            weights[weight.split(":")[0]] = item[()].astype(np.float32)

        # Links may lead to other files.
        if isinstance(root.get(name, getlink=True), h5py.HardLink) and name != "optimizer_weights":
            group = root[name]
            if isinstance(group, h5py.Group):
                group.visititems(collect)
        if weights:
            layers[name] = weights
    return layers


def main(path: str) -> None:
    """Write the layers of a file to standard output, or to standard error why not, and end."""
    decoder.limit_process()
    try:
        layers = parse(path)
        flat = {f"{layer}/{name}": v for layer, ws in layers.items() for name, v in ws.items()}
        sys.stdout.buffer.write(safetensors.save(flat))
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1])
