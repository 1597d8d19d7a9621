"""The SVM against scikit-learn's own decisions."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.decomposition import PCA
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mgr_jax.classical import svm


def _data(num_classes, num_features=30):
    rng = np.random.default_rng(0)
    y = rng.integers(0, num_classes, 200)
    x = 0.7 * rng.normal(size=(num_classes, num_features))[y] + rng.normal(size=(200, num_features))
    x = x * 10.0 ** rng.uniform(-2, 2, num_features) + 50
    return x[:120], y[:120], x[120:], y[120:]


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_decision_function_equals_scikit_learns(kernel, num_classes):
    x, y, x_valid, y_valid = _data(num_classes)
    params = svm.fit(
        x, y, x_valid, y_valid, num_classes=num_classes, kernel=kernel, num_components=20
    )
    scaler = StandardScaler().fit(x)
    pca = PCA(20, random_state=0).fit(scaler.transform(x))
    peer = SVC(
        C=float(params["c"]),
        gamma=float(params["gamma"]),
        kernel=kernel,
        break_ties=num_classes > 2,
    )
    peer.fit(pca.transform(scaler.transform(x)), y)
    reduced = pca.transform(scaler.transform(x_valid))
    ours, theirs = svm.decision_function(params, x_valid), peer.decision_function(reduced)
    if num_classes == 2:
        theirs = np.stack([-theirs, theirs], 1)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    np.testing.assert_array_equal(ours.argmax(1), peer.predict(reduced))


def test_fit_keeps_the_best_of_the_grid_on_validation():
    x, y, x_valid, y_valid = _data(4)
    grid = {"c": (0.01, 1.0, 100.0), "gamma": (0.1, 10.0)}

    def accuracy(**fields):
        params = svm.fit(x, y, x_valid, y_valid, num_classes=4, num_components=20, **fields)
        return (svm.log_probabilities(params, x_valid).argmax(1) == y_valid).mean(), params

    alone = [accuracy(c=(c,), gamma=(g,))[0] for c in grid["c"] for g in grid["gamma"]]
    best, params = accuracy(**grid)
    assert best == max(alone) and min(alone) < best
    assert float(params["c"]) in grid["c"]


def test_log_probabilities_are_the_softmax_of_the_decision_values():
    x, y, x_valid, y_valid = _data(4)
    params = svm.fit(x, y, x_valid, y_valid, num_classes=4, num_components=20)
    log_p = svm.log_probabilities(params, x_valid)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1)
    decision = svm.decision_function(params, x_valid)
    np.testing.assert_allclose(log_p, log_softmax(decision, axis=1))
    older = svm.log_probabilities(params | {"slope": np.asarray(2.5)}, x_valid)
    np.testing.assert_allclose(older, log_softmax(2.5 * decision, axis=1))


def test_fit_ranks_settings_of_equal_accuracy_by_cross_entropy_at_the_best_slope():
    x, y, x_valid, y_valid = _data(4)
    params = svm.fit(x, y, x_valid, y_valid, num_classes=4, num_components=20)
    decision = svm.decision_function(params, x_valid)
    losses = [log_loss(y_valid, softmax(s * decision, axis=1)) for s in np.geomspace(0.01, 20, 400)]
    assert svm._least_loss(decision, y_valid) == pytest.approx(min(losses), abs=1e-4)


def test_refit_with_the_same_rows_is_the_same_model():
    x, y, x_valid, y_valid = _data(3)
    params = svm.fit(x, y, x_valid, y_valid, num_classes=3, num_components=20)
    again = svm.refit(params, x, y)
    assert again.keys() == params.keys()
    for name, value in params.items():
        np.testing.assert_array_equal(again[name], value)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_parameters_are_arrays_that_need_no_pickle(tmp_path, kernel):
    x, y, x_valid, y_valid = _data(3)
    params = svm.fit(x, y, x_valid, y_valid, num_classes=3, kernel=kernel)
    np.savez(tmp_path / "svm.npz", **params)
    with np.load(tmp_path / "svm.npz", allow_pickle=False) as file:
        loaded = {name: file[name] for name in file.files}
    np.testing.assert_array_equal(
        svm.log_probabilities(loaded, x_valid), svm.log_probabilities(params, x_valid)
    )
    assert set(loaded) == set(params)


def test_fit_takes_fewer_components_than_tracks():
    x, y, x_valid, y_valid = _data(3, num_features=400)
    params = svm.fit(x[:30], y[:30], x_valid, y_valid, num_classes=3)
    assert params["components"].shape == (29, 400)
    wide = svm.fit(x.astype(np.float32), y, x_valid, y_valid, num_classes=3, num_components=7)
    again = svm.fit(x.astype(np.float32), y, x_valid, y_valid, num_classes=3, num_components=7)
    assert wide["components"].shape == (7, 400)
    np.testing.assert_array_equal(wide["dual"], again["dual"])


def test_fit_without_a_class_gives_it_next_to_no_probability():
    x, y, x_valid, y_valid = _data(4)
    kept = y != 2
    params = svm.fit(x[kept], y[kept], x_valid, y_valid, num_classes=4)
    log_p = svm.log_probabilities(params, x_valid)
    assert np.isfinite(log_p).all() and (log_p[:, 2] <= svm.FLOOR).all()
    assert set(log_p.argmax(1)) == {0, 1, 3}


def test_fit_refuses_bad_arguments():
    x, y, x_valid, y_valid = _data(3)
    for message, arguments in {
        "kernel is 'poly'": {"kernel": "poly"},
        "give values": {"c": ()},
        "greater than 0": {"gamma": (-1.0,)},
        "labels of x must": {"num_classes": 2},
        "one class only": {"y": np.zeros_like(y)},
        "x_valid is": {"x_valid": x_valid[:0], "y_valid": y_valid[:0]},
        "x is": {"x": x[:5]},
    }.items():
        given = {"x": x, "y": y, "x_valid": x_valid, "y_valid": y_valid, "num_classes": 3}
        with pytest.raises(ValueError, match=message):
            svm.fit(**(given | arguments))
