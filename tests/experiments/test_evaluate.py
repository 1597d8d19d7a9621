"""Scoring a workdir through the command line."""

import csv
import json
import shutil

import numpy as np

from mgr_jax import predictor
from tests.experiments import commands


def test_evaluate_prints_n_interval_and_protocol_and_writes_the_report(cache, trained):
    out, _ = commands.run(cache, "evaluate", f"--workdir={trained}")
    report = json.loads((trained / "eval" / "test" / "report.json").read_text())
    assert report["n"] == 10 and report["protocol"] == "listed"
    low, high = report["ci95"]
    assert f"[{100 * low:.1f}, {100 * high:.1f}] (n = 10, listed)" in out
    with open(trained / "eval" / "test" / "predictions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    hits = sum(row["label"] == row["predicted"] for row in rows)
    assert hits / 10 == report["accuracy"]
    assert sum(map(sum, report["confusion_matrix"])) == 10
    for name in ("report.md", "report.html", "confusion_matrix.png", "learning_curves.png"):
        assert (trained / "eval" / "test" / name).stat().st_size > 100
    # Fitted on the ten tracks of the validation part.
    (record,) = json.loads((trained / "eval" / "temperature.json").read_text())
    assert (record["n"], record["part"]) == (10, "valid")
    assert record["checkpoint_step"] == report["checkpoint_step"]
    assert report["calibrated"]["temperature"] == record["temperature"]
    assert report["provenance"]["evaluated_with"]["seconds"] > 0


def test_evaluate_scores_other_parts_and_checkpoints(cache, trained):
    out, _ = commands.run(
        cache, "evaluate", f"--workdir={trained}", "--split=valid", "--checkpoint=latest"
    )
    assert "on the valid part" in out
    report = json.loads((trained / "eval" / "valid" / "report.json").read_text())
    assert report["checkpoint_step"] == 20


def test_evaluate_of_the_best_checkpoint_repeats_its_validation_accuracy(cache, trained):
    commands.run(cache, "evaluate", f"--workdir={trained}", "--split=valid")
    report = json.loads((trained / "eval" / "valid" / "report.json").read_text())
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    records = {record["step"]: record for record in map(json.loads, lines)}
    assert report["accuracy"] == max(r["valid_accuracy"] for r in records.values())
    assert report["accuracy"] == records[report["checkpoint_step"]]["valid_accuracy"]


def test_evaluate_of_a_model_that_has_diverged_is_one_line(cache, trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("eval"))
    nothing = np.full((10, 10), np.nan)
    monkeypatch.setattr(predictor.Predictor, "score_tracks", lambda self, part: nothing)
    _, err = commands.run(cache, "evaluate", f"--workdir={tmp_path / 'run'}", code=1)
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert "the model gives no number for" in line
    assert not (tmp_path / "run" / "eval").exists()


def test_evaluate_names_what_is_wrong_in_one_line(cache, trained, tmp_path):
    assert "no config.json" in commands.fails(cache, "evaluate", f"--workdir={tmp_path}")
    line = commands.fails(cache, "evaluate", f"--workdir={trained}", "--checkpoint=7")
    assert "--checkpoint 7" in line
    line = commands.fails(cache, "evaluate", f"--workdir={trained}", "--config.model.width=3")
    assert "belongs to the trained model" in line
    line = commands.fails(cache, "evaluate", f"--workdir={trained}", "--config.data.colour=3")
    assert "'colour'" in line
