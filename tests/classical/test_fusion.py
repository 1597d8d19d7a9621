"""Tags and spectrograms together, against their two parts."""

import numpy as np
import pytest

from mgr_jax.classical import ensemble, fusion, library, tag_head, views
from mgr_jax.config import Features
from mgr_jax.features import array_spectrogram
from tests.classical import spectrograms

FEATURES = Features(sample_rate=22050, n_fft=256)
FOLDS = np.where(np.arange(36) < 30, np.arange(36) // 3 % 2, -1)
ARTISTS = [f"artist {i // 3}" for i in range(36)]


@pytest.fixture(scope="module")
def data():
    """Three classes, which differ in how fast noise changes, and in their tags."""
    random = np.random.default_rng(0)
    x, y = spectrograms.classes_of_noise(random)
    tags = random.normal(size=(36, 5)) + 2 * np.eye(3, 5)[y]
    tags[30:] = np.nan
    return x, tags, y


@pytest.fixture(scope="module")
def fitted(data):
    x, tags, y = data
    small = {"texture": views.View("texture", n_bands=20)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "VIEWS", small)
        patch.setattr(library, "LINEAR", (("texture", "lda"),))
        return fusion.fit(x, tags, y, FOLDS, ARTISTS, num_classes=3, features=FEATURES)


def test_fit_reports_both_parts_and_their_sum(fitted):
    params, report = fitted
    assert set(report.accuracy) == {"spectrogram", "tags", "both", "texture_lda"}
    assert report.accuracy["both"] > 0.7
    assert (params["weights"] >= 0).all() and set(report.weights) == {"spectrogram", "tags"}


def test_log_probabilities_are_the_weighted_scores_of_the_parts(data, fitted):
    x, tags, _ = data
    params, _ = fitted
    spectrogram = ensemble.log_probabilities(ensemble.subtree(params, "spectrogram"), x[:30])
    scores = tag_head.scores(ensemble.subtree(params, "tags"), tags[:30])
    total = params["weights"][0] * spectrogram + params["weights"][1] * scores
    expected = total - np.log(np.exp(total).sum(axis=1, keepdims=True))
    log_p = fusion.log_probabilities(params, x[:30], tags[:30])
    np.testing.assert_allclose(log_p, expected, atol=1e-6)


def test_fit_learns_tags_from_the_tracks_that_have_them(data, fitted):
    _, tags, y = data
    head = tag_head.fit(tags[:30], y[:30], ARTISTS[:30], num_classes=3)
    own = ensemble.subtree(fitted[0], "tags")
    for name, value in head.items():
        np.testing.assert_array_equal(own[name], value)


def test_relative_distances_reach_one_at_the_rarest_held_out_tracks(data, fitted):
    _, tags, y = data
    params, _ = fitted
    distances = np.zeros(30)
    for fold in (0, 1):
        rows, held_out = (fold != FOLDS)[:30], (fold == FOLDS)[:30]
        artists = [name for name, kept in zip(ARTISTS, rows, strict=False) if kept]
        head = tag_head.fit(tags[:30][rows], y[:30][rows], artists, num_classes=3)
        distances[held_out] = tag_head.distances(head, tags[:30][held_out])
    assert params["threshold"] == pytest.approx(np.quantile(distances, 0.99))
    assert fusion.relative_distances(params, tags[:1] + 50)[0] > 1


def test_strangeness_marks_what_repeats_less_than_the_training_tracks(data, fitted):
    x, tags, _ = data
    params, _ = fitted
    repetition = [array_spectrogram.repetition(frames[:165]) for frames in x]
    assert params["repetition"][2] == pytest.approx(np.quantile(repetition, 0.01))
    measures = fusion.strangeness(params, x[:30], tags[:30], np.full(30, 10.0))
    np.testing.assert_array_equal(measures["tags"], fusion.relative_distances(params, tags[:30]))
    expected = (1 - np.array(repetition[:30])) / (1 - params["repetition"][2])
    np.testing.assert_allclose(measures["repetition"], expected)
    assert measures["persistence"].shape == (30,)


def test_fit_refuses_a_fold_without_tags(data):
    x, tags, y = data
    folds = np.zeros(36, int)
    with pytest.raises(ValueError, match="a row of a fold has NaN"):
        fusion.fit(x, tags, y, folds, ARTISTS, num_classes=3, features=FEATURES)


def test_shorten_repeats_the_start_of_spectrograms_and_takes_its_tags():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 496, 128)).astype(np.float32)
    taggrams = [random.uniform(size=(28, 50)) for _ in range(2)]
    short, tags = fusion.shorten(x, taggrams, seconds=15.0)
    np.testing.assert_array_equal(short[:, :248], short[:, 248:])
    low, median, high = np.percentile(short[:, :, 1:], (5, 50, 95), axis=(1, 2))
    np.testing.assert_allclose(median, 0, atol=1e-6)
    np.testing.assert_allclose(high - low, 1, atol=1e-4)
    same = np.corrcoef(short[0, :248].ravel(), x[0, :248].ravel())[0, 1]
    assert same == pytest.approx(1)
    np.testing.assert_array_equal(tags, tag_head.summarize([t[:13] for t in taggrams]))
    assert fusion.shorten(x, taggrams, seconds=3.0)[1].shape == (2, 50)
    whole, tags = fusion.shorten(x, taggrams, seconds=30.0)
    np.testing.assert_array_equal(whole, x)
    np.testing.assert_array_equal(tags, tag_head.summarize(taggrams))
