"""The head on tags: vectors of any number of windows, weighted discriminants, distances."""

import numpy as np
import pytest

from mgr_jax.classical import tag_head

ARTISTS = [f"artist {i // 3}" for i in range(60)]


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    y = np.arange(60) // 3 % 4
    centers = random.normal(size=(4, 6)) * 2
    return centers[y] + random.normal(size=(60, 6)), y


def test_summarize_is_the_mean_logarithm_of_any_number_of_windows():
    random = np.random.default_rng(0)
    taggrams = [random.uniform(size=(count, 5)).astype(np.float32) for count in (1, 4, 28)]
    vectors = tag_head.summarize(taggrams)
    np.testing.assert_allclose(vectors[0], np.log(taggrams[0][0] + 1e-3), rtol=1e-6)
    np.testing.assert_allclose(vectors[1], np.log(taggrams[1] + 1e-3).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(tag_head.summarize([np.tile(taggrams[1], (3, 1))])[0], vectors[1])


def test_fit_of_equal_artists_is_the_shrunk_discriminant(data):
    x, y = data
    model = tag_head.fit(x, y, ARTISTS, num_classes=4)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    centers = np.stack([z[y == label].mean(axis=0) for label in range(4)])
    covariance = np.mean([np.cov(z[y == label].T, bias=True) for label in range(4)], axis=0)
    covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance)) + 1e-6 * np.eye(6)
    inverse = np.linalg.inv(covariance)
    expected = z @ inverse @ centers.T - 0.5 * np.diag(centers @ inverse @ centers.T)
    np.testing.assert_allclose(tag_head.scores(model, x), expected, atol=1e-9)
    offsets = z[:, None] - centers
    squares = np.einsum("nci,ij,ncj->nc", offsets, inverse, offsets)
    np.testing.assert_allclose(tag_head.distances(model, x), np.sqrt(squares.min(axis=1)))


def test_fit_weighs_artists_rather_than_tracks(data):
    x, y = data
    # A track that is there four times as one artist counts twice.
    rows = np.concatenate([np.arange(60), [0, 0, 0]])
    artists = [f"artist {i}" for i in range(60)] + ["artist 0"] * 3
    many = tag_head.fit(x[rows], y[rows], artists, num_classes=4)
    rows = np.concatenate([np.arange(60), [0]])
    twice = tag_head.fit(x[rows], y[rows], [str(i) for i in range(61)], num_classes=4)
    for name, value in many.items():
        np.testing.assert_allclose(value, twice[name], err_msg=name)


def test_fit_gives_nothing_to_a_class_without_tracks(data):
    x, y = data
    model = tag_head.fit(x, y, ARTISTS, num_classes=5)
    assert (tag_head.scores(model, x)[:, 4] == -np.inf).all()
    np.testing.assert_allclose(
        tag_head.distances(model, x),
        tag_head.distances(tag_head.fit(x, y, ARTISTS, num_classes=4), x),
    )


def test_distances_of_other_music_are_larger(data):
    x, y = data
    model = tag_head.fit(x, y, ARTISTS, num_classes=4)
    assert tag_head.distances(model, x + 20).min() > tag_head.distances(model, x).max()
