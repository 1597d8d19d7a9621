"""The presentation's CNN-LSTM on a 480x640x3 picture of the mel spectrogram: 27 013 436 parameters.

200 epochs of categorical cross entropy, as in the presentation; what it does not give is as in
`cnn.py`. Its LSTM steps along the rows of the picture, which is frequency:
`--config.model.scan_axis=time` steps along time.

`cnn_lstm.py:trained` is the same with batch normalisation after each pooling, which makes it learn,
and steps along time: 21 893 756 parameters. Without normalisation, what differs between clips fades
from layer to layer, while what they share does not: the loss stays at that of guessing.
`experiments.systems --size=ablation` has the changes one by one: see
`experiments/results/presentation.md`.

`cnn_lstm.py:fast` is the same network on a 96x128x3 picture of 6 seconds with a quarter of the
channels and units, which trains in minutes on two CPU cores:

    python -m experiments.train --config=experiments/configs/cnn_lstm.py:fast --workdir=runs/cl

Measured along frequency: 0.6 s an epoch and 33.3 % [19.4, 50.9] by artist (n = 60, listed) on
the band; see `experiments/results/systems.md`.
"""

from experiments.configs import cnn
from mgr_jax.config import Config


def get_config(variant: str = "") -> Config:
    """Return the config on the embedded band; `--config.data.*` selects another data set."""
    config = cnn.get_config(variant)
    config.model.name = "cnn_lstm"
    if variant == "trained":
        config.model.scan_axis = "time"
    if variant in ("", "trained"):
        config.train.num_epochs = 200
    return config
