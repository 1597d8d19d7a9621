"""The metrics of an evaluation: those of the published split, and reasons where undefined."""

import numpy as np
import pytest
import sklearn.metrics
from scipy import stats as scipy_stats

from mgr_jax.data import gtzan
from mgr_jax.evaluation import intervals, results, stats


def test_without_faulty_leaves_out_what_the_published_split_does():
    facts = gtzan.facts()
    ids = sorted(facts)
    correct = np.array([facts[name].part == "" for name in ids])
    values = results.without_faulty(ids, correct)
    assert values["left_out"] == 70
    assert (values["n"], values["num_correct"]) == (930, 0)
    faulty = [name for name in ids if facts[name].part == ""]
    assert results.without_faulty(faulty, np.ones(70, bool)) == {"left_out": 70}
    assert results.without_faulty(["mine"], np.ones(1, bool)) is None


def test_measure_says_why_a_value_is_not_defined():
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 20))
    values = results.measure(scores, np.zeros(20, int), ["a", "b", "c"])
    assert values["roc_auc"] == {"macro": None, "per_class": {"a": None, "b": None, "c": None}}
    assert {"roc_auc.a", "top_k.3", "top_k.5", "calibrated"} <= values["undefined"].keys()
    assert values["top_k"].keys() == {"2"}
    assert values["abstention"][0]["n"] == 20


def test_measure_gives_no_interval_without_width_and_none_of_one_group():
    truth = np.array([0, 0, 0, 1, 1, 1])
    scores = np.log(np.full((6, 2), 0.1) + 0.8 * np.eye(2)[truth])
    values = results.measure(scores, truth, ["a", "b"])
    assert values["accuracy"] == 1 and values["grouped_by"] == "track"
    # Three tracks that are all right, with Student's t of two degrees of freedom.
    share = 3 / (3 + scipy_stats.t.ppf(0.975, 2) ** 2)
    assert values["f1_ci95"]["a"] == pytest.approx([2 * share / (1 + share), 1])
    t = scipy_stats.t.ppf(0.975, 5)
    assert values["balanced_accuracy_ci95"] == pytest.approx([6 / (6 + t**2), 1])
    values = results.measure(scores, truth, ["a", "b"], groups=["x"] * 6)
    assert values["ci95"] is None and values["ci95_wilson"][1] == 1
    assert values["f1_ci95"] == {"a": None, "b": None, "macro avg": None}
    assert values["undefined"]["ci95"] == "all tracks are of 1 artist"
    # Each class is of one artist.
    values = results.measure(scores, truth, ["a", "b"], groups=list("xxxyyy"))
    assert values["f1_ci95"]["a"] is None and values["ci95"][1] == 1


def test_measure_groups_every_accuracy():
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 4, 60), np.repeat(np.arange(20), 3)
    scores = np.log(rng.dirichlet(np.ones(4), 60) + np.eye(4)[truth])
    values = results.measure(scores, truth, list("abcd"), groups=groups, grouped_by="recording")
    correct = scores.argmax(axis=1) == truth
    assert values["ci95"] == list(intervals.accuracy_interval(correct, groups))
    assert values["ci95_wilson"] == list(stats.wilson_interval(int(correct.sum()), 60))
    assert (values["num_groups"], values["grouped_by"]) == (20, "recording")
    second = np.argsort(-scores, axis=1)[:, :2] == truth[:, None]
    expected = intervals.accuracy_interval(second.any(axis=1), groups)
    assert values["top_k"]["2"]["ci95"] == list(expected)
    row = values["abstention"][3]
    answered = np.exp(scores.max(axis=1)) >= row["confidence"]
    expected = intervals.accuracy_interval(correct[answered], groups[answered])
    assert row["ci95"] == list(expected) and row["num_groups"] <= 20


def test_measure_leaves_other_classes_out_of_an_f1():
    """An artist who neither plays nor is taken for metal tells nothing of metal."""
    truth = np.array([0] * 6 + [1] * 30)
    scores = np.log(np.full((36, 2), 0.1) + 0.8 * np.eye(2)[truth])
    low, high = results.measure(scores, truth, ["metal", "pop"])["f1_ci95"]["metal"]
    share = 6 / (6 + scipy_stats.t.ppf(0.975, 5) ** 2)
    assert high == 1 and low == pytest.approx(2 * share / (1 + share))


def test_measure_covers_f1_by_its_interval():
    """The interval is nearly that of a bootstrap of scikit-learn's F1 over tracks."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 120)
    scores = np.log(rng.dirichlet(np.ones(3), 120) + 0.5 * np.eye(3)[truth])
    values = results.measure(scores, truth, ["a", "b", "c"])
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, 120, 120)
        scores_f1 = sklearn.metrics.f1_score(truth[rows], scores.argmax(1)[rows], average=None)
        drawn.append([*scores_f1, scores_f1.mean()])
    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    shown = [values["f1_ci95"][name] for name in ("a", "b", "c", "macro avg")]
    np.testing.assert_allclose(shown, expected, atol=0.03)
