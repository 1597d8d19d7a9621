"""Tiny networks, batches and runs, for the tests of training."""

import contextlib
import io

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.features.frontend import make_frontend
from mgr_jax.models import make_model
from mgr_jax.training import loop, optimizer, steps
from mgr_jax.training.state import create_state

WINDOW = 4000

# A few hundred parameters each. The first three have what is hard to spread over devices:
# statistics of the batch, scans, dropout. The last one compiles the fastest.
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
    "simple": {"model__name": "rnn", "model__cell": "simple", "model__hidden_size": 4},
}


def config(network: str = "simple", **fields) -> config_lib.Config:
    """Return a config of a tiny run: half-second windows of one-second clips of the band.

    `fields` are those of `optim` by name, and of other sections as `train__seed`.
    """
    values = config_lib.Config()
    values.data.clip_seconds, values.data.window_seconds = 1.0, 0.5
    values.data.num_grooves, values.data.clips_per_groove = 3, 1
    values.data.num_workers = 1
    values.features.sample_rate = 8000
    values.features.n_fft, values.features.hop_length = 256, 128
    values.features.n_mels = 16
    values.train.batch_size, values.train.num_epochs = 4, 3
    for name, value in (NETWORKS[network] | fields).items():
        section, _, field = name.rpartition("__")
        setattr(getattr(values, section or "optim"), field, value)
    return config_lib.validate(values)


def train(config, folder, **kwargs) -> str:
    """Train in the workdir `folder`, which may hold a run already; return what was printed."""
    data = dataset_lib.open_dataset(config)
    run = workdir.create(str(folder), config, data.catalog, data.split)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        loop.train(config, data, run, **kwargs)
    return out.getvalue()


def parts(values, *, num_classes=3, axis_name=None):
    """Return front end, model, optimiser and initial state."""
    frontend = make_frontend(values.features)
    model = make_model(values.model, num_classes=num_classes, axis_name=axis_name)
    tx = optimizer.make_optimizer(values.optim, num_steps=100, steps_per_epoch=5)
    inputs = frontend(np.zeros((1, WINDOW), np.float32))
    averaged = values.optim.ema_decay > 0

    @jax.jit
    def init():
        return create_state(jax.random.key(0), model, tx, inputs, averaged=averaged)

    return frontend, model, tx, init()


def train_step(values, *, num_classes=3, class_weights=None):
    """Return the compiled train step and the state before it."""
    frontend, model, tx, state = parts(values, num_classes=num_classes)
    step = steps.make_train_step(
        values, frontend, model, tx, num_classes=num_classes, class_weights=class_weights
    )
    return jax.jit(step), state


def batch(step: int, *, batch_size=8, num_classes=3):
    """Return the batch of `step`: tones whose pitch depends on the class, in noise."""
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
