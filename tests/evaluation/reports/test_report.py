"""The report: every field of the contract, in every file, for a workdir made by hand."""

import concurrent.futures
import copy
import csv
import dataclasses
import html.parser
import json
import pathlib
import time

import numpy as np
import pytest
import sklearn.metrics

from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.data import batches, catalog, clips, dataset, gtzan, splits
from mgr_jax.errors import UserError
from mgr_jax.evaluation import calibration, calibration_error, intervals, stats
from mgr_jax.evaluation import scores as scores_lib
from mgr_jax.evaluation.reports import provenance, report, wording
from tests.evaluation.reports import evaluated

pytestmark = pytest.mark.usefixtures("quick_figures")

_CURVES = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy")


def _read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_write_report_gives_every_field_of_the_contract(run, data):
    values, scores = evaluated.write(run, data)
    folder = run.path / "eval" / "test"
    assert json.loads((folder / "report.json").read_text()) == values
    truth, predicted = data.parts["test"].labels, scores.argmax(axis=1)
    n, hits = 12, int((truth == predicted).sum())
    assert values["n"] == n
    assert values["num_correct"] == hits
    assert values["accuracy"] == hits / n
    assert values["ci95_wilson"] == list(stats.wilson_interval(hits, n))
    assert values["protocol"] == "listed"
    assert values["part"] == "test"
    assert values["labels"] == list(evaluated.LABELS)
    assert values["checkpoint_step"] == 40
    matrix = sklearn.metrics.confusion_matrix(truth, predicted, labels=range(3))
    np.testing.assert_array_equal(values["confusion_matrix"], matrix)
    assert list(values["per_class"]) == [*evaluated.LABELS, "macro avg", "weighted avg"]
    assert values["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(truth, np.exp(scores), labels=range(3))
    )
    assert values["data_hash"] == data.catalog.hash()
    assert values["split_hash"] == data.split.hash()
    assert values["scored_data_hash"] == ""


def test_make_report_of_another_file_names_artists_shared_with_the_training(run, data):
    # As `dataset.open_part` gives it: the split of the run, with other tracks as the test part.
    split = dataclasses.replace(
        data.split, test=data.split.valid, valid=(), shared_artists=("Ann",), shared_recordings=()
    )
    other = dataclasses.replace(data, split=split, parts={"test": data.parts["valid"]})
    scores = evaluated.make_scores(len(split.test))

    def make(learned):
        record = run.record | {"learned": {"artist": learned, "recording": []}}
        other_run = dataclasses.replace(run, record=record)
        return report.make_report(other_run, other, "test", scores, checkpoint_step=1)

    values = make(["Ann"]) | {"times_evaluated": 1}
    assert values["missing"] == [] and values["scored_data_hash"] == data.catalog.hash()
    assert values["shared_artists"] == ["Ann"] and values["artists_known"] == len(split.test)
    assert "this split leaks: 1 artist and 0 recordings are on both sides" in wording.to_text(
        values
    )
    assert "scored on another file, hash" in dict(wording.provenance(values))["data"]
    # Unknown without the artists of the training tracks.
    assert make([])["artists_known"] == 0


def test_write_report_writes_a_page_that_carries_n_interval_and_protocol(run, data):
    values, _ = evaluated.write(run, data)
    text = (run.path / "eval/test/report.md").read_text()
    described = stats.describe(values, "listed")
    assert "] by artist (n = 12, 9 artists, listed; Wilson by track [" in described
    assert f"**accuracy {described}; 95 % intervals; chance 33 %**" in text
    assert wording.methods(values) in text and "from a jackknife over 9 artists" in text
    assert "| checkpoint | of step 40 |" in text
    assert "this split leaks: 6 artists and 0 recordings are on both sides" in text
    assert "![confusion matrix](confusion_matrix.png)" in text
    assert "learning_curves" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    # A label with a bar does not break a table: all rows have as many cells as the head.
    assert {line.replace(r"\|", "").count("|") for line in tables} == {3, 4, 6, 7}
    assert not list((run.path / "eval/test").glob("*.partial"))


def test_write_report_writes_predictions_that_sum_to_one(run, data):
    _, scores = evaluated.write(run, data)
    rows = _read_csv(run.path / "eval/test/predictions.csv")
    assert [row["track_id"] for row in rows] == list(data.parts["test"].ids)
    for row, score in zip(rows, scores, strict=True):
        values = np.array([float(row[label]) for label in evaluated.LABELS])
        assert values.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(values, np.exp(score), atol=1e-6)
        assert row["predicted"] == evaluated.LABELS[values.argmax()]
        assert row["label"] == row["track_id"].split("|", 1)[1]


def test_write_report_lists_the_most_confident_mistakes_first(run, data):
    _, scores = evaluated.write(run, data)
    text = (run.path / "eval/test/report.md").read_text()
    section = text.split("## Most confident mistakes")[1].split("## ")[0]
    shown = [float(row.rsplit("|", 2)[1]) for row in section.strip().splitlines()[2:]]
    truth = data.parts["test"].labels
    wrong = np.exp(scores.max(axis=1))[scores.argmax(axis=1) != truth]
    np.testing.assert_allclose(shown, np.sort(wrong)[::-1][:10], atol=0.0051)
    assert "| probability, not calibrated |" in section


def test_write_report_counts_the_evaluations_of_a_part(run, data):
    assert [evaluated.write(run, data)[0]["times_evaluated"] for _ in range(3)] == [1, 2, 3]
    assert evaluated.write(run, data, "valid")[0]["times_evaluated"] == 1
    text = (run.path / "eval/test/report.md").read_text()
    assert "the test part was evaluated 3 times in this workdir" in text
    # Neither file alone sets it back.
    (run.path / "eval/test/report.json").write_text("damaged")
    assert evaluated.write(run, data)[0]["times_evaluated"] == 4
    (run.path / "evaluations.jsonl").unlink()
    assert evaluated.write(run, data)[0]["times_evaluated"] == 5
    assert evaluated.write(run, data, "valid")[0]["times_evaluated"] == 2


def test_write_report_draws_the_metrics_of_the_training(run, data):
    folder = run.path / "eval" / "test"
    epoch = {"step": 1, "epoch": 1, "train_loss": 2.0, "valid_loss": 2.1}
    epoch |= {"train_accuracy": 0.2, "valid_accuracy": 0.1}
    penalty = {"step": 0, "l2": 0.1, "train_accuracy": 0.9, "valid_accuracy": 0.6, "chosen": True}
    for record in (epoch, penalty):
        (run.path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
        evaluated.write(run, data)
        (folder / "learning_curves.png").unlink()
        assert "![learning curves]" in (folder / "report.md").read_text()
    (run.path / "metrics.jsonl").write_text('{"step": 0, "c": 1.0}\n')
    evaluated.write(run, data)
    assert "![learning curves]" not in (folder / "report.md").read_text()


def test_write_report_names_what_was_skipped_and_what_is_missing(run, data):
    broken, gone = data.split.test[0], data.split.test[1]
    now = evaluated.make_dataset(broken=[broken])
    part = now.parts["test"]
    kept = [i for i, name in enumerate(part.ids) if name != gone]
    part = dataclasses.replace(
        part,
        ids=tuple(part.ids[i] for i in kept),
        rows=part.rows[kept],
        labels=part.labels[kept],
    )
    now = dataclasses.replace(now, parts={"test": part})
    values, _ = evaluated.write(run, now)
    assert values["n"] == 10
    assert values["skipped"] == {broken: "is silent"}
    assert values["missing"] == [gone]
    assert f"1 track cannot be read: {broken}" in wording.to_text(values)
    assert f"1 track missing from the data: {gone}" in wording.to_text(values)


def test_write_report_numbers_the_classes_as_the_model_does(run):
    """Data that lack the first class number the others from 0; the model does not."""
    fewer = evaluated.make_dataset(labels=evaluated.LABELS[1:])
    assert fewer.catalog.labels == evaluated.LABELS[1:]
    truth = [evaluated.LABELS.index(name.split("|", 1)[1]) for name in fewer.parts["test"].ids]
    scores = np.log(np.full((8, 3), 0.1) + 0.7 * np.eye(3)[truth])
    values = report.write_report(run, fewer, "test", scores, checkpoint_step=0)
    assert values["accuracy"] == 1
    assert values["per_class"]["blues"]["support"] == 0


def test_write_report_names_a_folder_that_cannot_be_written(run, data):
    (run.path / "eval").write_text("in the way")
    with pytest.raises(UserError) as caught:
        evaluated.write(run, data)
    assert str(caught.value).startswith(f"workdir {run.path}: ")
    assert "cannot be written" in str(caught.value)


def test_write_report_takes_artists_that_repeat_as_one(run, data):
    values, scores = evaluated.write(run, data)
    tracks = {track.id: track for track in data.catalog.tracks}
    artists = [tracks[name].artist for name in data.parts["test"].ids]
    assert values["num_groups"] == len(set(artists)) < values["n"]
    assert values["artists_known"] == values["n"]
    correct = scores.argmax(axis=1) == data.parts["test"].labels
    assert values["ci95"] == list(intervals.accuracy_interval(correct, artists))
    assert values["grouped_by"] == "artist"
    rows = _read_csv(run.path / "eval/test/tracks.csv")
    assert [row["track_id"] for row in rows] == list(data.parts["test"].ids)
    assert len({row["group"] for row in rows}) == values["num_groups"]


def test_write_report_measures_calibration_with_the_temperature_of_the_checkpoint(run, data):
    values, scores = evaluated.write(run, data)
    assert values["calibrated"] is None
    assert "calibrated" in values["undefined"]
    truth = data.parts["test"].labels
    calibration.write_temperature(run.path, 3 * scores, truth, checkpoint_step=40)
    assert evaluated.write(run, data, step=41)[0]["calibrated"] is None
    values, _ = evaluated.write(run, data)
    calibrated = values["calibrated"]
    temperature = calibration.load_temperature(run.path)
    assert calibrated["temperature"] == temperature
    scaled = calibration.scale(scores, temperature)
    groups = [row["group"] for row in _read_csv(run.path / "eval/test/tracks.csv")]
    error = calibration_error.calibration_error(scaled, truth, groups=groups)
    assert calibrated["calibration_error"] == error._asdict()


def test_write_report_is_json_without_nan_whatever_the_model_says(run, data):
    truth = data.parts["test"].labels
    cases = {
        "all right": np.log(0.9 * np.eye(3)[truth] + 0.1 / 3),
        "all wrong and sure": np.log(np.clip(np.eye(3)[(truth + 1) % 3], 1e-300, 1)) * 3,
        "impossible": np.where(np.eye(3)[truth] > 0, -np.inf, np.log(0.5)),
        "one class": np.log(np.tile([0.8, 0.1, 0.1], (len(truth), 1))),
    }
    for scores in cases.values():
        report.write_report(run, data, "test", scores, checkpoint_step=1)
        text = (run.path / "eval/test/report.json").read_text()
        assert "NaN" not in text and "Infinity" not in text
        values = json.loads(text)
        for field in ("log_loss", "ci95"):
            assert (values[field] is None) == (field in values["undefined"])
    assert values["accuracy"] == 1 / 3


def test_write_report_names_a_track_without_a_number(run, data):
    scores = evaluated.make_scores(12)
    scores[3, 1] = np.nan
    with pytest.raises(UserError, match="the model gives no number for") as caught:
        report.write_report(run, data, "test", scores, checkpoint_step=0)
    assert data.parts["test"].ids[3] in str(caught.value)
    assert not (run.path / "evaluations.jsonl").exists()


def test_write_report_says_where_the_number_comes_from(run, data):
    lines = [{"step": i, "epoch": i, "seconds": 1.5} for i in (1, 2)]
    lines = [line | dict.fromkeys(_CURVES, 0.5) for line in lines]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = evaluated.make_scores(12)
    values = report.write_report(run, data, "test", scores, checkpoint_step=0, seconds=0.25)
    origin = values["provenance"]
    assert origin["config"] == config_lib.to_json(run.config)
    assert origin["trained_with"]["seconds"] == 3
    assert origin["evaluated_with"]["seconds"] == 0.25
    assert origin["evaluated_with"]["device"].startswith("4 x ")
    assert origin["trained_with"]["versions"]["jax"]


class _Reader(html.parser.HTMLParser):
    """Collects tags and links, and checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_write_report_makes_a_self_contained_page(run, data):
    values, _ = evaluated.write(run, data)
    text = (run.path / "eval/test/report.html").read_text()
    reader = _Reader(text)
    assert reader.open == []
    assert not reader.tags & {"script", "link", "iframe", "b"}
    assert len(reader.links) == 5
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert "http" not in text
    assert stats.describe(values, "listed") in text
    assert "&lt;b&gt;.wav" in text and "/home/x" not in text


@pytest.mark.slow
def test_write_report_of_a_thousand_tracks_takes_less_than_20_seconds(tmp_path, monkeypatch):
    monkeypatch.undo()  # With painted figures.
    tracks = tuple(dataclasses.replace(track, part="test") for track in gtzan.tracks())
    songs = catalog.Catalog("gtzan", tracks, gtzan.GENRES)
    records = tuple(clips.Record(track.id, length=10) for track in tracks)
    store = clips.Clips(np.zeros((1000, 10), np.int16), records, 8000, pathlib.Path())
    split = splits.Split("artist_kfold", (), (), tuple(track.id for track in tracks))
    label_of = {track.id: track.label for track in tracks}
    part = batches.make_part(store, list(split.test), label_of, gtzan.GENRES)
    data = dataset.Dataset(songs, store, split, {"test": part})
    run = workdir.create(str(tmp_path / "run"), config_lib.Config(), songs, split)
    logits = np.random.default_rng(0).normal(size=(1000, 10)) + 2 * np.eye(10)[part.labels]
    began = time.monotonic()
    values = report.write_report(run, data, "test", scores_lib.normalize(logits), checkpoint_step=0)
    assert time.monotonic() - began < 20
    assert values["n"] == 1000
    assert values["num_groups"] < 400
    assert values["without_faulty"]["n"] == 930
    assert (run.path / "eval/test/f1.png").stat().st_size > 10_000


def test_counted_evaluation_loses_none_of_several_at_once(run):
    def count(_):
        with provenance.counted_evaluation(run, "test", checkpoint_step=0) as number:
            return number

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(count, range(40))) == list(range(1, 41))


def test_counted_evaluation_does_not_count_one_that_was_killed(run):
    for _ in range(2):
        with (
            pytest.raises(KeyboardInterrupt),
            provenance.counted_evaluation(run, "test", checkpoint_step=0) as number,
        ):
            raise KeyboardInterrupt
        assert number == 1


def test_known_artists_need_names_on_both_sides(run, data):
    everyone = [*data.split.train, *data.split.valid, *data.split.test]

    def known(unnamed):
        tracks = tuple(
            dataclasses.replace(track, artist="" if track.id in unnamed else track.artist)
            for track in data.catalog.tracks
        )
        catalog = dataclasses.replace(data.catalog, tracks=tracks)
        values = provenance.known_artists(
            run, dataclasses.replace(data, catalog=catalog), part="test"
        )
        return values["artists_known"], values["learned_artists_unknown"]

    assert known([]) == (12, 0)
    assert known(data.split.test[:2]) == (10, 0)
    assert known(data.split.train[:2]) == (12, 2)
    assert known(data.split.test) == (0, 0)
    # Whether the artists of the test part are among those of the training is not known.
    assert known([*data.split.train, *data.split.valid]) == (0, 12)
    assert known(everyone) == (0, 12)


def test_provenance_gives_the_seed_that_drew_the_split(run, data):
    config = copy.deepcopy(run.config)
    config.data.seed, config.data.repeat = 3, 2
    values = provenance.describe(dataclasses.replace(run, config=config), seconds=None)
    assert values["split_seed"] == 5
