"""Sets of genres: the rule as written in the paper, and what it promises."""

import json
import math

import numpy as np
import pytest

from experiments.benchmarks import sets
from mgr_jax.evaluation import conformal


def _quantile_of_the_paper(scores, groups, coverage):
    """Lee, Barber and Willett's threshold of scores, by their sum of point masses."""
    names = sorted(set(groups))
    masses = [(math.inf, 1 / (len(names) + 1))]
    for name in names:
        own = [s for s, group in zip(scores, groups, strict=True) if group == name]
        masses += [(s, 1 / (len(own) * (len(names) + 1))) for s in own]
    total = 0.0
    for score, mass in sorted(masses):
        total += mass
        if total >= coverage - 1e-9:
            return score
    raise AssertionError


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_threshold_is_the_quantile_of_the_paper(coverage):
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 15, 60)
    log_p = np.log(rng.uniform(size=60))
    expected = _quantile_of_the_paper(-log_p, groups.tolist(), coverage)
    assert conformal.threshold(log_p, groups, coverage) == -expected


@pytest.mark.parametrize(("coverage", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_threshold_is_infinite_for_too_few_artists(coverage, least):
    assert conformal.least_artists(coverage) == least
    log_p, groups = np.full(2 * least, -1.0), np.repeat(np.arange(least), 2)
    assert conformal.threshold(log_p, groups, coverage) == -1
    assert conformal.threshold(log_p[2:], groups[2:], coverage) == -np.inf


def test_threshold_of_single_tracks_is_that_of_split_conformal_prediction():
    """The ceil((n + 1) * coverage)-th largest of n scores."""
    log_p = np.log(np.random.default_rng(0).uniform(size=57))
    expected = np.sort(-log_p)[math.ceil(58 * 0.9) - 1]
    assert conformal.threshold(log_p, np.arange(57), 0.9) == -expected


def test_threshold_weighs_artists_not_tracks():
    """An artist of 100 sure tracks counts as much as any other."""
    log_p = np.concatenate([np.full(100, -0.1), np.linspace(-1, -4, 19)])
    groups = np.concatenate([np.zeros(100, int), np.arange(1, 20)])
    assert conformal.threshold(log_p, groups, 0.9) < -3
    assert conformal.threshold(log_p, np.arange(119), 0.9) > -3


def test_members_are_never_none():
    rule = conformal.Rule(0.5, np.log([0.9, 0.9, 0.1]), by_class=True)
    log_p = np.log([[0.5, 0.4, 0.1], [0.01, 0.04, 0.95]])
    assert conformal.members(log_p, rule).tolist() == [[True, False, True], [False, False, True]]
    assert conformal.members(log_p[0], rule).tolist() == [True, False, True]


def _tracks(num_groups, *, num_classes=2):
    """Two tracks of each artist, an artist having one class."""
    groups = np.repeat(np.arange(num_groups), 2)
    log_p = np.log(np.random.default_rng(0).uniform(size=len(groups)))
    return conformal.Calibration(log_p, groups % num_classes, groups, "valid")


def test_rule_is_by_class_where_it_hardly_exceeds_the_coverage():
    tracks = _tracks(90)
    rule = conformal.make_rule(tracks, 0.9, num_classes=2)
    assert rule.by_class
    for label in range(2):
        own = tracks.labels == label
        expected = conformal.threshold(tracks.log_p[own], tracks.groups[own], 0.9)
        assert rule.least[label] == expected
    fewer = conformal.make_rule(_tracks(88), 0.9, num_classes=2)
    assert not fewer.by_class and fewer.least[0] == fewer.least[1]
    assert not conformal.make_rule(tracks, 0.9, num_classes=3).by_class  # One class has none.


def test_rules_of_an_export_are_those_that_the_artists_suffice_for():
    tracks = _tracks(12)
    rules = conformal.make_rules(tracks, num_classes=2)
    assert list(rules) == ["0.8", "0.9"]
    assert rules["0.8"] == [conformal.threshold(tracks.log_p, tracks.groups, 0.8)] * 2
    assert conformal.make_rules(None, num_classes=2) == {}


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, 90.0, math.nan])
def test_rule_refuses_what_is_no_coverage(coverage):
    with pytest.raises(ValueError, match="must be above 0 and below 1"):
        conformal.make_rule(_tracks(4), coverage, num_classes=2)


def test_describe_tells_what_is_promised():
    tracks = _tracks(90)
    text = conformal.describe(tracks, conformal.make_rule(tracks, 0.9, num_classes=2))
    assert text == (
        "sets hold the genre of 90 % of tracks by new artists, of each genre; from 180 valid tracks"
        " by 90 artists"
    )
    tracks = _tracks(20)._replace(part="train")
    text = conformal.describe(tracks, conformal.make_rule(tracks, 0.9, num_classes=2))
    assert "over all genres together; from 40 held-out training tracks by 20 artists" in text
    tracks = tracks._replace(groups=np.arange(40))
    text = conformal.describe(tracks, conformal.make_rule(tracks, 0.9, num_classes=2))
    assert text.endswith("of tracks, over all genres together; from 40 held-out training tracks")
    tracks = _tracks(8)
    text = conformal.describe(tracks, conformal.make_rule(tracks, 0.9, num_classes=2))
    assert text == (
        "every set has all genres: a coverage of 90 % takes 9 artists for calibration, and there"
        " are 8"
    )


def test_calibration_is_the_same_after_json():
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=6))
    labels, groups = np.array([0, 1, 2, 0, 1, 2]), ["b", "a", "b", "c", "a", "d"]
    tracks = conformal.make_calibration(log_p, labels, groups, "train")
    np.testing.assert_allclose(tracks.log_p, log_p[np.arange(6), labels], atol=2e-6)
    assert tracks.groups.tolist() == [1, 0, 1, 2, 0, 3]
    assert (tracks.num_groups, tracks.grouped_by) == (4, "artist")
    again = conformal.from_json(json.loads(json.dumps(conformal.to_json(tracks))), num_classes=3)
    for one, other in zip(tracks, again, strict=True):
        np.testing.assert_array_equal(one, other)
    alone = conformal.make_calibration(log_p, labels, None, "valid")
    assert (alone.num_groups, alone.grouped_by) == (6, "track")


@pytest.mark.parametrize(
    "change",
    [
        {"log_p": []},
        {"log_p": [-1.0, 0.5]},
        {"log_p": [-1.0, math.nan]},
        {"log_p": [-1.0]},
        {"log_p": "ab"},
        {"labels": [0, 2]},
        {"labels": [0, -1]},
        {"labels": [0.0, 1.0]},
        {"groups": [[0], [1]]},
        {"part": 3},
        {"part": None, "groups": None},
    ],
)
def test_calibration_refuses_damaged_values(change):
    values = {"log_p": [-1.0, -2.0], "labels": [0, 1], "groups": [0, 0], "part": "valid"}
    conformal.from_json(values, num_classes=2)
    with pytest.raises(ValueError):
        conformal.from_json(values | change, num_classes=2)
    with pytest.raises(ValueError, match="incomplete"):
        conformal.from_json({name: values[name] for name in ("log_p", "labels")})


@pytest.mark.slow
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("icc", sets._ICCS)
def test_coverage_of_new_artists_is_the_requested_one(icc, uneven):
    """Over 500 calibrations: from 200 artists on within a point, and never less."""
    for number in (9, 20, 60, 200):
        row = sets.measure(number, icc, uneven=uneven, num_draws=500)
        assert row["coverage"] > 0.895
        if number >= 60:
            assert row["coverage"] < 0.92
    assert row["coverage"] == pytest.approx(0.9, abs=0.01)
