"""Deletion curves: a true explanation falls faster than random cells, a useless one does not."""

import numpy as np
import pytest

from mgr_jax.explain import deletion
from mgr_jax.explain.cells import Cells, mel_edges

RATE = 8000


def _probability(waveforms):
    """The share of the first second's level that is left."""
    level = np.abs(waveforms[:, :RATE]).mean(axis=1)
    return level / level.max()


def _curves(values, seed=0):
    waveform = np.random.default_rng(1).normal(size=4 * RATE)
    grid = Cells(values, np.linspace(0, 4, len(values) + 1), mel_edges(4, fmax=RATE / 2))
    return deletion.deletion_curves(_probability, waveform, grid, sample_rate=RATE, seed=seed)


def test_deletion_curves_fall_faster_for_a_true_explanation():
    values = np.zeros((8, 4))
    values[:2] = [1, 2, 3, 4]
    curves = _curves(values)
    assert curves.attributed.shape == curves.random.shape == (len(deletion.FRACTIONS),)
    assert curves.attributed[0] == curves.random[0] == 1
    assert (np.diff(curves.attributed[:5]) < 0).all() and curves.attributed[-1] < 0.1
    assert curves.area > 0.2 > 0 > _curves(-values).area


def test_trust_tests_the_areas():
    result = deletion.trust(np.linspace(0.05, 0.2, 12))
    assert result.p == pytest.approx(2 / 2**12) and result.num_positive == result.n == 12
    assert result.mean == pytest.approx(0.125)
    assert result.ci95[0] < result.mean < result.ci95[1]
    assert "better than" in deletion.verdict(result)
    assert "worse" in deletion.verdict(deletion.trust(-np.linspace(0.05, 0.2, 12)))
    assert deletion.trust(np.zeros(4)).p == 1
    assert "not shown" in deletion.verdict(deletion.trust(np.array([-1.0, 1.1, 0.2, -0.3])))
    with pytest.raises(ValueError, match="give two or more"):
        deletion.trust(np.zeros(1))


def test_trust_counts_an_artist_once():
    areas = np.array([0.1, 0.3, -0.2, 0.5, 0.4])
    result = deletion.trust(areas, ["a", "a", "b", "c", "b"])
    assert result == deletion.trust(np.array([0.2, 0.1, 0.5])) and result.n == 3
    assert deletion.trust(areas, [*"abcde"]) == deletion.trust(areas)
