"""Linear discriminant analysis against scikit-learn."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from mgr_jax.classical import lda


def _data(rows, size, classes=5):
    random = np.random.default_rng(rows)
    y = random.integers(classes, size=rows)
    x = random.normal(size=(rows, size)) @ random.normal(size=(size, size)) * 0.3
    return (x + y[:, None] * random.normal(size=size) * 0.5 + 3).astype(np.float32), y


@pytest.mark.parametrize(("rows", "size"), [(120, 20), (60, 150)])
def test_fit_equals_scikit_learn_with_ledoit_wolf_shrinkage(rows, size):
    x, y = _data(rows, size)
    scaler = StandardScaler().fit(x)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(scaler.transform(x), y)
    test = x[::3] + 0.5
    expected = model.predict_log_proba(scaler.transform(test))
    log_p = lda.log_probabilities(lda.fit(x, y, num_classes=5), test)
    np.testing.assert_allclose(log_p, expected, atol=2e-3)


def test_fit_on_some_rows_is_the_fit_without_the_others():
    x, y = _data(120, 20)
    x[::3] += 100  # Rows of the others would show in the mean.
    rows = np.arange(120) % 3 > 0
    some, alone = (
        lda.fit(x, y, num_classes=5, rows=rows),
        lda.fit(x[rows], y[rows], num_classes=5),
    )
    for name in alone:
        np.testing.assert_allclose(some[name], alone[name], rtol=2e-3, atol=2e-4)
    with pytest.raises(ValueError, match="rows"):
        lda.fit(x, y, num_classes=5, rows=rows[1:])


def test_fit_gives_an_absent_class_no_probability_and_a_constant_feature_no_weight():
    x, y = _data(120, 20, classes=4)
    x[:, 3] = 7.0
    params = lda.fit(x, y, num_classes=5)
    scores = np.asarray(lda.log_probabilities(params, x))
    assert (scores[:, 4] == -np.inf).all()
    assert np.isfinite(scores[:, :4]).all()
    np.testing.assert_allclose(params["kernel"][3], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), "x is"),
        (np.zeros((0, 2)), np.zeros(0, int), "x is"),
        (np.zeros((2, 2)), np.array([0, 9]), "labels"),
    ],
)
def test_fit_refuses(x, y, word):
    with pytest.raises(ValueError, match=word):
        lda.fit(x, y, num_classes=3)
