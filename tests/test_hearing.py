"""Systems on arrays hear audio: clips of 30 s, drawn as the array files are."""

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import hearing
from mgr_jax.errors import UserError
from mgr_jax.evaluation.scores import normalize
from mgr_jax.features.array_spectrogram import array_spectrogram

RATE = 22050


def _config(**fields):
    config = config_lib.Config()
    config.data.name = "arrays"
    config.features.kind = "spectrogram"
    config.features.n_fft = 256
    config.features.hop_length = 1334
    for name, value in fields.items():
        section, field = name.split("__")
        setattr(getattr(config, section), field, value)
    return config


def _noise(seconds, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE)).astype(np.float32)


def _predict(batch):
    """Log-probabilities that tell the frames apart: a fixed projection of the mean frame."""
    weights = np.random.default_rng(1).normal(size=(128, 3))
    assert batch["waveform"].shape[1:] == (int(batch["num_samples"][0]), 128)
    return normalize(batch["waveform"].mean(axis=1) @ weights)


def test_score_of_arrays_is_the_mean_over_the_windows_of_the_spectrogram():
    config = _config(data__window_seconds=6.0)
    assert hearing.window_length(config) == 30 * RATE
    batch = {
        "waveform": np.stack([_noise(30, 0), np.pad(_noise(10, 1), (0, 20 * RATE))]),
        "num_samples": np.array([30 * RATE, 10 * RATE], np.int32),
    }
    scores, strangeness = hearing.make_score(config, _predict, {})(batch)
    assert strangeness is None
    whole = np.stack(
        [array_spectrogram(_noise(30, 0)), array_spectrogram(np.tile(_noise(10, 1), 3))]
    )
    starts = [0, 99, 198, 297, 396, 397]
    windows = [whole[:, start : start + 99] for start in starts]
    expected = np.mean(
        [_predict({"waveform": w, "num_samples": np.array([99, 99])}) for w in windows], axis=0
    )
    np.testing.assert_allclose(scores, normalize(expected), rtol=1e-5)


def test_score_of_waveforms_is_that_of_the_system():
    config = config_lib.Config()
    batch = {"waveform": _noise(1)[None], "num_samples": np.array([RATE])}
    scores, strangeness = hearing.make_score(config, lambda b: b["waveform"][:, :3], {})(batch)
    np.testing.assert_array_equal(scores, _noise(1)[None, :3])
    assert strangeness is None and hearing.least_new(config) == 1
    hearing.check(config)


@pytest.mark.parametrize(
    "fields", [{"features__num_bins": 64}, {"features__n_fft": 512}, {"data__clip_samples": 99}]
)
def test_check_refuses_arrays_of_another_format(fields):
    hearing.check(_config())
    with pytest.raises(UserError, match="cannot be made from audio; those of 496 x 128 at 22050"):
        hearing.check(_config(**fields))
