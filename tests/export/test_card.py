"""The model card: metadata that the Hub reads, and no number without its interval."""

import dataclasses

import yaml

from mgr_jax.export import card
from tests.export import trained


def _parts(text):
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_card_has_the_metadata_of_the_hub():
    metadata, body = _parts(card.make_card(trained.make_system(), name="tiny: #1"))
    assert metadata["library_name"] == "mgr_jax"
    assert metadata["pipeline_tag"] == "audio-classification"
    (entry,) = metadata["model-index"]
    assert entry["name"] == "tiny: #1"
    (result,) = entry["results"]
    assert result["task"]["type"] == "audio-classification"
    assert result["dataset"]["config"] == "listed"
    assert result["metrics"][0]["type"] == "accuracy"
    assert result["metrics"][0]["value"] == 0.6667
    assert "66.7 % [30.0, 90.3] (n = 6, listed)" in body
    assert "| blues | 0.500 | 1.000 | 0.667 | 2 |" in body
    for title in ("## Results", "## Intended use", "## Limits", "## Training", "## How to use"):
        assert title in body


def test_card_of_a_system_that_was_not_evaluated_claims_nothing():
    system = dataclasses.replace(trained.make_system(), report=None, temperature=None)
    metadata, body = _parts(card.make_card(system, name="tiny"))
    assert "model-index" not in metadata
    assert "%" not in body
    assert "Not evaluated" in body


def test_card_says_that_the_band_is_synthetic():
    assert "synthetic" in card.make_card(trained.make_system(), name="a")
    other = trained.make_system(data_name="folder", data_root="/home/me/music")
    text = card.make_card(other, name="a")
    assert "synthetic" not in text
    assert "/home" not in text


def test_card_names_the_licence_of_the_front_end():
    text = card.make_card(trained.make_system("logistic", features_kind="musicnn"), name="a")
    assert "ISC licence" in text and "`LICENSE.musicnn`" in text
    assert "ISC" not in card.make_card(trained.make_system("logistic"), name="a")


def test_card_claims_no_clean_split_without_known_artists():
    system = trained.make_system()

    def sentence(**fields):
        report = system.report | {"shared_artists": [], "shared_recordings": []} | fields
        text = card.make_card(dataclasses.replace(system, report=report), name="a")
        (line,) = [line for line in text.splitlines() if "parts of the split" in line][-1:]
        return line

    known = {"artists_known": 6, "learned_artists_unknown": 0}
    assert sentence(**known).endswith("of the split: 0 artists and 0 recordings.")
    assert sentence(artists_known=0) == (
        "Not known: whether artists stand in several parts of the split."
    )
    some = sentence(artists_known=5, learned_artists_unknown=2)
    assert some.endswith("0 artists and 0 recordings; the artists of 3 tracks are not known.")
    assert sentence(artists_known=0, shared_artists=["x"]).startswith("Known to stand")
    assert "0 artists and 1 recording;" in sentence(artists_known=0, shared_recordings=["x"])


def test_card_names_the_seed_of_the_split():
    system = trained.make_system(data_seed=3, data_repeat=2)
    assert "fold 0, seed 5 |" in card.make_card(system, name="a")
