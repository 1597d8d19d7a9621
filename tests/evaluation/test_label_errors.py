"""Doubted labels: confident learning as written out, the mixture, and planted errors."""

import numpy as np
import pytest

from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.split_file import Assignment
from mgr_jax.evaluation import audit, label_errors
from mgr_jax.evaluation.scores import normalize


def _case():
    rng, n = np.random.default_rng(3), 30
    logits = rng.normal(size=(n, 3))
    truth = rng.integers(0, 3, n)
    logits[np.arange(n), truth] += 1.5
    labels = truth.copy()
    labels[:4] = (truth[:4] + 1) % 3
    return normalize(logits), labels


def test_confident_joint_is_that_of_cleanlab():
    """The numbers are those of `compute_confident_joint` of cleanlab 2.9.0, not calibrated."""
    log_p, labels = _case()
    joint = label_errors.confident_joint(log_p, labels)
    assert joint.tolist() == [[6, 0, 3], [3, 6, 0], [0, 1, 4]]
    # `estimate_joint` rounds to whole tracks before it divides.
    assert label_errors.confident_share(joint, labels) == pytest.approx(0.3, abs=0.01)


def test_confident_joint_is_the_formula_of_the_paper():
    log_p, labels = _case()
    p, expected = np.exp(log_p), np.zeros((3, 3), int)
    least = [np.mean([p[i, k] for i in range(30) if labels[i] == k]) for k in range(3)]
    for i in range(30):
        reached = [k for k in range(3) if p[i, k] >= least[k]]
        if reached:
            expected[labels[i], max(reached, key=lambda k: p[i, k])] += 1
    np.testing.assert_array_equal(label_errors.confident_joint(log_p, labels), expected)


def _planted(rate, *, seed=0, num_artists=100, factor=1.0):
    """Scores of 3 tracks of each artist; given labels, artists, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_artists), 3)
    n = len(groups)
    truth = rng.integers(10, size=num_artists)[groups]
    music = rng.normal(size=(n, 10))
    music[np.arange(n), truth] += 2.5
    wrong = rng.permutation(n)[: round(rate * n)]
    given = truth.copy()
    given[wrong] = (given[wrong] + rng.integers(1, 10, len(wrong))) % 10
    return normalize(factor * 2.5 * music), given, groups, np.isin(np.arange(n), wrong)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_share_of_planted_errors_is_estimated(rate, factor):
    """Whether the model is sure of itself or not; confident learning estimates more."""
    log_p, given, groups, wrong = _planted(rate, factor=factor)
    noise = label_errors.fit_noise(log_p, given, groups)
    assert noise.share == pytest.approx(rate, abs=0.05)
    assert noise.interval is not None
    low, high = noise.interval
    assert low <= rate <= high < low + 0.2
    joint = label_errors.confident_joint(log_p, given)
    assert label_errors.confident_share(joint, given) > rate
    if rate:
        assert noise.doubt[wrong].mean() > 0.6 > 0.1 > noise.doubt[~wrong].mean()


def test_doubt_is_the_share_of_wrong_labels_among_such():
    log_p, given, groups, wrong = _planted(0.2, num_artists=600)
    doubt = label_errors.fit_noise(log_p, given, groups).doubt
    for low, high in ((0.05, 0.5), (0.5, 0.9), (0.9, 1.0)):
        own = (doubt >= low) & (doubt < high)
        assert wrong[own].mean() == pytest.approx(doubt[own].mean(), abs=0.12)


def test_no_doubted_label_is_not_taken_for_certainty():
    labels = np.arange(24) % 3
    log_p = normalize(np.where(np.arange(3) == labels[:, None], 20.0, 0.0))
    groups = [f"a{i // 2}" for i in range(24)]
    noise = label_errors.fit_noise(log_p, labels, groups)
    assert noise.share == 0 and noise.interval is not None
    # So many artists without a wrong label have a probability of 2.5 % there.
    assert noise.interval[0] == 0 and (1 - noise.interval[1]) ** 12 == pytest.approx(0.025)
    assert not label_errors.find([*map(str, labels)], "abc", labels, log_p, groups)["rows"]


def test_noise_of_few_artists_has_no_interval():
    log_p, given, groups, _ = _planted(0.1, num_artists=5)
    assert label_errors.fit_noise(log_p, given, groups).interval is None
    rows = label_errors.find([*map(str, groups)], "abcdefghij", given, log_p, groups)
    assert rows["share_ci95"] is None


def test_find_lists_the_planted_errors_first():
    log_p, given, groups, wrong = _planted(0.1)
    ids = [f"t{i:03d}" for i in range(len(given))]
    result = label_errors.find(ids, "abcdefghij", given, log_p, groups)
    rows = result["rows"]
    top = [ids.index(row["track"]) for row in rows[: wrong.sum()]]
    assert wrong[top].mean() >= 0.7
    assert [row["rank"] for row in rows] == [*range(1, len(rows) + 1)]
    doubts = [row["doubt"] for row in rows]
    assert doubts == sorted(doubts, reverse=True)
    for row in rows[:3]:
        i = ids.index(row["track"])
        assert row["given"] == "abcdefghij"[given[i]] != row["suggested"]
        p = np.exp(log_p[i])
        other = "abcdefghij".index(row["suggested"])
        assert row["probability"] == pytest.approx([p[given[i]], p[other]], abs=1e-4)
        assert p[other] == max(p[k] for k in range(10) if k != given[i])
    assert sum(row["confident"] for row in rows) > 0
    agreement = (log_p.argmax(axis=1) == given).mean()
    assert result["agreement"]["accuracy"] == pytest.approx(agreement)
    assert result["agreement"]["num_groups"] == 100


def test_conflicts_have_the_same_bytes_first_and_recordings_last():
    tracks = [("a", "x", "r"), ("b", "y", "r"), ("c", "x", ""), ("d", "y", ""), ("e", "x", "")]
    tracks = tuple(Track(name, "", label, name, recording) for name, label, recording in tracks)
    catalog = Catalog("mine", tracks, ("x", "y"))
    findings = audit.audit(
        catalog,
        Assignment({"test": tuple("abcde")}, has_folds=False),
        identical=[("d", "e")],
        alike=[audit.Alike("c", "d", 0.9, 0.0)],
    )
    rows = label_errors.conflicts(findings)
    assert [row["evidence"] for row in rows] == [
        "the same bytes",
        "near-identical audio",
        "the same recording",
    ]
    assert rows[0]["tracks"] == ["d", "e"] and rows[0]["labels"] == ["y", "x"]
    nothing = audit.audit(
        catalog, Assignment({"test": ("c",)}, has_folds=False), identical=None, alike=None
    )
    assert [row["evidence"] for row in label_errors.conflicts(nothing)] == ["the same recording"]
