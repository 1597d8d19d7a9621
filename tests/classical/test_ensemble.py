"""The ensemble against its parts, written out."""

import dataclasses

import numpy as np
import pytest

from mgr_jax.classical import ensemble, lda, library, stacking, svm, views
from mgr_jax.config import Features
from mgr_jax.errors import UserError
from tests.classical import spectrograms

FEATURES = Features(sample_rate=22050, n_fft=256)
SMALL = {
    "texture": views.View("texture", n_bands=20),
    "covariance": views.View("covariance", n_bands=20, width=2, num_components=4),
    "words": views.View("words", n_bands=20, width=3, num_components=6, num_words=8),
}


@pytest.fixture(scope="module")
def data():
    return spectrograms.classes_of_noise(np.random.default_rng(0))


@pytest.fixture(scope="module")
def fitted(data):
    x, y = data
    folds = np.arange(36) // 3 % 2
    folds[[0, 3]] = -1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "_NUM_PATCHES", 500)
        with patch.context() as small:
            small.setattr(library, "VIEWS", SMALL)
            result = ensemble.fit(x[:30], y[:30], folds[:30], num_classes=3, features=FEATURES)
        yield result


@pytest.mark.e2e
def test_fit_learns_and_reports_every_member(data, fitted):
    x, y = data
    params, choice = fitted
    members = {f"{view}_{kind}" for view in SMALL for kind in ("lda", "svm")}
    assert set(choice.accuracy) == members and set(choice.weights) <= members
    assert sum(choice.weights.values()) == pytest.approx(1)
    assert choice.ensemble_accuracy > 0.8
    log_p = ensemble.log_probabilities(params, x[30:])
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, rtol=1e-9)
    assert (log_p.argmax(axis=1) == y[30:]).mean() > 0.8
    assert all(value.dtype.kind in "fiuU" for value in params.values())


@pytest.mark.e2e
def test_fit_weights_members_by_scores_of_held_out_tracks(data, fitted):
    x, y = data
    x, y, folds = x[:30], y[:30], np.arange(30) // 3 % 2
    folds[[0, 3]] = -1
    choice = fitted[1]
    scores = []
    for name, view in SMALL.items():
        vector = views.transform(view, views.fit(view, x, FEATURES), x, FEATURES)
        for kind in ("lda", "svm"):
            score = np.zeros((30, 3))
            for fold in (0, 1):
                own, held = folds != fold, folds == fold
                if kind == "lda":
                    model = lda.fit(vector, y, num_classes=3, rows=own)
                    score[held] = lda.discriminants(model, vector[held])
                else:
                    model = svm.fit_one(vector[own], y[own], num_classes=3, c=10.0)
                    score[held] = svm.decision_function(model, vector[held])
            score = (score - score.mean(axis=1, keepdims=True))[folds >= 0]
            right = (score.argmax(axis=1) == y[folds >= 0]).mean()
            assert choice.accuracy[f"{name}_{kind}"] == pytest.approx(right)
            scores.append(score / np.sqrt(np.square(score).mean()))
    weights = stacking.fit_weights(np.stack(scores), y[folds >= 0])
    shares = weights[weights > 1e-3 * weights.sum()] / weights.sum()
    np.testing.assert_allclose(list(choice.weights.values()), shares, rtol=0.02)


def test_fit_of_listed_members_gives_them_equal_weights(data):
    x, y = data
    x, y = x[:30], y[:30]
    listed = (("covariance", "lda"), ("covariance", "svm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "VIEWS", SMALL)
        params, choice = ensemble.fit(
            x, y, np.arange(30) // 3 % 2, num_classes=3, features=FEATURES, listed=listed
        )
    assert choice.weights == {"covariance_lda": 0.5, "covariance_svm": 0.5}
    assert set(choice.accuracy) == set(choice.weights)
    log_p = ensemble.log_probabilities(params, x)
    assert (log_p.argmax(axis=1) == y).mean() > 0.8


def test_the_listed_members_are_of_the_library():
    assert {view for view, _ in library.LISTED} <= library.VIEWS.keys()
    assert len(set(library.LISTED)) == len(library.LISTED)


@pytest.mark.e2e
def test_log_probabilities_are_the_weighted_sum_of_the_members(data, fitted):
    x, _ = data
    params, choice = fitted
    total = 0
    for (view, kind), weight in zip(params["members"], params["weights"], strict=True):
        assert f"{view}_{kind}" in choice.weights
        vector = views.transform(
            SMALL[view], ensemble.subtree(params, f"{view}/view"), x[:4], FEATURES
        )
        own = ensemble.subtree(params, f"{view}/{kind}")
        if kind == "lda":
            z = (vector - own["mean"]) / own["scale"]
            score = z @ own["kernel"] + own["bias"]
        else:
            score = svm.decision_function(own, vector)
        total = total + weight * (score - score.mean(axis=1, keepdims=True))
    expected = total - np.log(np.exp(total).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ensemble.log_probabilities(params, x[:4]), expected, atol=1e-4)


@pytest.mark.e2e
def test_log_probabilities_do_not_depend_on_the_other_rows(data, fitted):
    x, _ = data
    whole = ensemble.log_probabilities(fitted[0], x)
    np.testing.assert_allclose(ensemble.log_probabilities(fitted[0], x[5:6]), whole[5:6], atol=1e-4)


@pytest.mark.e2e
def test_words_are_those_of_the_training_rows_alone_and_of_the_seed(data):
    x, _ = data
    view = SMALL["words"]
    one, again, other = (
        views.fit(view, rows, FEATURES)["words"] for rows in (x[:20], x[:20], x[16:])
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    seeded = views.fit(dataclasses.replace(view, seed=1), x[:20], FEATURES)["words"]
    assert not np.allclose(one, seeded)


@pytest.mark.parametrize("kind", views.STATISTICS)
def test_transform_describes_each_track_by_itself(data, kind):
    x, _ = data
    view = views.View(kind, scale="linear") if kind == "energy" else views.View(kind, n_bands=20)
    assert not views.fit(view, x, FEATURES)
    both = views.transform(view, {}, x[:2], FEATURES)
    assert both.ndim == 2 and np.isfinite(both).all()
    np.testing.assert_allclose(
        views.transform(view, {}, x[1:2], FEATURES), both[1:], rtol=1e-5, atol=1e-5
    )


def test_the_library_has_no_view_twice():
    assert len(set(library.VIEWS.values())) == len(library.VIEWS)


def test_check_shapes_names_what_is_too_small():
    with pytest.raises(UserError, match="130 frames and 64 bins"):
        ensemble.check_shapes((100, 128))
