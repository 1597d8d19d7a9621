"""Configs of systems that need no tuning, by name: `GenreClassifier(config="musicnn")`."""

from collections.abc import Callable

from mgr_jax import schema
from mgr_jax.config import MUSICNN, NETWORKS, Config
from mgr_jax.errors import UserError


def mfcc_stats(model: str = "logistic") -> Config:
    """Return the config of a classical system on mean and covariance of 14 MFCCs."""
    config = Config()
    config.features.kind = "mfcc_stats"
    config.features.hop_length = 256
    config.model.name = model
    return config


def musicnn(model: str = "logistic") -> Config:
    """Return the config of a classical system on the embedding of MusiCNN.

    Raises:
      UserError: if `model` is not `logistic`, `svm` or `lda`.
    """
    if model not in ("logistic", "svm", "lda"):
        raise UserError(f"variant {model!r} is unknown; use logistic, svm or lda")
    config = Config()
    config.features.kind = "musicnn"
    for name, value in MUSICNN.items():
        setattr(config.features, name, value)
    config.model.name = model
    config.model.l2 = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    # A window is 30 s; the network takes them one by one, and whole batches pad the last.
    config.train.batch_size = 4
    return config


CONFIGS: dict[str, Callable[[], Config]] = {
    "logistic": mfcc_stats,
    "svm": lambda: mfcc_stats("svm"),
    "musicnn": musicnn,
    "musicnn:svm": lambda: musicnn("svm"),
    "musicnn:lda": lambda: musicnn("lda"),
}


def get(name: str) -> Config:
    """Return the config of that name.

    Raises:
      ValueError: if there is none.
    """
    if name not in CONFIGS:
        tip = schema.did_you_mean(name, CONFIGS)
        if name in NETWORKS:
            tip = f" (a network: from experiments.configs import {name}; {name}.get_config())"
        raise ValueError(f"config {name!r} is unknown{tip}; give a Config or {', '.join(CONFIGS)}")
    return CONFIGS[name]()
