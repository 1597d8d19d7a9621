"""Explanations of a window by integrated gradients, and exact ones of linear systems."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import hearing, pretrained
from mgr_jax.data import batches
from mgr_jax.explain import linear as linear_lib
from mgr_jax.explain import path
from mgr_jax.explain.cells import Cells
from mgr_jax.explain.integrated import integrated_gradients
from mgr_jax.features import array_spectrogram, summary
from mgr_jax.features.frontend import num_frames
from mgr_jax.models import make_model
from mgr_jax.system import System
from mgr_jax.training import steps

# Nodes of the quadrature: the first, and those for a window whose attributions are incomplete by
# more than a share of the change.
_NUM_STEPS, _TOLERANCE = (16, 64), 0.05


class Attribution(NamedTuple):
    """The explanation of one window.

    Attributes:
      cells: attributions from the start of the window on.
      change: the score minus that of the baseline; None if attributions do not sum to it.
      contributions: exact contribution of each feature [D] of a linear system, or None.
    """

    cells: Cells
    change: float | None = None
    contributions: np.ndarray | None = None


# Window of audio [T], its samples that are no padding, class, method -> explanation.
Attribute = Callable[[np.ndarray, int, int, str], Attribution]


def make_attribute(system: System) -> Attribute:
    """Return the function that explains a window by `integrated_gradients` or as `linear`.

    The score of a network is the logit of the class minus the mean logit of the others, that of a
    linear system the one of `explain.linear`.
    """
    config, features = system.config, system.config.features
    is_network = config.model.name in config_lib.NETWORKS
    variables = dict(system.variables) if is_network else {}
    normalizer = variables.pop("normalizer", None)
    rows = _window_rows(config)
    outputs_of = _make_network(system) if is_network else _make_vectors(features)

    def path_of(normalizer: Any, source: jax.Array, num_samples: jax.Array) -> path.Path:
        return path.make_path(features, source, normalizer, num_samples, rows)

    @functools.partial(jax.jit, static_argnames="num_steps")
    def integrate(variables, normalizer, source, num_samples, weights, *, num_steps):
        """Return attributions, change and outputs [O], whose products with `weights` score."""
        way = path_of(normalizer, source, num_samples)

        def outputs(x: jax.Array) -> jax.Array:
            return outputs_of(variables, way.model_input(x), num_samples).mean(axis=0)

        result = integrated_gradients(
            lambda x: jnp.sum(outputs(x) * weights), way.x, way.baseline, num_steps=num_steps
        )
        return result.attributions, result.score - result.baseline_score, outputs(way.x)

    @jax.jit
    def evaluate(source, num_samples):
        way = path_of(None, source, num_samples)
        return way.x, outputs_of({}, way.model_input(way.x), num_samples)[0]

    def attribute(piece: np.ndarray, count: int, label: int, method: str) -> Attribution:
        batch = {"waveform": piece[None], "num_samples": np.array([count])}
        source = piece if rows is None else hearing.spectrograms(batch)[0]
        rate = features.sample_rate if rows is None else array_spectrogram.SAMPLE_RATE
        seconds, linear = len(piece) / rate, None
        if not is_network:
            linear = linear_lib.make_linear(config.model.name, system.variables, label)
        if method == "linear":
            assert linear is not None
            x, vector = map(np.asarray, evaluate(source, count))
            contributions = linear_lib.contributions(linear, vector)
            values = contributions
            if features.kind == "mfcc_stats":
                frames = x[: num_frames(features, count)]
                values = linear_lib.mfcc_cells(linear, frames, n_mfcc=features.n_mfcc)
            return Attribution(
                path.to_cells(values, features, seconds), float(contributions.sum()), contributions
            )
        weights = linear.weights if linear else _margin(label, len(system.labels))
        inputs = (variables, normalizer, source, count, np.asarray(weights, np.float32))
        for num_steps in _NUM_STEPS:
            values, change, outputs = map(np.asarray, integrate(*inputs, num_steps=num_steps))
            if abs(values.sum() - change) <= _TOLERANCE * abs(change):
                break
        return Attribution(
            path.to_cells(values, features, seconds),
            float(change),
            linear and linear_lib.contributions(linear, outputs),
        )

    return attribute


def _margin(label: int, num_classes: int) -> np.ndarray:
    """Return the weights [C] of the logit of a class minus the mean logit of the others."""
    weights = np.full(num_classes, -1 / max(num_classes - 1, 1))
    weights[label] = 1.0
    return weights


def _window_rows(config: config_lib.Config) -> np.ndarray | None:
    """Return the frames [S, F] of the windows that a system on arrays sees; None for others."""
    if config.data.name != "arrays":
        return None
    window = config_lib.window_length(config)
    starts = np.asarray(batches.window_starts(array_spectrogram.NUM_FRAMES, window))
    return starts[:, None] + np.arange(window)


def _make_network(system: System) -> Callable[..., jax.Array]:
    """Return the function from variables and inputs [S, ...] to logits [S, C]."""
    config = system.config
    model = make_model(config.model, num_classes=len(system.labels))

    def logits(variables: Any, inputs: jax.Array, num_samples: jax.Array) -> jax.Array:
        if config.data.name == "arrays":
            num_samples = jnp.int32(config_lib.window_length(config))
        frames = jnp.full(len(inputs), num_frames(config.features, num_samples))
        with steps.matmul_precision(config.train.matmul_precision):
            outputs: Any = model.apply(variables, inputs, train=False, num_frames=frames)
        return outputs.astype(jnp.float32)

    return logits


def _make_vectors(features: config_lib.Features) -> Callable[..., jax.Array]:
    """Return the function from model inputs [S, ...] to the vectors [S, D] of linear systems."""
    if features.kind != "musicnn":
        return lambda _, inputs, num_samples: inputs
    module, variables, _ = pretrained.load_musicnn()

    @jax.checkpoint
    def embed(window: jax.Array) -> jax.Array:
        outputs: Any = module.apply(variables, window[None])
        return outputs.embedding[0]

    def vectors(_: Any, inputs: jax.Array, num_samples: jax.Array) -> jax.Array:
        # A few windows at a time, since the first layer has many more values than its input.
        embeddings = jax.lax.map(embed, inputs[0], batch_size=4)
        # `transfer.mean_and_deviation`, with a gradient where a value does not vary.
        return summary.summarize(embeddings[None], statistics=("mean", "std"))

    return vectors
