"""The recipe for GTZAN as arrays: an ensemble of 13 classical members on spectrograms.

Views of a track (texture statistics, matrix logarithms of covariances of whitened patches, how much
the words of codebooks of patches vary) go to discriminants and support vector machines, whose
scores are averaged (`mgr_jax/classical/ensemble.py`). The final model learns from the training and
the validation part together, and the test part is scored elsewhere:

    python -m experiments.train --config=experiments/configs/gtzan_arrays.py \\
        --config.data.root=arrays.npz --workdir=runs/recipe
    python -m experiments.evaluate --workdir=runs/recipe --config.data.root=test.npz

A person picked the 13 members by cross-validated scores of these tracks. `:chosen` leaves that to
the training, from 39 views, so that its cross-validation is nested. `:valid` and `:valid_chosen`
keep the validation part out. Other systems on the same arrays, for comparison: `:lda`, `:logistic`,
`:svm`, `:bbnn`, `:cnn`, `:cnn_lstm` and `:rnn`, and the networks with what small collections need,
`:bbnn_tuned` and so on.

Measured in five folds, without the validation part: 67.4 % [59.3, 74.7] by artist (n = 639,
artist_kfold), `:lda` 60.3 % [52.4, 67.6], `:bbnn_tuned` 52.7 % [44.0, 61.3], `:logistic` 44.0 %
[35.9, 52.4], `:bbnn` 35.8 % [26.9, 45.8]. The others, and all that was tried: see
`experiments/results/gtzan_arrays.md`.
"""

from mgr_jax.config import Config
from mgr_jax.errors import UserError

_ENSEMBLES = ("", "valid", "chosen", "valid_chosen")
_NETWORKS = ("bbnn", "cnn", "cnn_lstm", "rnn")
_TUNED = tuple(f"{name}_tuned" for name in _NETWORKS)
_VECTORS = ("lda", "logistic", "svm")


def get_config(variant: str = "") -> Config:
    """Return the config for spectrograms of 30 s: 496 frames, 60 ms apart, of 128 bins, 86 Hz."""
    config = Config()
    config.data.name = "arrays"
    config.data.protocol = "listed"
    config.features.kind = "spectrogram"
    config.features.num_bins = 128
    config.features.n_fft = 256
    config.features.hop_length = 1334
    config.train.batch_size = 16
    if variant in _ENSEMBLES:
        config.model.name = "ensemble"
        config.model.members = "chosen" if variant.endswith("chosen") else "listed"
        config.train.refit = not variant.startswith("valid")
    elif variant in _VECTORS:
        _vector(config, variant)
    elif variant in _NETWORKS:
        _network(config, variant)
    elif variant in _TUNED:
        _network(config, variant.removesuffix("_tuned"))
        _tune(config)
    else:
        known = ", ".join((*_ENSEMBLES[1:], *_VECTORS, *_NETWORKS, *_TUNED))
        raise UserError(f"variant {variant!r} is unknown; use one of {known}, or none")
    return config


def _vector(config: Config, name: str) -> None:
    """Set mean and covariance of 20 cepstra; 1507 statistics for the LDA, which has no choices."""
    config.model.name = name
    config.features.bands = "mel"
    config.features.n_mels = 40
    config.features.fmin = 60.0
    config.features.fmax = 10500.0
    config.features.cepstrum = True
    config.features.n_mfcc = 20
    config.features.statistics = "mean_covariance"
    if name == "lda":
        config.train.refit = True
        config.features.cepstrum = False
        config.features.statistics = "texture"


def _network(config: Config, name: str) -> None:
    """Set windows of 6 s (99 frames) of 40 mel bands, or of all bins for the deeper CNNs."""
    config.model.name = name
    config.data.window_seconds = 6.0
    if name in ("bbnn", "rnn"):
        config.features.bands = "mel"
        config.features.n_mels = 40
        config.features.fmin = 60.0
        config.features.fmax = 10500.0
    config.features.normalize = "bin"
    config.optim.schedule = "cosine"
    config.train.num_epochs = 30
    config.train.mixup_alpha = 0.2
    if name == "bbnn":
        config.model.width = 8
        config.model.batch_norm_momentum = 0.9
        config.optim.learning_rate = 0.004
    elif name == "rnn":
        config.model.cell = "gru"
        config.model.batch_norm_momentum = 0.99  # The inputs are normalised already.
    else:
        config.model.width_multiplier = 0.25
        config.model.dropout = 0.1


def _tune(config: Config) -> None:
    """Set masks, weight decay, averages of the weights, smoothed labels and more epochs.

    The classifier of BBNN and GRU reads statistics of every band or unit over windows of 12 s. The
    CNNs, which keep both axes, normalise batches, and the LSTM steps along time.
    """
    config.optim.name = "adamw"
    config.optim.weight_decay = 0.05
    config.optim.label_smoothing = 0.1
    config.optim.ema_decay = 0.99
    config.train.num_epochs = 40
    config.train.mask_frames = 20
    config.train.mask_bins = 6 if config.features.bands == "mel" else 20
    config.model.batch_norm_momentum = 0.0
    if config.model.name == "bbnn":
        config.data.window_seconds = 12.0
        config.model.pooling = "statistics"
        config.model.num_modules = 2
    elif config.model.name == "rnn":
        config.data.window_seconds = 12.0
        config.train.num_epochs = 60
        config.model.pooling = "statistics"
        config.model.bidirectional = True
        config.model.hidden_size = 64
        config.model.dropout = 0.5
        config.optim.learning_rate = 0.003
    else:
        config.model.batch_norm = True
        config.model.dropout = 0.25
        config.model.scan_axis = "time"
