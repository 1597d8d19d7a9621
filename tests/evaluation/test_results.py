"""The metrics of an evaluation: those of the published split, and reasons where undefined."""

import numpy as np
import sklearn.metrics

from mgr_jax.data import gtzan
from mgr_jax.evaluation import results


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


def test_measure_gives_no_interval_by_resampling_where_it_has_no_width():
    scores = np.log(np.full((6, 2), 0.1) + 0.8 * np.eye(2)[[0, 0, 0, 1, 1, 1]])
    values = results.measure(scores, np.array([0, 0, 0, 1, 1, 1]), ["a", "b"])
    assert values["accuracy"] == 1
    assert values["ci95_bootstrap"] is None
    assert values["f1_ci95"]["a"] is None
    assert values["balanced_accuracy_ci95"] is None


def test_measure_covers_f1_by_its_interval():
    """The interval equals a bootstrap of scikit-learn's F1 over tracks, written out."""
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
