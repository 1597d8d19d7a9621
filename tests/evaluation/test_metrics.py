"""Metrics against scikit-learn, with classes missing on either side."""

import numpy as np
import pytest
import sklearn.metrics

from mgr_jax.evaluation import metrics

NAMES = ("blues", "jazz", "metal", "pop", "rock")


def _draw(seed, *, true=range(5), predicted=range(5), n=60):
    rng = np.random.default_rng(seed)
    return rng.choice(list(true), n), rng.choice(list(predicted), n)


CASES = {
    "all classes": {},
    "one class without tracks": {"true": (0, 1, 3, 4)},
    "one class never predicted": {"predicted": (0, 1, 2, 4)},
    "one class neither": {"true": (0, 1, 2, 4), "predicted": (0, 1, 2, 4)},
    "one class alone": {"true": (2,), "predicted": (2, 3)},
    "one track": {"n": 1},
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@cases
def test_confusion_matrix_is_scikit_learns(case):
    true, predicted = _draw(0, **case)
    expected = sklearn.metrics.confusion_matrix(true, predicted, labels=range(5))
    matrix = metrics.confusion_matrix(true, predicted, 5)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.dtype == np.int64


@cases
def test_accuracy_is_scikit_learns(case):
    true, predicted = _draw(1, **case)
    value = metrics.accuracy(metrics.confusion_matrix(true, predicted, 5))
    assert value == pytest.approx(sklearn.metrics.accuracy_score(true, predicted))


@cases
@pytest.mark.parametrize("seed", range(5))
def test_per_class_is_scikit_learns_report(case, seed):
    true, predicted = _draw(seed, **case)
    rows = metrics.per_class(metrics.confusion_matrix(true, predicted, 5), NAMES)
    seen = sorted({*true, *predicted})
    report = sklearn.metrics.classification_report(
        true,
        predicted,
        labels=seen,
        target_names=[NAMES[label] for label in seen],
        output_dict=True,
        zero_division=0,
    )
    assert list(rows) == [*NAMES, "macro avg", "weighted avg"]
    for name, row in rows.items():
        if name in report:
            values = report[name]
            expected = [values[key] for key in ("precision", "recall", "f1-score", "support")]
        else:
            expected = [0, 0, 0, 0]  # A class that is nowhere.
        assert list(row.values()) == pytest.approx(expected)
        assert list(row) == ["precision", "recall", "f1", "support"]
        assert type(row["support"]) is int


def test_log_loss_is_scikit_learns():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), 40)
    labels = rng.integers(0, 5, 40)
    expected = sklearn.metrics.log_loss(labels, probabilities, labels=range(5))
    assert metrics.log_loss(np.log(probabilities), labels) == pytest.approx(expected)
    uniform = np.full((3, 5), -np.log(5))
    assert metrics.log_loss(uniform, np.array([0, 1, 4])) == pytest.approx(np.log(5))
