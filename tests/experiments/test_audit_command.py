"""Audits through the command line."""

import importlib.resources
import json

import pytest

from experiments.configs import gtzan_facts
from mgr_jax import config as config_lib
from mgr_jax.data import dataset, gtzan
from mgr_jax.errors import UserError
from tests.experiments import commands

CONFIG = "--config=experiments/configs/gtzan_facts.py"


def test_config_of_gtzan_facts_is_valid():
    config = config_lib.validate(gtzan_facts.get_config())
    assert (config.data.name, config.data.protocol) == ("gtzan_facts", "holdout")


def test_audit_of_gtzan_over_seeds(cache, tmp_path):
    path = tmp_path / "audit.json"
    out, _ = commands.run(
        cache, "audit", CONFIG, "--seeds=40", "--strict", "--labels", f"--json={path}", code=1
    )
    report = json.loads(path.read_text())
    assert report["artist_overlap"] == pytest.approx(0.78, abs=0.03)
    assert report["recording_overlap"] == pytest.approx(0.13, abs=0.03)
    assert (report["identical_pairs"], report["label_conflicts"]) == (14, 1)
    assert (report["protocol"], report["seed"], report["num_seeds"]) == ("holdout", 0, 40)
    assert len(report["identical_pairs_rows"]) == 14
    assert "% of the test tracks share their artist with train or valid (mean of 40 seeds" in out
    first = report["labels"]["conflicts"][0]
    assert (
        first["tracks"] == ["metal.00058", "rock.00016"] and first["evidence"] == "the same bytes"
    )
    assert "there is no audio: only the same audio under two labels can be shown" in out
    assert "  metal.00058 (metal) = rock.00016 (rock): the same bytes" in out


def test_an_empty_page_is_named_before_the_work(cache):
    line = commands.fails(cache, "audit", CONFIG, "--labels", "--page=")
    assert "--page (empty): cannot be written" in line
    assert "add --labels" in commands.fails(cache, "audit", CONFIG, "--page=")


def test_audit_of_artist_kfold_passes_and_saves_the_published_folds(cache, tmp_path):
    arguments = (CONFIG, "--config.data.protocol=artist_kfold", "--strict")
    path = tmp_path / "folds.csv"
    out, _ = commands.run(cache, "audit", *arguments, f"--save_split={path}")
    assert "nothing leaks" in out
    assert "reggae       35    16    16    16    17" in out
    published = importlib.resources.files("mgr_jax.data") / "gtzan_splits" / "artist_kfold.csv"
    assert path.read_text() == published.read_text()


def test_audit_of_a_split_that_somebody_made(cache, tmp_path):
    """Three folds with two artists of two spellings across them, and names from a file."""
    known = gtzan.facts()
    artists = sorted({fact.artist for fact in known.values()})
    fold = {artist: number % 3 for number, artist in enumerate(artists)}
    lines = {name: f"{name}.wav,{fold[fact.artist]}" for name, fact in known.items()}
    spelled = {
        "blues.00000": "Ann Bee",
        "jazz.00099": "ANN  BEE",
        "pop.00001": "Cee",
        "rock.00099": "cee",
    }
    for number, name in enumerate(spelled):
        lines[name] = f"{name}.wav,{number % 2}"
    split, facts, path = (tmp_path / n for n in ("folds.csv", "facts.csv", "audit.json"))
    split.write_text("\n".join(["filename,fold", *lines.values()]) + "\n")
    rows = [f"{name},{artist}" for name, artist in spelled.items()]
    facts.write_text("\n".join(["track_id,artist", *rows]) + "\n")
    arguments = (CONFIG, f"--split_file={split}", f"--json={path}", f"--config.data.facts={facts}")
    out, _ = commands.run(cache, "audit", *arguments)
    report = json.loads(path.read_text())
    named = [row for row in report["crossing_artists"] if row["artist"] in ("ANN  BEE", "Cee")]
    assert [row["parts"] for row in named] == [
        {"0": ["pop.00001"], "1": ["rock.00099"]},
        {"0": ["blues.00000"], "1": ["jazz.00099"]},
    ]
    assert report["has_folds"]
    assert sum(report["n"].values()) == 1000
    assert report["leaks"] >= 2
    assert "ANN  BEE = Ann Bee: 0: blues.00000; 1: jazz.00099" in out


def test_audit_refuses_in_one_line(cache, tmp_path):
    line = commands.fails(cache, "audit", CONFIG, f"--split_file={tmp_path / 'none.csv'}")
    assert "none.csv: cannot be read" in line


def test_open_catalog_refuses_gtzan_facts_for_a_training():
    with pytest.raises(UserError, match="'gtzan_facts' has no audio"):
        dataset.open_catalog(gtzan_facts.get_config())
