"""Multinomial logistic regression on mean and covariance of 14 MFCCs (119 values)."""

from mgr_jax.config import Config


def get_config() -> Config:
    """The embedded data set by default; `--config.data.*` for another."""
    config = Config()
    config.features.kind = "mfcc_stats"
    config.features.hop_length = 256
    config.model.name = "logistic"
    return config
