"""Multinomial logistic regression on mean and covariance of 14 MFCCs (119 values).

    python -m experiments.train --config=experiments/configs/logistic.py --workdir=runs/logistic

Measured on 2 CPU cores: 75.0 % [62.8, 84.2] (n = 60, listed) on the band; see
`experiments/results/systems.md`.
"""

from mgr_jax.config import Config


def get_config() -> Config:
    """The embedded data set by default; `--config.data.*` for another."""
    config = Config()
    config.features.kind = "mfcc_stats"
    config.features.hop_length = 256
    config.model.name = "logistic"
    return config
