"""The BBNN authors' Keras weights (HDF5) as variables of `mgr_jax.models.bbnn.BBNN`.

Keras 2 stores one group per layer, `model_weights/<layer>/.../<weight>:0`, and orders the groups by
depth in the graph, which mixes the branches. The number at the end of a layer's name counts the
layers of its kind in the order of their creation, and the authors create the branches in the order
of the paper. So layers are read in the order of their numbers, and every shape is checked.
"""

import os
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from mgr_jax.data import keras_file

UNITS = ("unit_1x1", "reduce_3x3", "unit_3x3", "reduce_5x5", "unit_5x5", "unit_pool")
KERNEL_SIZES = {"unit_3x3": 3, "unit_5x5": 5}  # 1 for the others
KINDS = ("conv2d", "batch_normalization", "dense")
WEIGHTS = {  # name in Keras -> (collection, name here)
    "kernel": ("params", "kernel"),
    "bias": ("params", "bias"),
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}


class Imported(NamedTuple):
    """The variables in a file, and the size of the network that they fit."""

    variables: dict[str, Any]
    num_classes: int
    width: int
    num_modules: int
    input_channels: int


class _Layer(NamedTuple):
    kind: str
    place: tuple[str, ...]  # path of the module
    shapes: dict[str, tuple[int, ...]]


def read(path: str | os.PathLike) -> Imported:
    """Read an HDF5 file that Keras saved with `save` or `save_weights`, optimiser state or not.

    Raises:
      ValueError: not an HDF5 file, or a layer that the BBNN does not have; the message names the
        first one.
    """
    layers = _by_kind(path, keras_file.read(path))
    convolutions = len(layers["conv2d"])
    num_modules = (convolutions - 2) // len(UNITS)
    if num_modules < 1 or not layers["dense"]:
        names = ", ".join(name for kind in KINDS for name, _ in layers[kind][:1])
        raise ValueError(f"{path} is not a BBNN: {convolutions} conv2d layers ({names or 'none'})")
    stem, classifier = layers["conv2d"][0], layers["dense"][-1]
    if "kernel" not in stem[1] or "kernel" not in classifier[1]:
        raise ValueError(f"{path}: layer {stem[0]} or {classifier[0]} has no kernel")
    input_channels, width = stem[1]["kernel"].shape[-2:]
    num_classes = classifier[1]["kernel"].shape[-1]
    expected = _expected(input_channels, width, num_modules, num_classes)
    variables: dict[tuple[str, ...], jax.Array] = {}
    for kind in KINDS:
        expected_layers = [layer for layer in expected if layer.kind == kind]
        for i, (name, weights) in enumerate(layers[kind]):
            if i == len(expected_layers):
                raise ValueError(f"{path}: layer {name} is one more than a BBNN has")
            _check(path, name, weights, expected_layers[i])
            for weight, value in weights.items():
                collection, ours = WEIGHTS[weight]
                tree_path = (collection, *expected_layers[i].place, ours)
                variables[tree_path] = jnp.asarray(value, jnp.float32)
        if len(layers[kind]) < len(expected_layers):
            missing = "/".join(expected_layers[len(layers[kind])].place)
            raise ValueError(f"{path}: no {kind} layer is left for {missing}")
    return Imported(unflatten_dict(variables), num_classes, width, num_modules, input_channels)


def _by_kind(
    path: str | os.PathLike, layers: keras_file.Layers
) -> dict[str, list[tuple[str, dict[str, np.ndarray]]]]:
    """Return names and weights of the layers, by kind, in the order of their numbers."""
    kinds: dict[str, list] = {kind: [] for kind in KINDS}
    for name, weights in layers.items():
        match = re.fullmatch(rf"({'|'.join(KINDS)})(?:_(\d+))?", name)
        if match is None:
            raise ValueError(f"{path}: layer {name} is not one that a BBNN has")
        kinds[match[1]].append((int(match[2] or 0), name, weights))
    return {
        kind: [(name, weights) for _, name, weights in sorted(items, key=lambda item: item[0])]
        for kind, items in kinds.items()
    }


def _expected(channels: int, width: int, num_modules: int, num_classes: int) -> list[_Layer]:
    """Return all layers of the network, in the order in which the authors create them."""
    layers: list[_Layer] = []

    def conv(place: tuple[str, ...], size: int, inputs: int) -> None:
        layers.append(
            _Layer("conv2d", place, {"kernel": (size, size, inputs, width), "bias": (width,)})
        )

    def norm(place: tuple[str, ...], inputs: int) -> None:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        layers.append(_Layer("batch_normalization", place, dict.fromkeys(names, (inputs,))))

    conv(("stem_conv",), 3, channels)
    norm(("stem_norm",), width)
    for i in range(num_modules):
        for unit in UNITS:
            inputs = width if unit in KERNEL_SIZES else width * (1 + 4 * i)
            norm((f"broadcast_{i}", unit, "norm"), inputs)
            conv((f"broadcast_{i}", unit, "conv"), KERNEL_SIZES.get(unit, 1), inputs)
    norm(("transition", "norm"), width * (1 + 4 * num_modules))
    conv(("transition", "conv"), 1, width * (1 + 4 * num_modules))
    norm(("final_norm",), width)
    shapes = {"kernel": (width, num_classes), "bias": (num_classes,)}
    layers.append(_Layer("dense", ("classifier",), shapes))
    return layers


def _check(path: str | os.PathLike, name: str, weights: dict, wanted: _Layer) -> None:
    place = "/".join(wanted.place)
    for weight, shape in wanted.shapes.items():
        if weight not in weights:
            raise ValueError(f"{path}: layer {name} has no {weight}; {place} needs one")
        if weights[weight].shape != shape:
            raise ValueError(
                f"{path}: layer {name} does not fit {place}: its {weight} is"
                f" {weights[weight].shape}, not {shape}"
            )
    for weight in weights:
        if weight not in wanted.shapes:
            raise ValueError(f"{path}: layer {name} has a {weight}; {place} has none")
