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


@cases
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_is_scikit_learns(case):
    true, predicted = _draw(2, **case)
    value = metrics.balanced_accuracy(metrics.confusion_matrix(true, predicted, 5))
    assert value == pytest.approx(sklearn.metrics.balanced_accuracy_score(true, predicted))


def _scores(seed, n=80, num_classes=5):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(num_classes), n)), rng.integers(0, num_classes, n)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_in_top_k_is_scikit_learns(k):
    scores, labels = _scores(0)
    expected = sklearn.metrics.top_k_accuracy_score(
        labels, scores, k=k, labels=range(5), normalize=False
    )
    assert metrics.in_top_k(scores, labels, k=k).sum() == expected


def test_in_top_k_counts_no_tie_twice():
    uniform = np.zeros((3, 4))
    assert metrics.in_top_k(uniform, np.array([0, 1, 2]), k=2).tolist() == [True, True, False]


@pytest.mark.parametrize("seed", range(3))
def test_roc_auc_is_scikit_learns(seed):
    scores, labels = _scores(seed)
    scores = np.round(scores, 1)  # With ties.
    expected = sklearn.metrics.roc_auc_score(np.eye(5)[labels], scores, average=None)
    assert metrics.roc_auc(scores, labels) == pytest.approx(expected.tolist())


def test_roc_auc_is_none_where_it_is_not_defined():
    scores, labels = _scores(1)
    labels[labels == 2] = 0
    areas = metrics.roc_auc(scores, labels)
    assert areas[2] is None
    assert None not in areas[:2] + areas[3:]
    assert metrics.roc_auc(scores, np.full(80, 3)) == [None] * 5


def test_brier_score_is_scikit_learns():
    scores, labels = _scores(2)
    expected = sum(  # Of each class against the rest, which every version has.
        sklearn.metrics.brier_score_loss(labels == label, np.exp(scores[:, label]))
        for label in range(5)
    )
    assert metrics.brier_score(scores, labels) == pytest.approx(expected)
    wrong = np.log([[1.0, 1e-300]])
    assert metrics.brier_score(wrong, np.array([1])) == pytest.approx(2)


def test_abstention_curve_is_written_out():
    confidence, correct = np.array([0.5, 0.9, 0.5, 0.7]), np.array([1, 1, 0, 0])
    curve = metrics.abstention_curve(confidence, correct)
    np.testing.assert_array_equal(curve["threshold"], [0.9, 0.7, 0.5])
    np.testing.assert_array_equal(curve["answered"], [1, 2, 4])
    np.testing.assert_array_equal(curve["correct"], [1, 1, 2])
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(50).round(1), rng.random(50) < 0.6
    curve = metrics.abstention_curve(confidence, correct)
    for threshold, answered, hits in zip(*curve.values(), strict=True):
        chosen = confidence >= threshold
        assert (answered, hits) == (chosen.sum(), correct[chosen].sum())
