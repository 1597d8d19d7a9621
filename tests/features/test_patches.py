"""Patches, whitening and log-covariances against NumPy and SciPy written out."""

import numpy as np
import pytest
from scipy.linalg import logm

from mgr_jax.features import patches

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 5)).astype(np.float32) @ RANDOM.normal(size=(5, 5)).astype(np.float32)


def test_extract_lays_neighbouring_frames_side_by_side():
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    expected = np.stack([x[i : i + 3].ravel() for i in range(4)])
    np.testing.assert_array_equal(patches.extract(x, width=3), expected)


@pytest.mark.parametrize("width", [0, 7])
def test_extract_raises_for_a_width_outside_the_frames(width):
    with pytest.raises(ValueError, match="width"):
        patches.extract(np.zeros((6, 2), np.float32), width=width)


def test_fit_whitening_gives_uncorrelated_components_of_unit_variance():
    whitening = patches.fit_whitening(X, num_components=3, regularizer=0.0)
    components = np.asarray(patches.whiten(whitening, X))
    np.testing.assert_allclose(components.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(components.T), np.eye(3), atol=1e-4)


def test_fit_whitening_keeps_the_largest_components():
    values, vectors = np.linalg.eigh(np.cov(X.T))
    matrix = np.asarray(patches.fit_whitening(X, num_components=1, regularizer=0.0)["matrix"])
    expected = vectors[:, -1] / np.sqrt(values[-1])
    np.testing.assert_allclose(abs(matrix[:, 0]), abs(expected), rtol=1e-3)


@pytest.mark.parametrize(("rows", "count", "word"), [(1, 2, "patches"), (60, 6, "num_components")])
def test_fit_whitening_raises_for_bad_arguments(rows, count, word):
    with pytest.raises(ValueError, match=word):
        patches.fit_whitening(X[:rows], num_components=count)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_log_covariance_is_scipys_matrix_logarithm(floor):
    covariance = np.cov(X.T.astype(np.float64))
    covariance += floor * np.trace(covariance) / 5 * np.eye(5)
    rows, columns = np.triu_indices(5)
    weight = np.where(rows == columns, 1, np.sqrt(2))
    expected = logm(covariance)[rows, columns] * weight
    np.testing.assert_allclose(patches.log_covariance(X, floor=floor), expected, atol=2e-4)


def test_log_covariance_keeps_log_euclidean_distance():
    vector = np.asarray(patches.log_covariance(X))
    full = logm(np.cov(X.T) + 1e-3 * np.trace(np.cov(X.T)) / 5 * np.eye(5))
    np.testing.assert_allclose(np.linalg.norm(vector), np.linalg.norm(full), rtol=1e-4)


def test_log_covariance_of_silence_is_finite():
    assert np.isfinite(patches.log_covariance(np.zeros((10, 4), np.float32))).all()


def test_word_activations_are_the_triangle_of_distances():
    words = RANDOM.normal(size=(7, 5)).astype(np.float32)
    distance = np.linalg.norm(X[:, None] - words[None], axis=-1)
    expected = np.maximum(distance.mean(axis=1, keepdims=True) - distance, 0)
    np.testing.assert_allclose(patches.word_activations(X, words), expected, atol=1e-4)
