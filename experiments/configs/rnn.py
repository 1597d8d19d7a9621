"""A recurrent network on the MFCC sequence, 2584 x 14 for 30 s ("tried but inaccurate").

The presentation gives nothing but the name SimpleRNN: 128 units, Adam at 0.001, each coefficient
normalised on the training part. Other cells: `--config.model.cell=gru` or `lstm`. At full size
on the band: see `experiments/results/presentation.md`.

`rnn.py:fast` is a GRU on 6-second windows at a hop of 1024 samples (130 x 14), which trains in
minutes on two CPU cores:

    python -m experiments.train --config=experiments/configs/rnn.py:fast --workdir=runs/rnn

Measured: 0.2 s an epoch and 55.0 % [38.7, 70.3] by artist (n = 60, listed) on
the band; see `experiments/results/systems.md`.
"""

from mgr_jax.config import Config
from mgr_jax.errors import UserError


def get_config(variant: str = "") -> Config:
    """Return the config on the embedded band; `--config.data.*` selects another data set."""
    config = Config()
    config.features.kind = "mfcc"
    config.features.hop_length = 256
    config.features.n_mfcc = 14
    config.features.normalize = "bin"
    config.model.name = "rnn"
    config.model.cell = "simple"
    config.model.batch_norm_momentum = 0.99  # The inputs are normalised already.
    config.optim.learning_rate = 1e-3
    config.train.num_epochs = 100
    config.train.batch_size = 8
    if variant == "fast":
        config.data.window_seconds = 6.0
        config.features.hop_length = 1024
        config.model.cell = "gru"
        config.optim.schedule = "cosine"
        config.train.num_epochs = 30
    elif variant:
        raise UserError(f"variant {variant!r} is unknown; use 'fast' or none")
    return config
