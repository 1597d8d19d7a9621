"""Texture statistics against NumPy and SciPy written out."""

import itertools

import numpy as np
import pytest
from scipy.fft import dct

from mgr_jax.features import texture

X = np.random.default_rng(0).normal(size=(200, 24)).astype(np.float32)


def test_modulation_spectrum_equals_numpy_written_out():
    window, total = np.hanning(100)[:, None], 0
    for start in (0, 50, 100):
        piece = X[start : start + 100] - X[start : start + 100].mean(axis=0)
        total = total + abs(np.fft.rfft(piece * window, axis=0)) / 3
    edges = np.unique(np.round(np.geomspace(1, 51, 7)).astype(int))
    expected = [np.log(total[a:b].mean(axis=0) + 1e-3) for a, b in itertools.pairwise(edges)]
    ours = texture.modulation_spectrum(X, num_frames=100, num_bands=6)
    np.testing.assert_allclose(ours, np.concatenate(expected), atol=1e-4)


def test_modulation_spectrum_finds_the_rate_of_a_tremolo():
    slow, fast = (np.sin(2 * np.pi * rate * np.arange(200) / 100)[:, None] for rate in (4, 40))
    peaks = [
        int(np.argmax(texture.modulation_spectrum(x.astype(np.float32), num_frames=100)))
        for x in (slow, fast)
    ]
    assert peaks[0] < peaks[1]


def test_onset_autocorrelation_peaks_at_the_beat():
    x = np.zeros((300, 4), np.float32)
    x[::20] = 1.0
    ours = np.asarray(texture.onset_autocorrelation(x, num_lags=30))
    assert ours.argmax() + 1 == 20


def test_onset_autocorrelation_equals_numpy_written_out():
    onset = np.maximum(np.diff(X.astype(np.float64), axis=0), 0).mean(axis=1)
    onset -= onset.mean()
    full = np.correlate(onset, onset, "full")[len(onset) - 1 :]
    ours = texture.onset_autocorrelation(X, num_lags=10)
    np.testing.assert_allclose(ours, full[1:11] / full[0], atol=1e-4)


def test_cepstral_energy_equals_scipys_transform():
    energy = dct(X.astype(np.float64), axis=-1, norm="ortho") ** 2
    edges = np.unique(np.geomspace(1, 24, 6).astype(int))
    expected = [np.log(energy[:, a:b].mean(1) + 1e-6) for a, b in itertools.pairwise(edges)]
    ours = texture.cepstral_energy(X, num_bands=5)
    np.testing.assert_allclose(ours, np.stack(expected, 1), atol=1e-3)


@pytest.mark.parametrize("function", [texture.modulation_spectrum, texture.onset_autocorrelation])
def test_texture_raises_for_too_few_frames(function):
    with pytest.raises(ValueError, match="frames"):
        function(np.zeros((40, 4), np.float32))
