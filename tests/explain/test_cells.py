"""Cells: sums over other cells keep the total, and removal silences what lies in a cell."""

import numpy as np
import pytest

from mgr_jax.explain import cells
from mgr_jax.explain.cells import Cells

RATE = 8000


def test_spread_keeps_the_total_and_divides_by_overlap():
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    fine = Cells(values, np.array([0.0, 1.0, 2.0]), np.array([0.0, 500.0, 1000.0]))
    same = cells.spread(fine, fine.seconds, fine.hz)
    np.testing.assert_allclose(same.values, values)
    coarse = cells.spread(fine, np.array([0.0, 0.5, 2.0]), np.array([0.0, 1000.0]))
    np.testing.assert_allclose(coarse.values, [[1.5], [8.5]])
    # What lies outside goes to the nearest cell.
    inner = cells.spread(fine, np.array([0.0, 1.0]), np.array([0.0, 500.0]))
    np.testing.assert_allclose(inner.values, [[10.0]])


def test_spread_folds_audio_that_is_repeated():
    values = np.arange(1.0, 5.0)[:, None]
    repeated = Cells(values, np.linspace(0, 4, 5), np.array([0.0, 1000.0]))
    folded = cells.spread(repeated, np.linspace(0, 1.5, 4), repeated.hz, period=1.5)
    # Halves of seconds of the audio: 0, 3 and 6; 1, 4 and 7; 2 and 5.
    np.testing.assert_allclose(folded.values[:, 0], [0.5 + 1 + 2, 0.5 + 1.5 + 2, 1 + 1.5])


def test_spread_of_a_single_sample_that_is_repeated_takes_no_time():
    values = Cells(np.arange(8.0).reshape(4, 2), np.linspace(0, 30, 5), np.array([0.0, 500, 1000]))
    folded = cells.spread(values, np.array([0.0, 1e-9]), values.hz, period=1e-9)
    np.testing.assert_allclose(folded.values, [[12.0, 16.0]])


def test_remove_silences_one_band_at_one_time():
    time = np.arange(4 * RATE) / RATE
    low, high = np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 3000 * time)
    seconds, hz = np.array([0.0, 2.0, 4.0]), np.array([0.0, 1000.0, 4000.0])
    masks = np.zeros((3, 2, 2), bool)
    masks[1, 1, 1], masks[2] = True, True
    nothing, one, everything = cells.remove(low + high, masks, seconds, hz, RATE)
    np.testing.assert_allclose(nothing, low + high, atol=1e-6)
    inside, before = slice(int(2.3 * RATE), int(3.8 * RATE)), slice(0, int(1.7 * RATE))
    np.testing.assert_allclose(one[inside], low[inside], atol=2e-3)
    np.testing.assert_allclose(one[before], (low + high)[before], atol=2e-3)
    np.testing.assert_allclose(everything, 0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 100, 1024, 2047])
def test_remove_takes_audio_shorter_than_a_frame(length):
    waveform = np.random.default_rng(0).standard_normal(length).astype(np.float32)
    masks = np.array([False, True])[:, None, None]
    edges = np.array([0.0, length / RATE]), np.array([0.0, RATE / 2])
    nothing, everything = cells.remove(waveform, masks, *edges, RATE)
    np.testing.assert_allclose(nothing, waveform, atol=1e-6)
    np.testing.assert_allclose(everything, np.zeros(length), atol=1e-6)


def test_mel_edges_rise_to_the_end():
    edges = cells.mel_edges(8, fmax=4000)
    assert edges[0] == 0 and edges[-1] == pytest.approx(4000) and (np.diff(edges) > 0).all()
