"""The path of integrated gradients ends at what the front end gives to the model."""

import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.config import Features
from mgr_jax.explain import path
from mgr_jax.features.frontend import fit_normalizer, make_frontend

RATE = 8000
SMALL = {"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 16, "n_mfcc": 6}


def _waveform(num_samples=RATE):
    return np.random.default_rng(0).normal(size=num_samples).astype(np.float32) * 0.1


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("kind", "normalize"),
    [
        ("logmel", "none"),
        ("logmel", "clip"),
        ("logmel", "bin"),
        ("mfcc", "bin"),
        ("mfcc_stats", "none"),
        ("mel_image", "global"),
        ("flattened", "none"),
    ],
)
def test_path_ends_at_the_front_end(kind, normalize):
    features = Features(kind=kind, normalize=normalize, image_height=8, image_width=12, **SMALL)
    waveform = _waveform()
    normalizer = fit_normalizer(features, [(waveform[None] * np.float32(0.5), None)])
    way = path.make_path(features, jnp.asarray(waveform), normalizer, jnp.int32(RATE))
    expected = make_frontend(features)(waveform[None], normalizer, np.array([RATE]))
    np.testing.assert_allclose(way.model_input(way.x), expected, rtol=1e-4, atol=1e-4)
    assert way.baseline.shape == way.x.shape
    cells = path.to_cells(np.asarray(way.x), features, 1.0)
    assert cells.values.shape == (len(cells.seconds) - 1, len(cells.hz) - 1)
    assert cells.seconds[[0, -1]].tolist() == [0, 1] and (np.diff(cells.hz) > 0).all()
    assert path.describe_baseline(features)


@pytest.mark.e2e
def test_path_of_a_spectrogram_has_the_windows_of_the_model():
    features = Features(kind="spectrogram", normalize="clip", num_bins=8)
    frames = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    rows = np.array([[0, 1, 2, 3], [8, 9, 10, 11]])
    way = path.make_path(features, jnp.asarray(frames), None, jnp.int32(RATE), rows)
    expected = make_frontend(features)(frames[rows], None, np.array([4, 4]))
    np.testing.assert_allclose(way.model_input(way.x), expected, rtol=1e-4, atol=1e-4)
    assert (np.asarray(way.baseline) == frames.min()).all()


def test_to_cells_of_a_picture_turns_rows_to_frequency():
    features = Features(kind="mel_image", image_height=2, image_width=3)
    picture = np.arange(18.0).reshape(2, 3, 3)
    cells = path.to_cells(picture, features, 6.0)
    # Row 0 is the highest band; colours are added up.
    np.testing.assert_array_equal(cells.values, picture.sum(axis=-1)[::-1].T)
    assert cells.seconds.tolist() == [0, 2, 4, 6]
