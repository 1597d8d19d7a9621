"""Coverage and size of sets of genres in a report."""

import numpy as np
import pytest

from mgr_jax.evaluation import conformal, intervals, set_results


def test_measure_counts_sets_that_hold_the_genre_and_their_size():
    """With a least probability of 0.3, of 9 artists of one track each."""
    tracks = conformal.Calibration(np.log(np.full(9, 0.3)), np.zeros(9, int), np.arange(9), "valid")
    p = [[0.6, 0.35, 0.05], [0.6, 0.2, 0.2], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8]]
    truth, groups = np.array([1, 1, 0, 2]), ["a", "a", "a", "b"]
    rows = set_results.measure(
        np.log(p) + 1e-9, truth, ("x", "y", "z"), tracks, groups=groups, grouped_by="artist"
    )
    assert [row["coverage"] for row in rows] == [0.8, 0.9, 0.95]
    row = rows[1]
    assert (row["held"]["num_correct"], row["held"]["n"]) == (3, 4)
    assert row["by_group"]["share"] == pytest.approx((2 / 3 + 1) / 2)
    assert row["by_group"]["num_groups"] == 2
    assert row["mean_size"] == pytest.approx((2 + 1 + 3 + 1) / 4)
    assert (row["single"]["num_correct"], row["single"]["n"]) == (1, 2)
    assert row["per_class"]["y"]["held"]["num_correct"] == 1
    assert row["per_class"]["x"]["mean_size"] == 3
    assert "every set has all genres" in rows[2]["guarantee"] and rows[2]["mean_size"] == 3
    assert rows[2]["single"] is None
    absent = set_results.measure(
        np.log(p[:2]), truth[:2], "xyz", tracks, groups=groups[:2], grouped_by="artist"
    )
    assert absent[1]["per_class"]["x"] is None
    assert absent[1]["mean_size_ci95"] is None and absent[1]["by_group"]["ci95"] is None


def test_share_by_artist_has_the_interval_of_artists_of_one_track():
    held = np.repeat(np.random.default_rng(0).random(40) < 0.8, 3)
    values = set_results._by_group(held, np.repeat(np.arange(40), 3))
    assert values["share"] == pytest.approx(held.mean())
    assert values["ci95"] == pytest.approx(intervals.accuracy_interval(held[::3]))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.98])
def test_mean_size_interval_covers_the_mean_of_other_artists(share):
    """Sizes of a shifted binomial distribution, shared by the three tracks of an artist."""
    rng, covered = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(20), 3)
    for _ in range(60):
        sizes = 1 + rng.binomial(9, share, size=20)[groups]
        ends = set_results.mean_size_interval(sizes, groups, num_classes=10)
        assert ends is not None and 1 <= ends[0] <= sizes.mean() <= ends[1] <= 10
        covered += ends[0] <= 1 + 9 * share <= ends[1]
    assert covered >= 54
    assert set_results.mean_size_interval(np.ones(4), [0] * 4, num_classes=1) is None
