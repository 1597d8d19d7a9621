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
    features = make_features(config)
    return lambda batch: score(config, params, features(batch))


def score(config: config_lib.Config, params: Params, x: np.ndarray) -> np.ndarray:
    """Return the log-probabilities [B, C] of the features [B, ...] of windows.

    Raises:
      UserError: if the features are not those that the model was fitted to.
    """
    if config.features.kind == "embedding":
        x = select_layer(params, x)
    _check_size(params, x)
    return np.asarray(log_probabilities(config)(params, x))


def make_guarded_predict(
    config: config_lib.Config, params: Params
) -> Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray | None]]:
    """Return the function from a batch of windows to log-probabilities [B, C] and distances [B].

    The distances are `transfer.relative_distances`.
    """
    features, score = make_features(config), log_probabilities(config)

    def predict(batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        x = features(batch)
        _check_size(params, x)
        return np.asarray(score(params, x), np.float64), transfer.relative_distances(params, x)

    return predict


def _check_size(params: Params, x: np.ndarray) -> None:
    """Raise `UserError` if the features [B, ...] are not as many as the model was fitted to."""
    size = tuple(params["shape"]) if "shape" in params else np.shape(params["mean"])
    if x.shape[1:] != size:
        raise UserError(
            f"the model was fitted to features {list(size)}, and its config gives"
            f" {list(x.shape[1:])}: they do not belong together; train again"
        )


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
    for name, value in params.items():
        if value.dtype.kind not in "fiubU":  # SVMs and ensembles name kernels and views.
            raise ValueError(f"{name} is an array of {value.dtype}, not of numbers")
        # The bias of an absent class is -inf.
        if value.dtype.kind == "f" and not (value <= np.finfo(np.float32).max).all():
            raise ValueError(f"{name} has values that are not finite")
    try:
        # Checked first, since the model allocates as many columns.
        if int(params.get("num_classes", num_classes)) != num_classes:
            raise ValueError(f"num_classes is {params['num_classes']}, not {num_classes}")
        if config.model.name == "ensemble":
            x = np.zeros((1, *params["shape"]), np.float32)
        else:
            x = params["mean"][None]
        with np.errstate(all="ignore"):
            shape = np.shape(log_probabilities(config)(params, x))
        if config.features.kind == "musicnn":
            transfer.relative_distances(params, x)
    except (TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"arrays do not fit the model ({error})") from error
    except MemoryError as error:
        raise ValueError("arrays give a model that does not fit into the memory") from error
    if shape != (1, num_classes):
        raise ValueError(f"the model gives {shape}, not {(1, num_classes)}")
