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


def test_blend_is_the_normalised_geometric_mean():
    a, b = scores(2.0, prefix="v"), scores(-1.0, prefix="v")
    mean = members.blend([a, b], (0.25, 0.75))
    product = np.exp(0.25 * a.log_p + 0.75 * b.log_p)
    np.testing.assert_allclose(np.exp(mean.log_p), product / product.sum(1, keepdims=True))
    np.testing.assert_allclose(members.blend([a, b], (1, 0)).log_p, a.log_p, atol=1e-12)


def test_combine_chooses_by_the_validation_part_of_each_fold_alone():
    # The first network is better in the validation part of fold 0, but wrong in its test part.
    networks = {"a": folds([2.0, -2.0], [-3.0, 1.0]), "b": folds([1.0, 2.0], [1.0, -3.0])}
    rows, chosen = members.combine(networks, None)
    assert [note.split(": ")[1] for note in chosen] == ["a", "b"]
    assert set(rows) == {"network", "networks"}
    assert share(rows["network"], 0) == 0 and share(rows["network"], 1) == 0
    # Mean of the logits -3 and 1: still wrong.
    assert share(rows["networks"], 0) == 0


def test_combine_weighs_networks_by_the_validation_part():
    good, bad = folds([3.0, -3.0], [2.0, 2.0]), folds([-3.0, 3.0], [-2.0, -2.0])
    rows, chosen = members.combine({"a": good, "b": good}, bad)
    # Fold 0: the networks alone; fold 1: the ensemble alone, which fails on the test part.
    assert chosen[0].endswith("weight 1.00") and chosen[1].endswith("weight 0.00")
    assert share(rows["member"], 0) == 1 and share(rows["member"], 1) == 0


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
