"""Models that come with the package: a folder each, with weights, labels, licence and card.

`musicnn` was written by `experiments.import_musicnn`.
"""

import os
import pathlib
from typing import Any, NamedTuple

import safetensors
from flax import linen as nn
from flax.traverse_util import unflatten_dict

from mgr_jax.errors import UserError
from mgr_jax.models import musicnn_pruned, musicnn_weights

FOLDER = pathlib.Path(__file__).parent
WEIGHTS, LABELS = "weights.safetensors", "labels.txt"
MUSICNN_LICENSE = "LICENSE.musicnn"  # Name of MusiCNN's licence beside an exported system.


class Pretrained(NamedTuple):
    """A trained network: `module.apply(variables, x)`, and the names of its outputs."""

    module: nn.Module
    variables: dict[str, Any]
    labels: tuple[str, ...]


def licenses(features_kind: str) -> dict[str, str]:
    """Return file name -> text of the licences that go with a system of this `features.kind`."""
    if features_kind != "musicnn":
        return {}
    return {MUSICNN_LICENSE: (FOLDER / "musicnn" / "LICENSE").read_text(encoding="utf-8")}


def load_musicnn(
    folder: str | os.PathLike = FOLDER / "musicnn", *, implementation: str = "auto"
) -> Pretrained:
    """Load a MusiCNN: log-mel windows [B, F, 96] of `features.musicnn` -> `musicnn.Outputs`.

    Args:
      folder: a folder of `experiments.import_musicnn`; by default the weights of the package.
      implementation: `auto` leaves out the filters that give a constant (`musicnn_pruned`),
        `reference` is the network of the paper; the results agree up to rounding.

    Raises:
      UserError: if a file is missing or damaged.
    """
    path = pathlib.Path(folder)
    try:
        with safetensors.safe_open(path / WEIGHTS, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        variables = unflatten_dict(tensors, sep="/")
        module = musicnn_weights.make_module(variables)
        labels = tuple((path / LABELS).read_text(encoding="utf-8").splitlines())
        if len(labels) != module.num_tags:
            raise ValueError(f"{LABELS} has {len(labels)} names for {module.num_tags} outputs")
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path}: is not a folder of experiments.import_musicnn, or is damaged ({error});"
            " import it again"
        ) from error
    if implementation == "reference":
        return Pretrained(module, variables, labels)
    return Pretrained(*musicnn_pruned.prune(variables), labels)
