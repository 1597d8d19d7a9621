"""Multinomial logistic regression on mean and covariance of 14 MFCCs (119 values).

    python -m experiments.train --config=experiments/configs/logistic.py --workdir=runs/logistic

Measured on 2 CPU cores: 75.0 % [56.6, 87.3] by artist (n = 60, listed) on
the band; see `experiments/results/systems.md`.
"""

from mgr_jax.config import Config


def get_config() -> Config:
    """Return the config on the embedded band; `--config.data.*` selects another data set."""
    config = Config()
    config.features.kind = "mfcc_stats"
    config.features.hop_length = 256
    config.model.name = "logistic"
    return config
