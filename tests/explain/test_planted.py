"""A planted horse: the attribution of a class that a tone gives away lies in its band."""

import contextlib
import io

import numpy as np
import pytest

import mgr_jax
from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.training import loop
from tests.experiments import commands


def _config(folder):
    config = config_lib.Config()
    config.data.clip_seconds, config.data.clips_per_groove = 3.0, 3
    config.data.num_workers, config.data.cache = 1, str(folder / "cache")
    config.features.hop_length, config.features.n_mels = 512, 64
    config.features.normalize = "bin"
    config.model.name, config.model.cell = "rnn", "gru"
    config.optim.learning_rate, config.train.num_epochs = 3e-3, 8
    return config


@pytest.mark.slow
def test_attribution_of_a_planted_tone_lies_in_its_band(tmp_path):
    config, manifest = _config(tmp_path), tmp_path / "planted" / "manifest.csv"
    data = dataset_lib.open_dataset(config)
    commands.load("plant_tone").write(data, manifest, label="pop", hertz=9000.0, decibels=-10.0)
    config.data.name, config.data.root = "manifest", str(manifest)
    data = dataset_lib.open_dataset(config)
    run = workdir.create(str(tmp_path / "run"), config, data.catalog, data.split)
    with contextlib.redirect_stdout(io.StringIO()):
        loop.train(config, data, run)
    predictor, total = mgr_jax.load(str(tmp_path / "run")), 0.0
    part, rate = data.parts["test"], config.features.sample_rate
    for row, label in zip(part.rows, part.labels, strict=True):
        if predictor.labels[label] == "pop":
            song = part.clips.waveform(int(row))
            explanation = predictor.explain(song, rate, label="pop")
            assert explanation.method == "integrated_gradients"
            assert explanation.completeness_error < 0.05
            total = total + explanation.attributions.sum(axis=0)
    # Of the class: what the clips have in common, band by band; evidence against it is left out.
    evidence, hz = np.maximum(total, 0), explanation.hz
    in_band = (hz[1:] > 8000) & (hz[:-1] < 10000)
    assert evidence[in_band].sum() >= 0.8 * evidence.sum()
