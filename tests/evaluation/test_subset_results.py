"""Where a system fails: permutation tests by artist."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mgr_jax.evaluation import subset_results


def test_permutation_test_of_tracks_is_hypergeometric():
    rng = np.random.default_rng(0)
    correct, member = rng.random(40) < 0.6, np.arange(40) < 12
    correct[:6] = False
    p = subset_results.permutation_test(correct, member, [str(i) for i in range(40)])
    simulated = scipy_stats.permutation_test(
        (correct[member].astype(float), correct[~member].astype(float)),
        lambda x, y, axis: np.abs(x.mean(axis) - y.mean(axis)),
        vectorized=True, n_resamples=20000, alternative="greater", rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    assert p == pytest.approx(simulated, abs=0.01)


def test_permutation_test_exchanges_whole_artists():
    # Four artists of five tracks; the group is the artist of whom all are wrong: 1 of 4 exchanges.
    correct = np.repeat([False, True, True, True], 5)
    artists = np.repeat(["a", "b", "c", "d"], 5)
    p = subset_results.permutation_test(correct, artists == "a", artists.tolist())
    assert p == 0.25
    tracks = [str(i) for i in range(20)]
    assert subset_results.permutation_test(correct, artists == "a", tracks) < 1e-3


def test_permutation_test_draws_where_there_are_too_many_exchanges():
    rng = np.random.default_rng(0)
    artists = np.repeat([f"a{i}" for i in range(40)], 3)
    member = np.repeat(np.arange(40) < 20, 3)
    correct = rng.random(120) < np.where(member, 0.3, 0.9)
    p = subset_results.permutation_test(correct, member, artists.tolist())
    assert p == subset_results.permutation_test(correct, member, artists.tolist()) < 0.001
    assert subset_results.permutation_test(correct, np.ones(120, bool), artists.tolist()) is None


@pytest.mark.slow
@pytest.mark.parametrize("straddle", [False, True])
@pytest.mark.parametrize("icc", [0.0, 0.5])
def test_permutation_test_rejects_at_its_level(icc, straddle):
    rng, rejected = np.random.default_rng(0), 0
    artists = np.repeat(np.arange(24), 4)
    member = np.arange(96) % 2 == 0 if straddle else artists % 3 == 0
    for _ in range(600):
        skill = rng.normal(size=24)[artists] * np.sqrt(icc) + rng.normal(size=96) * np.sqrt(1 - icc)
        p = subset_results.permutation_test(skill > -0.5, member, [f"{a}" for a in artists])
        rejected += p < 0.05
    assert rejected / 600 < 0.075
    if not straddle:  # Else tracks of one artist on both sides make it conservative.
        assert rejected / 600 > 0.02


def test_compare_corrects_over_all_groups_and_sorts():
    correct = np.array([True] * 20 + [False] * 10)
    columns = {"x": ["a"] * 20 + ["b"] * 10, "same": ["z"] * 30, "y": ["u", "v"] * 15}
    groups = [f"g{i // 2}" for i in range(30)]
    report = subset_results.compare(correct, columns, groups=groups, within=("y",))
    assert report["constant"] == {"same": "z"} and report["overall"]["num_correct"] == 20
    assert [row["accuracy"] for row in report["rows"]] == [0, 10 / 15, 10 / 15, 1]
    worst = report["rows"][0]
    assert (worst["value"], worst["n"], worst["num_groups"]) == ("b", 10, 5)
    assert worst["difference"] == -1 and worst["p_holm"] == pytest.approx(4 * worst["p"])
    assert worst["units"] == "artist" and report["rows"][1]["units"] == "track"
    assert (worst["grouped_by"], report["rows"][1]["grouped_by"]) == ("artist", "track")
    assert "x b 0.0 % (n = 10, -100.0 points" in subset_results.verdict(report)


def test_verdict_of_no_difference_names_what_it_does_not_show():
    report = subset_results.compare(
        np.array([True, False] * 4),
        {"x": ["a", "a", "b", "b"] * 2},
        groups=[str(i) for i in range(8)],
    )
    assert "No group is distinguishable from the rest" in subset_results.verdict(report)
