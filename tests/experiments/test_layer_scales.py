"""`experiments.layer_scales`: what the layers of an untrained network read."""

import numpy as np
import pytest

from experiments.configs import cnn_lstm
from tests.experiments import commands


@pytest.mark.slow
def test_measure_shows_that_clips_fade_and_that_batch_normalisation_keeps_them():
    layer_scales = commands.load("layer_scales")
    config = cnn_lstm.get_config("fast")
    config.model.width_multiplier = 0.05
    pictures = np.random.default_rng(0).uniform(size=(6, 48, 48, 3)).astype(np.float32)
    rows = {}
    for config.model.batch_norm in (False, True):
        measured = layer_scales.measure(config, pictures, np.arange(6) % 3, num_classes=3)
        rows[config.model.batch_norm] = {name: values for name, *values in measured}
    assert [*rows[False]][:2] == ["conv2d_1", "conv2d_2"]
    assert [*rows[False]][-3:] == ["dense_1", "dense_2", "dense_3"]
    scale, between, gradient = rows[False]["conv2d_1"]
    assert scale == pytest.approx(np.sqrt((pictures**2).mean()), rel=1e-5)
    assert between == pytest.approx(pictures.std(axis=0).mean(), rel=1e-5)
    assert gradient > 0
    # The input of the LSTM, by its difference between clips.
    assert rows[False]["lstm_1"][1] < 0.1 < 0.5 < rows[True]["lstm_1"][1]


def test_layer_scales_refuses_a_system_without_layers(tmp_path):
    line = commands.fails(tmp_path, "layer_scales", "--config=experiments/configs/svm.py")
    assert "model.name 'svm' is no network; it has no layers" in line
