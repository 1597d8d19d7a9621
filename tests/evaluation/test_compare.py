"""Comparisons: statistics, verdicts and refused inputs."""

import csv
import json

import numpy as np
import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare, results, stats
from mgr_jax.evaluation.reports import compare_text


def _report(correct, **changes):
    hits, n = int(np.sum(correct)), len(correct)
    return {
        "system": "bbnn",
        "data": "band",
        "part": "test",
        "protocol": "listed",
        "accuracy": hits / n,
        "ci95": list(stats.wilson_interval(hits, n)),
        "n": n,
        "num_correct": hits,
        "labels": ["a", "b"],
        "per_class": {},
        "checkpoint_step": 3,
        "split_hash": "00",
        "shared_artists": [],
        "shared_recordings": [],
    } | changes


def _evaluation(correct, *, groups=None, **changes):
    ids = tuple(f"t{i:03}" for i in range(len(correct)))
    report = _report(correct, **changes)
    labels = ("a",) * len(ids)
    return compare.Evaluation(
        "w", report, ids, labels, np.array(correct, bool), tuple(groups or ids)
    )


def _write(folder, correct, *, label="a", groups=None, **changes):
    path = folder / "eval" / "test"
    path.mkdir(parents=True)
    (path / "report.json").write_text(json.dumps(_report(correct, **changes)))
    with open(path / "predictions.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["track_id", "label", "predicted", "a", "b"])
        for i, right in reversed(list(enumerate(correct))):
            rows.writerow([f"t{i:03}", label, label if right else "?", 0.5, 0.5])
    if groups:
        with open(path / "tracks.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["track_id", "group", "artist", "recording"])
            rows.writerows([f"t{i:03}", group, group, ""] for i, group in enumerate(groups))
    return str(folder)


def _two(seed=0, n=80, shares=(0.5, 0.8)):
    return np.random.default_rng(seed).random((2, n)) < np.array(shares)[:, None]


def test_compare_gives_the_tests_of_a_pair():
    first, second = _two()
    result = compare.compare([_evaluation(first), _evaluation(second)], ["one", "two"])
    (pair,) = result["pairs"]
    test = stats.mcnemar(first, second)
    assert (pair["mcnemar_exact"], pair["mcnemar_mid_p"]) == (test.exact, test.mid_p)
    assert (pair["only_first"], pair["only_second"]) == (test.only_first, test.only_second)
    assert pair["difference"] == pytest.approx(second.mean() - first.mean())
    assert pair["ci95"] == list(stats.sign_flip_interval(first, second))
    assert pair["p"] == pair["p_holm"] == test.mid_p
    assert pair["artist_p"] is None
    discordant = (test.only_first + test.only_second) / 80
    assert pair["needed_n"] == stats.needed_n(0.05, discordant=discordant)
    assert pair["smallest_p"] == 0.5**80
    least = stats.smallest_difference(80, discordant=discordant)
    assert pair["detectable_difference"] == least
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_compare_names_the_better_system_only_if_significant():
    first, second = _two()
    text = compare_text.to_text(
        compare.compare([_evaluation(first), _evaluation(second)], ["one", "two"])
    )
    assert "verdict     two is better than one at n = 80, p = " in text
    text = compare_text.to_text(
        compare.compare([_evaluation(second), _evaluation(first)], ["two", "one"])
    )
    assert "two is better than one at n = 80" in text
    first, second = _two(shares=(0.6, 0.62))
    result = compare.compare([_evaluation(first), _evaluation(second)], ["one", "two"])
    (pair,) = result["pairs"]
    assert not pair["distinguishable"]
    assert pair["verdict"].startswith("not distinguishable at n = 80, p = ")
    shown = f"a true difference of {100 * pair['detectable_difference']:.1f} points would be shown"
    assert shown in pair["verdict"]
    assert f"one of 5 points by about {pair['needed_n']} such tracks" in pair["verdict"]
    assert "better" not in compare_text.to_text(result)


def test_compare_prints_no_accuracy_without_n_interval_and_protocol():
    first, second = _two()
    text = compare_text.to_text(
        compare.compare([_evaluation(first), _evaluation(second)], ["one", "two"])
    )
    for name, hits in (("one", first.sum()), ("two", second.sum())):
        assert f"  {name}  {stats.describe_accuracy(int(hits), 80, 'listed')}\n" in text


def test_compare_of_equal_systems_finds_nothing():
    first, _ = _two()
    result = compare.compare([_evaluation(first), _evaluation(first)], ["one", "two"])
    (pair,) = result["pairs"]
    assert (pair["difference"], pair["mcnemar_exact"], pair["p"]) == (0, 1, 1)
    assert pair["ci95"] is None and pair["needed_n"] > 0
    assert not pair["distinguishable"]
    shown = "+0.0 points (no 95 % interval: it is the same in all tracks)"
    assert shown in compare_text.to_text(result)


@pytest.mark.parametrize(("n", "groups"), [(4, None), (20, "aaaabbbbccccddddeeee")])
def test_compare_says_that_so_few_could_not_have_shown_a_difference(n, groups):
    """One system right, the other wrong throughout."""
    systems = [_evaluation(np.full(n, right), groups=groups) for right in (True, False)]
    (pair,) = compare.compare(systems, ["one", "two"])["pairs"]
    assert pair["p"] == pytest.approx(0.0625) and pair["smallest_p"] == 0.0625
    assert pair["ci95"] is None and pair["detectable_difference"] is None
    few = "5 artists" if groups else "4 tracks"
    assert (
        f"no difference could have been shown: the p value of {few} is 0.062 or more, not below"
        " 0.05"
    ) in pair["verdict"]
    assert "would be shown" not in pair["verdict"] and not pair["distinguishable"]
    shown = dict(compare_text.rows(pair))["difference"]
    assert shown.endswith(f"(no 95 % interval: too few {'artists' if groups else 'tracks'})")


@pytest.mark.parametrize(
    ("sizes", "differ", "reason"),
    [
        ([5] * 6, 5, "so few artists show a difference only if nearly all of them agree"),
        (
            [40, *[2] * 10],
            5,
            "the artists are of uneven size, the largest with 40 of the 60 tracks: a difference is"
            " shown only if nearly all of them agree",
        ),
        ([20] * 5 + [4] * 12, 5, "a few of the artists make up most of the difference"),
        ([2] * 40, 3, "points would be shown with a power of 80 %, one of 5 points by about"),
    ],
)
def test_compare_gives_the_right_reason_why_nothing_is_shown(sizes, differ, reason):
    """The first artists favour one system by half of their tracks, the others neither."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    second = (groups < differ) & (np.arange(len(groups)) % 2 == 0)
    first = np.zeros(len(groups), bool)
    names = [f"artist {group:02}" for group in groups]
    systems = [_evaluation(row, groups=names) for row in (first, second)]
    (pair,) = compare.compare(systems, ["one", "two"])["pairs"]
    assert not pair["distinguishable"] and pair["smallest_p"] < 0.05
    assert reason in pair["verdict"]


def test_compare_divides_alpha_by_the_pairs():
    """Six artists can show a difference of two systems, but not of three."""
    groups = [f"artist {i // 2}" for i in range(12)]
    right, wrong = _evaluation([True] * 12, groups=groups), _evaluation([False] * 12, groups=groups)
    (pair,) = compare.compare([wrong, right], ["a", "b"])["pairs"]
    assert pair["distinguishable"] and pair["smallest_p"] == 2 / 2**6
    pairs = compare.compare([wrong, right, right], ["a", "b", "c"])["pairs"]
    assert all("no difference could have been shown" in pair["verdict"] for pair in pairs)
    assert all(pair["alpha"] == pytest.approx(0.05 / 3) for pair in pairs)
    rng = np.random.default_rng(1)
    systems = [_evaluation(rng.random(90) < share) for share in (0.5, 0.7, 0.72)]
    pair = compare.compare(systems, ["a", "b", "c"])["pairs"][0]
    discordant = (pair["only_first"] + pair["only_second"]) / 90
    assert pair["detectable_difference"] == stats.smallest_difference(
        90, discordant=discordant, alpha=0.05 / 3
    )


@pytest.mark.parametrize("seed", range(8))
def test_compare_does_not_contradict_itself(seed):
    rng = np.random.default_rng(seed)
    groups = [f"artist {i}" for i in np.sort(rng.integers(0, 8, 40))] if seed % 2 else None
    shares = rng.uniform(0.3, 0.9, 2)
    systems = [_evaluation(row, groups=groups) for row in _two(seed=seed, n=40, shares=shares)]
    (pair,) = compare.compare(systems, ["one", "two"])["pairs"]
    low, high = pair["ci95"]
    assert pair["distinguishable"] == (not low <= 0 <= high)
    if "would be shown" in pair["verdict"]:
        assert pair["detectable_difference"] > abs(pair["difference"])


def test_compare_corrects_over_the_pairs():
    rng = np.random.default_rng(1)
    systems = [_evaluation(rng.random(90) < share) for share in (0.5, 0.7, 0.72)]
    result = compare.compare(systems, ["a", "b", "c"])
    assert [(p["first"], p["second"]) for p in result["pairs"]] == [
        ("a", "b"), ("a", "c"), ("b", "c")
    ]  # fmt: skip
    for field, adjusted in (("p", "p_holm"), ("mcnemar_exact", "mcnemar_exact_holm")):
        expected = stats.holm([pair[field] for pair in result["pairs"]])
        assert [pair[adjusted] for pair in result["pairs"]] == expected
    assert "Holm over 3 pairs" in compare_text.to_text(result)


def test_compare_counts_artists_where_they_repeat():
    """Twenty artists of five tracks that are right or wrong together say less than 100 tracks."""
    first, second = np.repeat(_two(seed=3, n=20, shares=(0.5, 0.75)), 5, axis=1)
    groups = [f"artist {i // 5}" for i in range(100)]
    (pair,) = compare.compare(
        [_evaluation(first, groups=groups), _evaluation(second, groups=groups)], ["one", "two"]
    )["pairs"]
    (alone,) = compare.compare([_evaluation(first), _evaluation(second)], ["one", "two"])["pairs"]
    assert pair["mcnemar_exact"] == alone["mcnemar_exact"]
    assert pair["p"] == stats.sign_flip_test(first, second, groups)
    assert pair["p"] > alone["p"]
    assert pair["design_effect"] == pytest.approx(5)
    assert pair["detectable_difference"] > alone["detectable_difference"]
    assert np.diff(pair["ci95"]) > 1.5 * np.diff(alone["ci95"])
    assert "by artist" in pair["verdict"]
    described = stats.describe(results.count(first, groups), "listed")
    assert "by artist (n = 100, 20 artists, listed; Wilson by track [" in described
    assert described in compare_text.to_text(
        compare.compare([_evaluation(x, groups=groups) for x in (first, second)], ["one", "two"])
    )


def test_compare_refuses_other_tracks_or_labels_and_names_one(tmp_path):
    answers = [True, False, True, True]
    one = compare.read(_write(tmp_path / "one", answers), "test")
    less = compare.read(_write(tmp_path / "less", answers[:3]), "test")
    with pytest.raises(UserError, match="one has 4 tracks, less 3, and 1 are in one of them") as e:
        compare.compare([one, less], ["one", "less"])
    assert "('t003' in one)" in str(e.value)
    other = compare.read(_write(tmp_path / "other", answers, label="b"), "test")
    with pytest.raises(UserError, match="'t000' is 'a' in one and 'b' in other"):
        compare.compare([one, other], ["one", "other"])
    with pytest.raises(UserError, match="one workdir only"):
        compare.compare([one], ["one"])


def test_compare_notes_runs_with_other_training_tracks():
    first, second = _two()
    systems = [_evaluation(first), _evaluation(second, split_hash="11", shared_artists=["x"])]
    result = compare.compare(systems, ["one", "two"])
    assert result["notes"] == [
        "the runs have different splits: they learned from different tracks",
        "artists or recordings are on both sides of the split of two",
    ]
    assert result["notes"][0] in compare_text.to_text(result)
    systems[1] = _evaluation(second, protocol="holdout")
    assert "protocols" in compare.compare(systems, ["one", "two"])["notes"][0]


def test_read_gives_tracks_in_order_with_their_artists(tmp_path):
    answers = [True, False, True]
    evaluation = compare.read(_write(tmp_path / "a", answers, groups=["x", "y", "x"]), "test")
    assert evaluation.ids == ("t000", "t001", "t002")
    assert evaluation.correct.tolist() == answers
    assert evaluation.groups == ("x", "y", "x")
    assert compare.read(_write(tmp_path / "b", answers), "test").groups == evaluation.ids


def test_read_names_the_command_to_run_if_a_report_is_missing_or_damaged(tmp_path):
    with pytest.raises(UserError, match=r"has no report.json for its test part; run .*evaluate"):
        compare.read(str(tmp_path), "test")
    path = _write(tmp_path / "a", [True, False])
    folder = tmp_path / "a" / "eval" / "test"
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").unlink()
    with pytest.raises(UserError, match=r"has no predictions\.csv"):
        compare.read(path, "test")
    (folder / "predictions.csv").write_text(text.replace("t001", "t000"))
    with pytest.raises(UserError, match="do not agree"):
        compare.read(path, "test")
    (folder / "predictions.csv").write_text("nothing")
    with pytest.raises(UserError, match="do not agree"):
        compare.read(path, "test")
    (folder / "report.json").write_text("[]")
    with pytest.raises(UserError, match="is damaged"):
        compare.read(path, "test")


def test_short_names_are_distinct():
    assert compare.short_names(["runs/a", "runs/b/"]) == ["a", "b"]
    assert compare.short_names(["x/a", "y/a"]) == ["x/a", "y/a"]
    assert compare.short_names(["."]) == ["."]
    with pytest.raises(UserError, match="stands there twice"):
        compare.short_names(["a", "a/"])
