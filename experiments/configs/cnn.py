"""The presentation's CNN on a 480x640x3 picture of the mel spectrogram: 15 762 770 parameters.

100 epochs of cross entropy, as in the presentation. It gives no optimiser, batch size, activation
or dropout rate: Adam at 0.001, 8, ReLU and 0.25 here. `cnn.py:trained` is the same with batch
normalisation after each pooling, which makes it learn from few clips: 15 763 090 parameters. Its
running averages are over few steps, since averages over the last hundred hid what it had learned.
Both were run at full size: see `experiments/results/presentation.md`.

`cnn.py:fast` is the same network on a 96x128x3 picture of 6 seconds with a quarter of the channels
and units, which trains in minutes on two CPU cores. Its pixels are normalised by the mean and the
deviation of the training part: on pixels in [0, 1] it stayed at the loss of guessing (2.303) for
the first six epochs.

    python -m experiments.train --config=experiments/configs/cnn.py:fast --workdir=runs/cnn

Measured: 0.4 s an epoch and 30.0 % [16.5, 48.3] by artist (n = 60, listed) on
the band; see `experiments/results/systems.md`.
"""

from mgr_jax.config import Config
from mgr_jax.errors import UserError


def get_config(variant: str = "") -> Config:
    """Return the config on the embedded band; `--config.data.*` selects another data set."""
    config = Config()
    config.features.kind = "mel_image"
    config.features.hop_length = 512
    config.features.image_height, config.features.image_width = 480, 640
    config.model.name = "cnn"
    config.optim.learning_rate = 1e-3
    config.train.num_epochs = 100
    config.train.batch_size = 8
    if variant == "fast":
        config.data.window_seconds = 6.0
        config.features.image_height, config.features.image_width = 96, 128
        config.features.normalize = "global"
        config.model.width_multiplier = 0.25
        config.model.dropout = 0.1
        config.optim.schedule = "cosine"
        config.train.num_epochs = 60
    elif variant == "trained":
        config.model.batch_norm = True
        config.model.batch_norm_momentum = 0.94
    elif variant:
        raise UserError(f"variant {variant!r} is unknown; use 'fast', 'trained' or none")
    return config
