"""mgr_jax: music genre recognition in JAX."""

import importlib
import os
import sys
import typing

from mgr_jax.errors import UserError
from mgr_jax.version import VERSION

if typing.TYPE_CHECKING:
    from mgr_jax import features, tagger
    from mgr_jax.config import Config
    from mgr_jax.fold_runs import cross_validate
    from mgr_jax.genre_classifier import GenreClassifier
    from mgr_jax.predictor import Predictor
    from mgr_jax.runs import compare, evaluate, train

__all__ = [
    "Config", "GenreClassifier", "UserError", "compare", "cross_validate", "evaluate", "features",
    "load", "tagger", "train",
]  # fmt: skip

# Imported on demand, so that `import mgr_jax` is fast and starts no backend.
_MODULES = {
    "Config": "config",
    "GenreClassifier": "genre_classifier",
    "compare": "runs",
    "cross_validate": "fold_runs",
    "evaluate": "runs",
    "train": "runs",
}
_SUBMODULES = ("features", "tagger")

__version__ = VERSION


def load(path: str, checkpoint_name: str = "best") -> "Predictor":
    """Load a trained system: `mgr_jax.load("gtzan").predict("song.mp3")`.

    Args:
      path: `gtzan`, the model that comes with the package, the workdir of a training, or the
        bundle that `experiments.export` made of one. MusiCNN's tags: `mgr_jax.tagger.load()`.
      checkpoint_name: of a workdir: `best` (on the validation part), `latest` or a step.

    Raises:
      errors.UserError: if there is no trained system at `path`, or its files are damaged.
    """
    from mgr_jax import predictor

    if path == "musicnn":
        raise UserError("load('musicnn'): gives tags, not genres; use mgr_jax.tagger.load()")
    if not os.path.exists(path) and path != "gtzan":
        raise UserError(
            f"load({os.fspath(path)!r}): no such folder or file; give 'gtzan', the workdir of a"
            " training or a bundle"
        )
    try:
        return predictor.load(path, checkpoint_name=checkpoint_name)
    except UserError as error:
        raise UserError(f"load: {str(error).removeprefix('workdir ')}") from error


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> typing.Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"mgr_jax.{_MODULES[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"mgr_jax.{name}")
    raise AttributeError(f"module 'mgr_jax' has no attribute {name!r}")


if "pdoc" in sys.modules:  # It documents what is defined, and calls no `__getattr__`.
    for _name in set(__all__) - globals().keys():
        globals()[_name] = __getattr__(_name)
