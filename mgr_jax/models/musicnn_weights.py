"""The weights of the `musicnn` package as variables of `mgr_jax.models.musicnn.MusiCNN`.

TensorFlow numbers the layers of a kind in the order in which the authors' program makes them:
`conv2d`, `conv2d_1`, .... Every shape is checked.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mgr_jax.models import musicnn
from mgr_jax.tensors import flatten

_FRONT = [musicnn.branch_name(size) for size in (*musicnn.TIMBRAL, *musicnn.TEMPORAL)]
_BLOCKS = [*_FRONT, "middle_1", "middle_2", "middle_3"]
# Paths of our layers, in the authors' order.
_LAYERS = {
    "conv2d": [(name, "conv") for name in _BLOCKS],
    "batch_normalization": [
        ("input_norm",),
        *((name, "norm") for name in _BLOCKS),
        ("pooled_norm",),
        ("units_norm",),
    ],
    "dense": [("units",), ("tags",)],
}
_WEIGHTS = {  # kind -> name in TensorFlow -> (collection, name here)
    "conv2d": {"kernel": ("params", "kernel"), "bias": ("params", "bias")},
    "batch_normalization": {
        "gamma": ("params", "scale"),
        "beta": ("params", "bias"),
        "moving_mean": ("batch_stats", "mean"),
        "moving_variance": ("batch_stats", "var"),
    },
    "dense": {"kernel": ("params", "kernel"), "bias": ("params", "bias")},
}


def from_tensorflow(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the variables in `tensors`, a checkpoint by the names of TensorFlow.

    Raises:
      ValueError: a tensor is missing, or has a wrong shape; the message names the first one.
    """
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for kind, paths in _LAYERS.items():
        for i, path in enumerate(paths):
            for theirs, (collection, ours) in _WEIGHTS[kind].items():
                name = f"{kind}_{i}/{theirs}" if i else f"{kind}/{theirs}"
                if name not in tensors:
                    raise ValueError(f"there is no {name}, so this is not a MusiCNN")
                value = np.asarray(tensors[name], np.float32)
                if path[0].startswith("middle") and value.ndim == 4:
                    value = value.swapaxes(1, 2)  # C channels in place of C bands.
                node = variables[collection]
                for part in path:
                    node = node.setdefault(part, {})
                node[ours] = value
    make_module(variables)
    return variables


def make_module(variables: Mapping[str, Any]) -> musicnn.MusiCNN:
    """Return the network that has `variables`, of whatever numbers of filters.

    Raises:
      ValueError: no MusiCNN has these variables; the message names the first that does not fit.
    """
    tensors = flatten(variables)

    def size(name: str) -> int:
        bias = tensors.get(f"params/{name}/bias")
        if bias is None or bias.ndim != 1:
            raise ValueError(f"{name} has no bias, so this is not a MusiCNN")
        return bias.size

    module = musicnn.MusiCNN(
        num_tags=size("tags"),
        num_timbral=size(f"{_FRONT[0]}/conv"),
        num_temporal=size(f"{_FRONT[-1]}/conv"),
        width=size("middle_1/conv"),
        num_units=size("units"),
    )
    expected = flatten(
        jax.eval_shape(
            module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 187, 96), "float32")
        )
    )
    for name, value in expected.items():
        shape = tensors[name].shape if name in tensors else None
        if shape != value.shape:
            raise ValueError(f"{name} is {shape}, not {value.shape}, so this is not a MusiCNN")
    for name in tensors:
        if name not in expected:
            raise ValueError(f"{name} is not in a MusiCNN")
    return module
