"""The `fast` variant of every network memorises 20 clips; so do the classical systems."""

import jax
import numpy as np
import pytest

from experiments.configs import cnn, cnn_lstm, logistic, quickstart, rnn, svm
from mgr_jax import config as config_lib
from mgr_jax.classical import logistic as logistic_lib
from mgr_jax.classical import svm as svm_lib
from mgr_jax.data.band import render
from mgr_jax.data.gtzan import GENRES
from mgr_jax.features.frontend import fit_normalizer, make_frontend
from mgr_jax.models import make_model
from mgr_jax.training import optimizer, steps
from mgr_jax.training.state import create_state


def twenty_clips(config):
    """Return a batch of two clips of each genre, of the length of the config's window."""
    window = config_lib.window_length(config)
    tracks = render.tracks(num_grooves=3, clips_per_groove=1, seed=0)
    chosen = [t for genre in GENRES for t in [t for t in tracks if t.label == genre][:2]]
    rate = config.features.sample_rate
    waveform = np.stack(
        [render.render(t.path, sample_rate=rate, seconds=window / rate) for t in chosen]
    )
    return {
        "waveform": waveform,
        "num_samples": np.full(20, window, np.int32),
        "label": np.repeat(np.arange(10, dtype=np.int32), 2),
        "row": np.arange(20, dtype=np.int32),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "num_steps"),
    [
        (quickstart.get_config(), 60),
        (cnn.get_config("fast"), 400),
        (cnn_lstm.get_config("fast"), 600),
        (rnn.get_config("fast"), 300),
    ],
    ids=["bbnn", "cnn", "cnn_lstm", "rnn"],
)
def test_fast_network_memorises_twenty_clips(config, num_steps):
    config.optim.schedule = "constant"
    batch = twenty_clips(config)
    frontend = make_frontend(config.features)
    normalizer = fit_normalizer(config.features, [(batch["waveform"], batch["num_samples"])])
    model = make_model(config.model, num_classes=10)
    tx = optimizer.make_optimizer(config.optim, num_steps=num_steps, steps_per_epoch=1)
    inputs = frontend(batch["waveform"][:1], normalizer)
    state = create_state(jax.random.key(0), model, tx, inputs, normalizer=normalizer)
    step = jax.jit(steps.make_train_step(config, frontend, model, tx, num_classes=10))
    predict = jax.jit(steps.make_predict_step(frontend, config.features, model))
    for number in range(1, num_steps + 1):
        state = step(state, batch)
        if number % 20 == 0:
            predicted = np.asarray(predict(state.variables(), batch)).argmax(axis=1)
            if (predicted == batch["label"]).all():
                return
    pytest.fail(f"{(predicted == batch['label']).sum()} of 20 after {num_steps} steps")


@pytest.mark.slow
@pytest.mark.parametrize("config", [logistic.get_config(), svm.get_config()], ids=["lr", "svm"])
def test_classical_system_memorises_twenty_clips(config):
    config.data.window_seconds = 3.0
    batch = twenty_clips(config)
    x, y = np.asarray(make_frontend(config.features)(batch["waveform"])), batch["label"]
    if config.model.name == "svm":
        params = svm_lib.fit(x, y, x, y, num_classes=10)
        scores = svm_lib.log_probabilities(params, x)
    else:
        paths = logistic_lib.fit(x, y, num_classes=10, l2=[1e-4])
        scores = logistic_lib.log_probabilities({k: v[0] for k, v in paths.items()}, x)
    np.testing.assert_array_equal(np.asarray(scores).argmax(axis=1), y)
