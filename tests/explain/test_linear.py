"""Contributions of linear systems against their closed form."""

import numpy as np
import pytest
from sklearn.svm import SVC

from mgr_jax.classical import svm
from mgr_jax.config import Features
from mgr_jax.errors import UserError
from mgr_jax.explain import linear
from mgr_jax.features import filters


def _logistic(rng, size, num_classes=4):
    return {
        "mean": rng.normal(size=size),
        "scale": rng.uniform(0.5, 2, size),
        "kernel": rng.normal(size=(size, num_classes)),
        "bias": rng.normal(size=num_classes),
    }


def _logits(params, x):
    return (x - params["mean"]) / params["scale"] @ params["kernel"] + params["bias"]


def test_contributions_sum_to_the_difference_of_logits():
    rng = np.random.default_rng(0)
    params, x = _logistic(rng, 6), rng.normal(size=6)
    model = linear.make_linear("logistic", params, 2)
    logits, others = _logits(params, x), [0, 1, 3]
    margin = logits[2] - logits[others].mean()
    usual = params["bias"][2] - params["bias"][others].mean()
    values = linear.contributions(model, x)
    assert values.sum() == pytest.approx(margin - usual) and model.offset == pytest.approx(usual)
    kernel = params["kernel"][:, 2] - params["kernel"][:, others].mean(axis=1)
    np.testing.assert_allclose(values, kernel * (x - params["mean"]) / params["scale"])


def test_make_linear_leaves_out_classes_without_a_row():
    rng = np.random.default_rng(1)
    params, x = _logistic(rng, 3), rng.normal(size=3)
    params["bias"][3] = -np.inf
    logits = _logits(params, x)
    model = linear.make_linear("lda", params, 0)
    score = linear.contributions(model, x).sum() + model.offset
    assert score == pytest.approx(logits[0] - logits[1:3].mean())
    with pytest.raises(UserError, match=r"class 3 has no training row.* by occlusion"):
        linear.make_linear("lda", params, 3)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_make_linear_of_an_svm_is_the_sum_of_its_pairs(num_classes):
    rng = np.random.default_rng(2)
    y = np.repeat(np.arange(num_classes), 12)
    x = rng.normal(size=(len(y), 5)) + 3 * np.eye(num_classes, 5)[y]
    params = svm.fit(x, y, x, y, num_classes=num_classes, kernel="linear", num_components=4)
    scaled = (x - params["mean"]) / params["scale"] - params["center"]
    pairs = SVC(kernel="linear", C=float(params["c"]), decision_function_shape="ovo")
    pairs = pairs.fit(scaled @ params["components"].T, y)
    values = pairs.decision_function(scaled @ params["components"].T).reshape(len(y), -1)
    order = [(i, j) for i in range(num_classes) for j in range(i + 1, num_classes)]
    for label in range(num_classes):
        signs = [(label == i) - (label == j) for i, j in order]
        # For two classes scikit-learn's value is above 0 for the second one.
        expected = values @ signs * (-1 if num_classes == 2 else 1)
        model = linear.make_linear("svm", params, label)
        scores = [linear.contributions(model, row).sum() + model.offset for row in x]
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-8)
    assert linear.is_linear("svm", params) and not linear.is_linear("ensemble", {})


def test_mfcc_cells_sum_to_the_contributions_in_each_frame():
    rng = np.random.default_rng(3)
    frames, bands, n_mfcc = 9, 16, 4
    size = n_mfcc + n_mfcc * (n_mfcc + 1) // 2
    params, log_mel = _logistic(rng, size), rng.normal(size=(frames, bands)) * 5 - 30
    basis = filters.dct_basis(n_mels=bands, n_mfcc=n_mfcc).astype(np.float64)
    cepstra = log_mel @ basis.T
    rows, columns = np.triu_indices(n_mfcc)
    x = np.concatenate([cepstra.mean(axis=0), np.cov(cepstra.T)[rows, columns]])
    model = linear.make_linear("logistic", params, 1)
    cells = linear.mfcc_cells(model, log_mel, n_mfcc=n_mfcc)
    values = linear.contributions(model, x)
    assert cells.shape == log_mel.shape
    assert cells.sum() == pytest.approx(values.sum())
    # A frame adds its cepstra to the means, and its products of deviations to the covariances.
    centred = cepstra - cepstra.mean(axis=0)
    products = centred[:, rows] * centred[:, columns] / (frames - 1)
    of_frame = np.concatenate([cepstra / frames, products], axis=1) - model.mean / frames
    np.testing.assert_allclose(cells.sum(axis=1), of_frame @ model.weights, rtol=1e-6)


def test_mfcc_cells_of_one_frame_are_finite():
    model = linear.Linear(np.ones(5), np.zeros(5), 0.0)
    cells = linear.mfcc_cells(model, np.ones((1, 8)), n_mfcc=2)
    assert cells.shape == (1, 8) and np.isfinite(cells).all()


def test_feature_names_are_as_many_as_features():
    features = Features(kind="mfcc_stats", n_mfcc=3)
    names = linear.feature_names(features, 9)
    assert names[2:5] == ["mean of MFCC 2", "variance of MFCC 0", "covariance of MFCC 0 and 1"]
    for kind, size in (("musicnn", 400), ("flattened", 12)):
        assert len(set(linear.feature_names(Features(kind=kind), size))) == size
