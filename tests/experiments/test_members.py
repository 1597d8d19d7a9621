"""Networks beside the ensemble: what the validation part chooses is scored on the test part."""

import types

import numpy as np
import pytest

from experiments import members
from experiments.members import Scores

LABELS = np.array([0, 1, 2, 0])


def scores(certain, *, prefix, labels=LABELS):
    """Return scores of four tracks, each with this log-probability ahead for its own class."""
    logits = np.zeros((4, 3))
    logits[np.arange(4), labels] = certain
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return Scores([f"{prefix}{i}" for i in range(4)], labels, log_p)


def folds(valid, test):
    return [
        {"valid": scores(v, prefix=f"v{i}"), "test": scores(t, prefix=f"t{i}")}
        for i, (v, t) in enumerate(zip(valid, test, strict=True))
    ]


def share(row, fold):
    return np.mean([hit for name, hit in row.items() if name.startswith(f"t{fold}")])


def test_combine_chooses_by_the_validation_part_of_each_fold_alone():
    # The first network is better in the validation part of fold 0, but wrong in its test part.
    networks = {"a": folds([2.0, -2.0], [-3.0, 1.0]), "b": folds([1.0, 2.0], [1.0, -3.0])}
    rows, chosen = members.combine(networks, None)
    assert [note.split("; ")[0] for note in chosen] == ["fold 0: a", "fold 1: b"]
    assert set(rows) == {"network", "networks"}
    assert share(rows["network"], 0) == share(rows["network"], 1) == 0


def mixed(right, wrong):
    """Return the labels of a part with some tracks right and some wrong, so that weights end."""
    return np.where(np.arange(4) < right, LABELS, (LABELS + wrong) % 3)


def test_combine_weighs_networks_and_the_ensemble_by_the_validation_part():
    good = [
        {"valid": scores(2.0, prefix="v", labels=mixed(3, 1)), "test": scores(2.0, prefix="t0")}
    ]
    bad = [
        {"valid": scores(2.0, prefix="v", labels=mixed(0, 1)), "test": scores(-9.0, prefix="t0")}
    ]
    good, bad = ([{k: v._replace(labels=LABELS) for k, v in f[0].items()}] for f in (good, bad))
    rows, chosen = members.combine({"a": good, "b": bad}, bad)
    assert share(rows["networks"], 0) == share(rows["member"], 0) == 1
    # Three of four tracks are right, so that e^2w / (e^2w + 2) is 3 / 4.
    weight = np.log(6) / 2
    assert chosen == [f"fold 0: a; a {weight:.2f}; a {weight:.2f}"]
    rows, chosen = members.combine({"a": bad, "b": bad}, good)
    # Without a weight all classes are alike, and the first one is that of two tracks.
    assert share(rows["networks"], 0) == 0.5 and share(rows["member"], 0) == 1
    assert chosen == [f"fold 0: a; none; recipe {weight:.2f}"]


def test_read_fold_keeps_the_scores_in_the_workdir(tmp_path, monkeypatch):
    part = types.SimpleNamespace(ids=("x", "y"), labels=np.array([1, 0]))
    opened = types.SimpleNamespace(parts={"valid": part, "test": part})
    system = types.SimpleNamespace(
        config=None,
        run=types.SimpleNamespace(split=None),
        score_tracks=lambda part: np.log([[0.25, 0.75], [0.5, 0.5]]),
    )
    monkeypatch.setattr("mgr_jax.predictor.load", lambda path: system)
    monkeypatch.setattr("mgr_jax.data.dataset.open_part", lambda *args: opened)
    first = members.read_fold(tmp_path)
    monkeypatch.setattr("mgr_jax.predictor.load", lambda path: pytest.fail("loaded again"))
    again = members.read_fold(tmp_path)
    for fold in (first, again):
        assert fold["test"].correct() == {"x": True, "y": True}
        assert fold["valid"].loss() == pytest.approx(-np.log(0.75 * 0.5) / 2)
