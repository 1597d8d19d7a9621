"""The frozen MusiCNN as the front end of the classical systems.

A clip is described by the mean and the standard deviation of the 200 values of the network's
embedding over its windows of 3 s, one about every second: 400 values, for audio of any length.
"""

from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax import pretrained
from mgr_jax.config import Features
from mgr_jax.features import normalize
from mgr_jax.features.frontend import Frontend, make_frontend


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
