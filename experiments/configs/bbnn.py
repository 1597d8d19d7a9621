"""The Bottom-up Broadcast network of arXiv 1901.08928, as its authors' notebooks train it.

One window of 661 794 samples is 647 frames x 128 mel bands. Adam at 0.01, halved after 3 epochs
without a lower training loss; at most 100 epochs, ended after 10 without one lower by 0.01; the
checkpoint with the best validation accuracy is kept. 185 642 trainable parameters.

Not run at full size here. On GTZAN:

    python -m experiments.train --config=experiments/configs/bbnn.py \
        --config.data.name=gtzan --config.data.root=DIR --config.data.protocol=fault_filtered \
        --workdir=runs/bbnn
"""

from mgr_jax.config import Config


def get_config() -> Config:
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
    return config
