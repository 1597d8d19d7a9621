"""The Bottom-up Broadcast network of arXiv 1901.08928, as its authors' notebooks train it.

One window of 661 794 samples is 647 frames x 128 mel bands. Adam at 0.01, halved after 3 epochs
without a lower training loss; at most 100 epochs, ended after 10 without one lower by 0.01; the
checkpoint with the best validation accuracy is kept. 185 642 trainable parameters.

`bbnn.py:image` is the same network and training on the presentation's input, a 288x432x3 picture
of the mel spectrogram: 186 218 trainable parameters. Pool (4, 1) then acts on rows of the picture,
which are frequency.

`bbnn.py:small` is the same network for about 100 tracks, of which an epoch has a dozen steps:
windows of 3 s, cut at another place in every epoch; momentum 0.9 of batch normalisation, whose
averages settle within two epochs; Adam at 0.004, falling to 0 over 30 epochs. For N training tracks
`train.num_epochs` of 3000 / N gives the same number of steps. See "Small data sets" in
`experiments/README.md`.

At full size on the band: see `experiments/results/presentation.md`. On GTZAN:

    python -m experiments.train --config=experiments/configs/bbnn.py \
        --config.data.name=gtzan --config.data.root=DIR --config.data.protocol=fault_filtered \
        --workdir=runs/bbnn
"""

from mgr_jax.config import Config
from mgr_jax.errors import UserError


def get_config(variant: str = "") -> Config:
    """Return the config on the embedded band; `--config.data.*` selects another data set."""
    config = Config()
    config.data.clip_samples = 661_794
    config.features.kind = "logmel"
    config.features.n_fft = 2048
    config.features.hop_length = 1024
    config.features.n_mels = 128
    config.model.name = "bbnn"
    config.optim.name = "adam"
    config.optim.learning_rate = 0.01
    config.optim.schedule = "plateau"
    config.optim.plateau_factor = 0.5
    config.optim.plateau_patience = 3
    config.optim.early_stop_patience = 10
    config.optim.early_stop_min_delta = 0.01
    config.train.num_epochs = 100
    config.train.batch_size = 8
    if variant == "image":
        config.features.kind = "mel_image"
        config.features.image_height, config.features.image_width = 288, 432
    elif variant == "small":
        _small(config)
    elif variant:
        raise UserError(f"variant {variant!r} is unknown; use 'image', 'small' or none")
    return config


def _small(config: Config) -> None:
    """Set short windows, a short memory of batch normalisation, and a rate that falls to 0."""
    config.data.clip_samples = 0  # 30 s, or `data.clip_seconds`.
    config.data.window_seconds = 3.0
    config.model.batch_norm_momentum = 0.9
    config.optim.learning_rate = 0.004
    config.optim.schedule = "cosine"
    config.optim.early_stop_patience = 0
    config.train.num_epochs = 30
