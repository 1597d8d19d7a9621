"""Tracks from windows: the geometric mean of probabilities, written out in NumPy."""

import pathlib

import numpy as np
import pytest

from mgr_jax.data import batches, clips
from mgr_jax.evaluation import tracks as tracks_lib

LENGTHS = (100, 40, 7, 60)
WINDOW = 30
NUM_CLASSES = 5


def _part():
    samples = np.random.default_rng(0).integers(-3000, 3000, (4, 100)).astype(np.int16)
    records = tuple(clips.Record(f"t{i}", length=length) for i, length in enumerate(LENGTHS))
    for row, length in enumerate(LENGTHS):
        samples[row, length:] = 0
    store = clips.Clips(samples, records, 8000, pathlib.Path())
    ids = [record.id for record in records]
    return batches.make_part(store, ids, dict.fromkeys(ids, "a"), ["a"])


def _log_probabilities(waveform):
    """Any function of a window `[T]`."""
    weights = np.random.default_rng(1).normal(size=(WINDOW, NUM_CLASSES)) * 20
    logits = np.asarray(waveform, np.float64) @ weights
    return logits - np.log(np.exp(logits).sum())


def _predict(batch):
    return np.stack([_log_probabilities(waveform) for waveform in batch["waveform"]])


def _written_out(part):
    """Product of the probabilities of the windows, to the power 1/n, and normalised."""
    tracks = []
    for row, length in enumerate(LENGTHS):
        last = max(length - WINDOW, 0)
        starts = [*range(0, last, WINDOW), last]
        windows = [part.clips.waveform(row, start, WINDOW) for start in starts]
        # Audio that is shorter than a window is repeated.
        windows = [np.resize(window[: length - last], WINDOW) for window in windows]
        product = np.prod([np.exp(_log_probabilities(window)) for window in windows], axis=0)
        mean = product ** (1 / len(windows))
        tracks.append(mean / mean.sum())
    return np.array(tracks)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 50])
def test_score_tracks_is_the_normalised_geometric_mean_over_the_windows(batch_size):
    part = _part()
    scores = tracks_lib.score_tracks(_predict, part, batch_size=batch_size, window=WINDOW)
    assert scores.shape == (4, NUM_CLASSES)
    np.testing.assert_allclose(np.exp(scores), _written_out(part), rtol=1e-6)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("filling", [np.nan, -np.inf, 1e30])
def test_score_tracks_ignores_padding(filling):
    part = _part()

    def predict(batch):
        return np.where(batch["mask"][:, None] > 0, _predict(batch), filling)

    scores = tracks_lib.score_tracks(predict, part, batch_size=6, window=WINDOW)
    np.testing.assert_allclose(np.exp(scores), _written_out(part), rtol=1e-6)


def test_score_tracks_keeps_the_log_probabilities_of_a_single_window():
    part = _part()
    scores = tracks_lib.score_tracks(_predict, part, batch_size=2, window=WINDOW)
    window = np.resize(part.clips.waveform(2, 0, LENGTHS[2]), WINDOW)
    np.testing.assert_allclose(scores[2], _log_probabilities(window))
