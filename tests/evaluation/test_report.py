"""The report: every field of the contract, in every file, for a workdir made by hand."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
import pytest
import sklearn.metrics

from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.data import batches, catalog, clips, dataset, splits
from mgr_jax.errors import UserError
from mgr_jax.evaluation import report, stats

LABELS = ("blues", "drum | bass", "rock, soft")
PER_CLASS = 8


def _dataset(*, labels=LABELS, broken=()):
    """A data set of 24 tracks; those of `broken` cannot be read."""
    tracks = tuple(
        catalog.Track(f"{i}|{label}", "", label, artist=f"{label} {(i + 1) // 2}")
        for i in range(PER_CLASS)
        for label in labels
    )
    tracks = tuple(sorted(tracks, key=lambda track: track.id))
    found = catalog.Catalog("folder", tracks, tuple(sorted(labels)))
    records = tuple(
        clips.Record(t.id, length=10, error="is silent" if t.id in broken else "") for t in tracks
    )
    store = clips.Clips(np.zeros((len(tracks), 10), np.int16), records, 8000, pathlib.Path())
    parts = {t.id: ("test", "test", "valid", "train")[int(t.id[0]) % 4] for t in tracks}
    split = splits.make_split(
        dataclasses.replace(
            found, tracks=tuple(dataclasses.replace(t, part=parts[t.id]) for t in tracks)
        ),
        protocol="listed",
    )
    label_of = {t.id: t.label for t in tracks}
    judged = {
        part: batches.make_part(
            store, [n for n in getattr(split, part) if n in store.row], label_of, found.labels
        )
        for part in catalog.PARTS
    }
    return dataset.Dataset(found, store, split, judged)


@pytest.fixture
def data():
    return _dataset()


@pytest.fixture
def run(tmp_path, data):
    return workdir.create(str(tmp_path / "run"), config_lib.Config(), data.catalog, data.split)


def _scores(n, seed=0):
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(3), n))


def _write(run, data, part="test", seed=0, step=40):
    scores = _scores(len(data.parts[part].ids), seed)
    return report.write_report(run, data, part, scores, checkpoint_step=step), scores


def test_write_report_gives_every_field_of_the_contract(run, data):
    values, scores = _write(run, data)
    folder = run.path / "eval" / "test"
    assert json.loads((folder / "report.json").read_text()) == values
    truth, predicted = data.parts["test"].labels, scores.argmax(axis=1)
    n, hits = 12, int((truth == predicted).sum())
    assert values["n"] == n
    assert values["num_correct"] == hits
    assert values["accuracy"] == hits / n
    assert values["ci95"] == list(stats.wilson_interval(hits, n))
    assert values["protocol"] == "listed"
    assert values["part"] == "test"
    assert values["labels"] == list(LABELS)
    assert values["checkpoint_step"] == 40
    matrix = sklearn.metrics.confusion_matrix(truth, predicted, labels=range(3))
    np.testing.assert_array_equal(values["confusion_matrix"], matrix)
    assert list(values["per_class"]) == [*LABELS, "macro avg", "weighted avg"]
    assert values["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(truth, np.exp(scores), labels=range(3))
    )
    assert values["data_hash"] == data.catalog.hash()
    assert values["split_hash"] == data.split.hash()


def test_write_report_writes_a_page_that_carries_n_interval_and_protocol(run, data):
    values, _ = _write(run, data)
    text = (run.path / "eval/test/report.md").read_text()
    described = stats.describe_accuracy(values["num_correct"], 12, "listed")
    assert f"**accuracy {described}; 95 % Wilson interval; chance 33 %**" in text
    assert "checkpoint of step 40" in text
    assert "this split leaks: 9 artist(s) and 0 recording(s)" in text
    assert "![confusion matrix](confusion_matrix.png)" in text
    assert "learning_curves" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    # A label with a bar does not break a table: each has as many cells as its head.
    assert {line.replace(r"\|", "").count("|") for line in tables} == {5, 6}
    assert not list((run.path / "eval/test").glob("*.partial"))


def test_to_text_carries_n_interval_and_protocol(run, data):
    values, _ = _write(run, data)
    lines = report.to_text(values).splitlines()
    described = stats.describe_accuracy(values["num_correct"], 12, "listed")
    assert lines[0] == f"accuracy {described}; 95 % Wilson interval; chance 33 %"
    assert lines[1].startswith("this split leaks")
    table = lines[3:]
    assert len({len(line) for line in table}) == 1
    assert [line.split("  ")[0] for line in table[1:4]] == list(LABELS)


def test_write_report_writes_predictions_that_sum_to_one(run, data):
    _, scores = _write(run, data)
    with open(run.path / "eval/test/predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["track_id"] for row in rows] == list(data.parts["test"].ids)
    for row, score in zip(rows, scores, strict=True):
        values = np.array([float(row[label]) for label in LABELS])
        assert values.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(values, np.exp(score), atol=1e-6)
        assert row["predicted"] == LABELS[values.argmax()]
        assert row["label"] == row["track_id"].split("|", 1)[1]


def test_write_report_lists_the_most_confident_mistakes_first(run, data):
    _, scores = _write(run, data)
    text = (run.path / "eval/test/report.md").read_text()
    rows = text.split("## Most confident mistakes")[1].splitlines()[4:-2]
    shown = [float(row.rsplit("|", 2)[1]) for row in rows if row]
    truth = data.parts["test"].labels
    wrong = np.exp(scores.max(axis=1))[scores.argmax(axis=1) != truth]
    np.testing.assert_allclose(shown, np.sort(wrong)[::-1][:10], atol=0.0051)


def test_write_report_counts_the_evaluations_of_a_part(run, data):
    assert [_write(run, data)[0]["times_evaluated"] for _ in range(3)] == [1, 2, 3]
    assert _write(run, data, "valid")[0]["times_evaluated"] == 1
    assert "evaluated 3 time(s)" in (run.path / "eval/test/report.md").read_text()
    (run.path / "eval/test/report.json").write_text("damaged")
    assert _write(run, data)[0]["times_evaluated"] == 1


def test_write_report_draws_what_training_wrote_down(run, data):
    folder = run.path / "eval" / "test"
    epoch = {"step": 1, "epoch": 1, "train_loss": 2.0, "valid_loss": 2.1}
    epoch |= {"train_accuracy": 0.2, "valid_accuracy": 0.1}
    penalty = {"step": 0, "l2": 0.1, "train_accuracy": 0.9, "valid_accuracy": 0.6, "chosen": True}
    for record in (epoch, penalty):
        (run.path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
        _write(run, data)
        (folder / "learning_curves.png").unlink()
        assert "![learning curves]" in (folder / "report.md").read_text()
    (run.path / "metrics.jsonl").write_text('{"step": 0, "c": 1.0}\n')
    _write(run, data)
    assert "![learning curves]" not in (folder / "report.md").read_text()


def test_write_report_names_what_was_skipped_and_what_is_missing(run, data):
    broken, gone = data.split.test[0], data.split.test[1]
    now = _dataset(broken=[broken])
    judged = now.parts["test"]
    kept = [i for i, name in enumerate(judged.ids) if name != gone]
    judged = dataclasses.replace(
        judged,
        ids=tuple(judged.ids[i] for i in kept),
        rows=judged.rows[kept],
        labels=judged.labels[kept],
    )
    now = dataclasses.replace(now, parts={"test": judged})
    values, _ = _write(run, now)
    assert values["n"] == 10
    assert values["skipped"] == {broken: "is silent"}
    assert values["missing"] == [gone]
    assert f"1 track(s) cannot be read: {broken}" in report.to_text(values)
    assert f"1 track(s) missing from the data: {gone}" in report.to_text(values)


def test_write_report_numbers_the_classes_as_the_model_does(run):
    """Data that lack the first class number the others from 0; the model does not."""
    fewer = _dataset(labels=LABELS[1:])
    assert fewer.catalog.labels == LABELS[1:]
    truth = [LABELS.index(name.split("|", 1)[1]) for name in fewer.parts["test"].ids]
    scores = np.log(np.full((8, 3), 0.1) + 0.7 * np.eye(3)[truth])
    values = report.write_report(run, fewer, "test", scores, checkpoint_step=0)
    assert values["accuracy"] == 1
    assert values["per_class"]["blues"]["support"] == 0


def test_write_report_names_a_folder_that_cannot_be_written(run, data):
    (run.path / "eval").write_text("in the way")
    with pytest.raises(UserError) as caught:
        _write(run, data)
    assert str(caught.value).startswith(f"--workdir {run.path}: ")
    assert "cannot be written" in str(caught.value)
