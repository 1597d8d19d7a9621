"""The sentences about an evaluation, on every page."""

import json

import numpy as np
import pytest

from mgr_jax.evaluation import results, stats
from mgr_jax.evaluation.reports import html, markdown, wording
from tests.evaluation.reports import evaluated

pytestmark = pytest.mark.usefixtures("quick_figures")


def test_to_text_carries_n_interval_and_protocol(run, data):
    values, _ = evaluated.write(run, data)
    lines = wording.to_text(values).splitlines()
    described = stats.describe(values, "listed")
    assert lines[0] == f"accuracy {described}; 95 % intervals; chance 33 %"
    assert lines[1].startswith("this split leaks")
    alone = results.count(np.arange(12) < 7)
    lines = wording.to_text(values | alone).splitlines()
    assert (
        lines[0]
        == "accuracy 58.3 % [32.0, 80.7] (n = 12, listed); 95 % Wilson interval; chance 33 %"
    )
    table = lines[lines.index("") + 1 :]
    assert len({len(line) for line in table}) == 1
    assert [line.split("  ")[0] for line in table[1:4]] == list(evaluated.LABELS)


def test_verdict_says_whether_the_accuracy_exceeds_chance(run, data):
    values, _ = evaluated.write(run, data)
    hits = values["num_correct"]
    assert f"Of 12 tracks, bbnn named the genre of {hits} rightly (listed)" in wording.verdict(
        values
    )
    assert "not distinguishable from guessing" in wording.verdict(values)
    better = values | {"ci95": [0.7, 1.0]}
    assert "by other artists, expect between 70 and 100 in a hundred" in wording.verdict(better)
    assert "guessing." not in wording.verdict(better).split("guessing would")[1]


@pytest.mark.parametrize("num_groups", [1, 2, 5, 6])
def test_few_artists_are_named_and_promise_nothing(run, data, num_groups):
    groups = np.arange(12) % num_groups
    values = evaluated.write(run, data)[0] | results.count(np.arange(12) % 4 > 0, groups)
    text = wording.verdict(values)
    assert ("expect between" in text) == (num_groups > 2)
    assert ("cannot tell what to expect of others" in text) == (num_groups < 3)
    assert (wording.caveat(values) == "") == (num_groups == 6)
    if num_groups == 1:
        assert "all 12 tracks are of 1 artist:" in wording.caveat(values)
        assert "75.0 % (n = 12, 1 artist, listed; no interval by artist;" in wording.to_text(values)
    for page in (markdown.to_markdown(values), html.to_html(values, run.path / "eval" / "test")):
        assert wording.accuracy(values, values) in page
        assert "1 artists" not in page


def test_chance_names_the_largest_class_where_classes_differ_in_size():
    truth = np.array([0] * 6 + [1] * 3 + [2])
    scores = np.log(np.full((10, 3), 0.1) + 0.7 * np.eye(3)[[0] * 9 + [2]])
    values = results.measure(scores, truth, ["pop", "rock", "jazz"])
    values |= {"protocol": "listed", "system": "svm"}
    assert wording.headline(values).endswith("; chance 33 %, always pop 60 %")
    text = wording.verdict(values)
    assert "guessing would get about 3, always pop 6." in text
    assert "It is not distinguishable from always answering pop." in text


def test_badges_name_leaks_and_unknown_artists(run, data):
    values, _ = evaluated.write(run, data)
    tones = dict(wording.badges(values))
    assert tones["artists or recordings leak"] == "bad"
    clean = values | {"shared_artists": [], "shared_recordings": []}
    assert wording.badges(clean)[-1] == ("no known artist on both sides", "good")
    assert "of 5 tracks" in wording.badges(clean | {"artists_known": 7})[-1][0]
    assert "of 2 tracks" in wording.badges(clean | {"learned_artists_unknown": 2})[-1][0]
    assert wording.badges(clean | {"artists_known": 0})[-1] == ("artists unknown", "bad")
    assert wording.badges(clean | {"part": "train"})[-1][1] == "bad"
    assert wording.UNKNOWN_ARTISTS in wording.warnings(clean | {"artists_known": 0})
    assert "of 1 track it" in wording.badges(clean | {"artists_known": 11})[-1][0]


@pytest.mark.parametrize(("n", "num_classes"), [(1, 2), (2, 2), (30, 40)])
def test_measure_and_pages_take_any_number_of_tracks_and_classes(run, data, n, num_classes):
    rng = np.random.default_rng(0)
    scores = np.log(rng.dirichlet(np.ones(num_classes), n))
    labels = [f"class {i}" for i in range(num_classes)]
    measured = results.measure(scores, rng.integers(0, num_classes, n), labels, temperature=2.0)
    json.dumps(measured, allow_nan=False)
    whole = evaluated.write(run, data)[0] | measured | {"figures": {}, "without_faulty": None}
    assert f"(n = {n}, listed)" in markdown.to_markdown(whole)
    assert f"(n = {n}, listed)" in html.to_html(whole, run.path)
    assert f"(n = {n}, listed)" in wording.to_text(whole)
