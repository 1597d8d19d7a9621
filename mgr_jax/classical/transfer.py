"""The frozen MusiCNN as the front end of the classical systems.

A clip is described by the mean and the standard deviation of the 200 values of the network's
embedding over its windows of 3 s, one about every second: 400 values, for audio of any length.

Beside the classifier a system has the distance of `tag_head` to its training tracks, which marks
music that is unlike them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax import pretrained
from mgr_jax.classical import tag_head
from mgr_jax.config import Features
from mgr_jax.features import normalize
from mgr_jax.features.frontend import Frontend, make_frontend

UNLIKE = "unlike/"  # Begin of the names of the distance's parameters.


def make_vectors(features: Features) -> Frontend:
    """Return the pure function `waveform [B, T] -> vectors [B, D]` that classical systems read.

    It is `make_frontend(features)`, but with `features.kind` `musicnn`, where D is 400.
    """
    frontend = make_frontend(features)
    if features.kind != "musicnn":
        return frontend
    module, variables, _ = pretrained.load_musicnn()

    def describe(windows: jax.Array) -> jax.Array:
        outputs: Any = module.apply(variables, windows)
        return mean_and_deviation(outputs.embedding)

    def vectors(
        waveform: ArrayLike,
        normalizer: normalize.Normalizer | None = None,
        num_samples: ArrayLike | None = None,
    ) -> jax.Array:
        # One clip at a time, since the first layer has many more values than its input.
        return jax.lax.map(describe, frontend(waveform, normalizer, num_samples))

    return vectors


def mean_and_deviation(embeddings: jax.Array) -> jax.Array:
    """Return mean and standard deviation over the windows, `[W, D] -> [2 D]`."""
    return jnp.concatenate([embeddings.mean(axis=0), embeddings.std(axis=0)])


def fit_distance(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, artists: Sequence[str], *, num_classes: int
) -> dict[str, np.ndarray]:
    """Return parameters for `relative_distances`, named `unlike/...`.

    The arguments are those of `tag_head.held_out`, whose 99th percentile is the unit.
    """
    _, _, threshold = tag_head.held_out(x, y, folds, artists, num_classes=num_classes)
    head = tag_head.fit(x, y, artists, num_classes=num_classes)
    present = np.isfinite(head["centers"]).all(axis=1)
    values = {name: head[name] for name in ("mean", "scale", "whitening")}
    values |= {"centers": head["centers"][present], "threshold": np.asarray(threshold)}
    return {f"{UNLIKE}{name}": value.astype(np.float32) for name, value in values.items()}


def relative_distances(params: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray | None:
    """Return how far vectors [N, D] are from the training tracks: above 1, they are unlike them.

    None for a system that was trained before there was a distance.
    """
    if f"{UNLIKE}threshold" not in params:
        return None
    own = {name.removeprefix(UNLIKE): params[name] for name in params if name.startswith(UNLIKE)}
    return tag_head.distances(own, np.asarray(x, np.float64)) / own["threshold"]
