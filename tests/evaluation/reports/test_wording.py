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
    described = stats.describe_accuracy(values["num_correct"], 12, "listed")
    assert lines[0] == f"accuracy {described}; 95 % Wilson interval; chance 33 %"
    assert lines[1].startswith("the tracks come from 9 artists (or recordings); by artist the 95 %")
    assert lines[2].startswith("this split leaks")
    table = lines[lines.index("") + 1 :]
    assert len({len(line) for line in table}) == 1
    assert [line.split("  ")[0] for line in table[1:4]] == list(evaluated.LABELS)


def test_verdict_says_whether_the_accuracy_exceeds_chance(run, data):
    values, _ = evaluated.write(run, data)
    hits = values["num_correct"]
    assert f"Of 12 tracks, bbnn named the genre of {hits} rightly (listed)" in wording.verdict(
        values
    )
    assert "cannot be told from guessing" in wording.verdict(values)
    better = values | {"ci95": [0.8, 1.0], "ci95_bootstrap": [0.7, 1.0]}
    assert "by other artists, expect between 70 and 100 in a hundred" in wording.verdict(better)
    assert "guessing." not in wording.verdict(better).split("guessing would")[1]


def test_badges_name_leaks_and_unknown_artists(run, data):
    values, _ = evaluated.write(run, data)
    tones = dict(wording.badges(values))
    assert tones["artists or recordings leak"] == "bad"
    clean = values | {"shared_artists": [], "shared_recordings": []}
    assert wording.badges(clean)[-1] == ("no known artist on both sides", "good")
    assert "of 5 tracks" in wording.badges(clean | {"artists_known": 7})[-1][0]
    assert wording.badges(clean | {"artists_known": 0})[-1] == ("artists unknown", "bad")
    assert wording.badges(clean | {"part": "train"})[-1][1] == "bad"
    assert "no artist is known here" in "".join(wording.warnings(clean | {"artists_known": 0}))


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
