"""Scores of held-out training tracks against scikit-learn, and the temperature from them."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mgr_jax import config as config_lib
from mgr_jax.classical import held_out, logistic, svm
from mgr_jax.evaluation import calibration, metrics

CENTERS = 0.55 * np.random.default_rng(99).normal(size=(4, 40))


def _draw(seed, n):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    return (CENTERS[y] + rng.normal(size=(n, 40))).astype(np.float32), y


def _config(name, **fields):
    config = config_lib.Config()
    config.model.name = name
    for field, value in fields.items():
        setattr(config.model, field, value)
    return config


def test_scores_are_of_models_of_the_other_folds():
    folds = np.array([0, 1, -1, 0, 1])

    def score(rows, scored):
        assert rows[2] and not (rows & scored).any() and (rows | scored).all()
        return np.tile(np.flatnonzero(rows)[:2], (scored.sum(), 1))

    values = held_out.scores(score, folds, num_classes=2)
    assert np.isnan(values[2]).all()
    np.testing.assert_array_equal(values[folds == 0], [[1, 2], [1, 2]])
    np.testing.assert_array_equal(values[folds == 1], [[0, 2], [0, 2]])


def test_log_probabilities_of_svm_are_those_of_scikit_learn():
    x, y = _draw(0, 60)
    folds, config = np.arange(60) % 3 - (np.arange(60) % 10 == 9), _config("svm")
    params = svm.fit(x, y, x[:9], y[:9], num_classes=4, num_components=10)
    log_p = held_out.log_probabilities(config, params, x, y, folds, num_classes=4)
    for fold in range(3):
        peer = make_pipeline(
            StandardScaler(),
            PCA(10),
            SVC(C=float(params["c"]), gamma=float(params["gamma"]), break_ties=True),
        ).fit(x[folds != fold], y[folds != fold])
        decision = peer.decision_function(x[folds == fold])
        expected = decision - np.logaddexp.reduce(decision, axis=1, keepdims=True)
        np.testing.assert_allclose(log_p[folds == fold], expected, atol=1e-4)
    assert np.isnan(log_p[folds == -1]).all()


@pytest.mark.e2e
def test_log_probabilities_of_logistic_are_those_of_scikit_learn():
    x, y = _draw(0, 60)
    folds, config = np.arange(60) % 3, _config("logistic", l2=(0.3, 0.03, 0.1))
    path = logistic.fit(x, y, num_classes=4, l2=config.model.l2)
    params = {name: value[2] for name, value in path.items()}
    log_p = held_out.log_probabilities(config, params, x, y, folds, num_classes=4)
    for fold in range(3):
        peer = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.1 * 40), tol=1e-8))
        peer.fit(x[folds != fold], y[folds != fold])
        expected = peer.predict_log_proba(x[folds == fold])
        np.testing.assert_allclose(log_p[folds == fold], expected, atol=2e-3)


def test_temperature_of_held_out_tracks_does_not_harm_where_that_of_validation_does():
    """The 20 tracks that chose the settings are classified better than others."""
    changes = []
    grid = {"c": (1.0, 10.0), "gamma": (0.3, 1.0)}
    for seed in range(2, 5):
        x, y = _draw(seed, 500)
        learned, valid, others = slice(80), slice(80, 100), slice(100, None)
        params = svm.fit(x[learned], y[learned], x[valid], y[valid], num_classes=4, **grid)
        log_p = held_out.log_probabilities(
            _config("svm"), params, x[learned], y[learned], np.arange(80) % 5, num_classes=4
        )
        ours = calibration.choose_temperature(log_p, y[learned]).temperature
        fitted = calibration.fit_temperature(svm.log_probabilities(params, x[valid]), y[valid])
        scores = svm.log_probabilities(params, x[others])
        before = metrics.log_loss(scores, y[others])
        scaled = (calibration.scale(scores, t) for t in (fitted, ours))
        changes.append([metrics.log_loss(s, y[others]) - before for s in scaled])
    (mean_fitted, mean_ours), (worst_fitted, worst_ours) = np.mean(changes, 0), np.max(changes, 0)
    assert mean_fitted > 0.1 and worst_fitted > 0.5
    assert mean_ours < -0.03 and worst_ours < 0.05
