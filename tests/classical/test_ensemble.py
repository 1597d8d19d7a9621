import numpy as np
import pytest

from mgr_jax.classical import ensemble, views
from mgr_jax.config import Features
from mgr_jax.errors import UserError

FEATURES = Features(sample_rate=22050, n_fft=256)
SMALL = {
    "texture": views.View("texture", n_bands=20),
    "covariance": views.View("covariance", n_bands=20, width=2, num_components=4),
    "words": views.View("words", n_bands=20, width=3, num_components=6, num_words=8),
}


@pytest.fixture(scope="module")
def data():
    """Three classes, which differ in how fast noise changes."""
    random = np.random.default_rng(0)
    y = np.arange(36) % 3
    x = random.normal(size=(36, 140, 128)).astype(np.float32)
    for i, label in enumerate(y):
        kernel = np.ones(1 + 2 * label) / np.sqrt(1 + 2 * label)
        x[i] = np.apply_along_axis(np.convolve, 0, x[i], kernel, "same")
    return x, y


@pytest.fixture(scope="module")
def fitted(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "VIEWS", SMALL)
        patch.setattr(ensemble, "MEMBERS", tuple((v, c) for v in SMALL for c in ("lda", "svm")))
        patch.setattr(views, "_NUM_PATCHES", 500)
        x, y = data
        folds = np.arange(36) // 3 % 2
        folds[[0, 3]] = -1
        model = ensemble.fit(x[:30], y[:30], folds[:30], num_classes=3, features=FEATURES)
        yield model


def test_fit_learns_and_reports_every_member(data, fitted):
    x, y = data
    params, scores = fitted
    assert set(scores) == {f"{v}_{c}" for v in SMALL for c in ("lda", "svm")} | {"ensemble"}
    found = ensemble.log_probabilities(params, x[30:])
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-9)
    assert (found.argmax(axis=1) == y[30:]).mean() > 0.8
    assert all(value.dtype.kind in "fiuU" for value in params.values())


def test_log_probabilities_are_the_mean_of_the_members_by_their_spread(data, fitted):
    x, _ = data
    params, _ = fitted
    total = 0
    for i, (view, classifier) in enumerate(ensemble.MEMBERS):
        vector = views.transform(SMALL[view], ensemble._below(params, view), x[:4], FEATURES)
        own = ensemble._below(params, f"{view}_{classifier}")
        if classifier == "lda":
            z = (vector - own["mean"]) / own["scale"]
            score = z @ own["kernel"] + own["bias"]
        else:
            score = ensemble.svm.decision_function(own, vector)
        total = total + (score - score.mean(axis=1, keepdims=True)) / params["spread"][i] / 6
    logits = params["slope"] * total
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ensemble.log_probabilities(params, x[:4]), expected, atol=1e-4)


def test_log_probabilities_do_not_depend_on_the_other_rows(data, fitted):
    x, _ = data
    whole = ensemble.log_probabilities(fitted[0], x)
    np.testing.assert_allclose(ensemble.log_probabilities(fitted[0], x[5:6]), whole[5:6], atol=1e-4)


def test_words_are_those_of_the_training_rows_alone(data):
    x, _ = data
    view = SMALL["words"]
    one, other = (views.fit(view, rows, FEATURES) for rows in (x[:20], x[16:]))
    assert not np.allclose(one["words"], other["words"])


def test_check_shapes_names_what_is_too_small():
    with pytest.raises(UserError, match="130 frames and 64 bins"):
        ensemble.check_shapes((100, 128))
