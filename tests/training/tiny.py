"""Tiny networks and tiny batches, for the tests of training."""

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax.features.frontend import make_frontend
from mgr_jax.models import make_model
from mgr_jax.training import optimizer, steps
from mgr_jax.training.state import create_state

WINDOW = 4096

# A few hundred parameters each, with what is hard to spread over devices: statistics of the
# batch, scans, dropout.
NETWORKS = {
    "bbnn": {"model__width": 4, "model__num_modules": 1},
    "cnn_lstm": {
        "model__name": "cnn_lstm",
        "model__width_multiplier": 0.02,
        "features__n_mels": 48,
        "features__hop_length": 64,
    },
    "rnn": {
        "model__name": "rnn",
        "model__cell": "gru",
        "model__hidden_size": 6,
        "model__bidirectional": True,
    },
}


def config(network: str = "bbnn", **fields) -> config_lib.Config:
    """The tiny config, with fields of `optim` by name and of other sections as `train__seed`."""
    values = config_lib.Config()
    values.features.sample_rate = 8000
    values.features.n_fft, values.features.hop_length = 256, 128
    values.features.n_mels = 16
    values.data.clip_samples = WINDOW
    for name, value in (NETWORKS[network] | fields).items():
        section, _, field = name.rpartition("__")
        setattr(getattr(values, section or "optim"), field, value)
    return config_lib.validate(values)


def parts(values, *, num_classes=3, axis_name=None):
    """Front end, model, optimiser and initial state."""
    frontend = make_frontend(values.features)
    model = make_model(values.model, num_classes=num_classes, axis_name=axis_name)
    tx = optimizer.make_optimizer(values.optim, num_steps=100, steps_per_epoch=5)
    inputs = frontend(np.zeros((1, WINDOW), np.float32))
    averaged = values.optim.ema_decay > 0
    return (
        frontend,
        model,
        tx,
        create_state(jax.random.key(0), model, tx, inputs, averaged=averaged),
    )


def train_step(values, *, num_classes=3, class_weights=None):
    """The train step and the state before it."""
    frontend, model, tx, state = parts(values, num_classes=num_classes)
    step = steps.make_train_step(
        values, frontend, model, tx, num_classes=num_classes, class_weights=class_weights
    )
    return step, state


def batch(step: int, *, batch_size=8, num_classes=3):
    """Tones whose pitch tells the class, in noise: a batch of `step`."""
    random = np.random.default_rng(step)
    labels = random.integers(num_classes, size=batch_size)
    time = np.arange(WINDOW) / 8000
    tones = np.sin(2 * np.pi * 400 * (1 + labels[:, None]) * time)
    noise = random.normal(size=(batch_size, WINDOW))
    return {
        "waveform": (0.3 * tones + 0.1 * noise).astype(np.float32),
        "num_samples": np.full(batch_size, WINDOW, np.int32),
        "label": labels.astype(np.int32),
        "row": np.arange(batch_size, dtype=np.int32),
    }
