"""From windows to log-probabilities with a classical system."""

import importlib
from collections.abc import Callable, Mapping

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.classical import transfer
from mgr_jax.errors import UserError

Params = Mapping[str, np.ndarray]
# A batch of windows -> feature vectors [B, D].
Extract = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def make_predict(
    config: config_lib.Config, params: Params
) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Return the function from a batch of windows to log-probabilities [B, C]."""
    features, score = make_features(config), log_probabilities(config)

    def predict(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        x = features(batch)
        if config.features.kind == "embedding":
            x = select_layer(params, x)
        return np.asarray(score(params, x))

    return predict


def select_layer(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the layer [B, D] of embeddings [B, layers, D] that a model was fitted to.

    Embeddings [B, D] of an encoder without layers are returned as they are.

    Raises:
      UserError: if the embeddings have another size than those that the model was fitted to.
    """
    layer, size = params.get("layer"), params["mean"].size
    if x.ndim != (2 if layer is None else 3) or x.shape[-1] != size or x.shape[1] <= (layer or 0):
        wanted = f"{size} values" if layer is None else f"layer {layer} of {size} values"
        raise UserError(
            f"data.root: its embeddings are {list(x.shape[1:])}, but the model reads {wanted}; give"
            " those of the same encoder"
        )
    return x if layer is None else x[:, int(layer)]


def make_features(config: config_lib.Config) -> Extract:
    """Return the compiled front end, from a batch of windows to feature vectors [B, D]."""
    mesh = parallel.make_mesh()
    vectors = transfer.make_vectors(config.features)
    step = parallel.jit_predict_step(
        lambda _, batch: vectors(batch["waveform"], None, batch["num_samples"]), mesh
    )

    def extract(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        inputs = {name: batch[name] for name in ("waveform", "num_samples")}
        return np.asarray(step({}, parallel.shard(inputs, mesh)))

    return extract


def log_probabilities(config: config_lib.Config) -> Callable[[Params, np.ndarray], np.ndarray]:
    """Return the function from parameters and features [N, D] to log-probabilities [N, C]."""
    # Imported by name, since some of these modules take long to import scikit-learn.
    return importlib.import_module(f"mgr_jax.classical.{config.model.name}").log_probabilities


def check_params(config: config_lib.Config, params: Params, *, num_classes: int) -> None:
    """Raise `ValueError` if `params` are not the arrays of a fitted model of `config`."""
    try:
        # Checked first, since the model allocates as many columns.
        if int(params.get("num_classes", num_classes)) != num_classes:
            raise ValueError(f"num_classes is {params['num_classes']}, not {num_classes}")
        if config.model.name == "ensemble":
            x = np.zeros((1, *params["shape"]), np.float32)
        else:
            x = params["mean"][None]
        shape = np.shape(log_probabilities(config)(params, x))
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"arrays do not fit the model ({error})") from error
    if shape != (1, num_classes):
        raise ValueError(f"the model gives {shape}, not {(1, num_classes)}")
