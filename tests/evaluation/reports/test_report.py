"""The report: every field of the contract, in every file, for a workdir made by hand."""

import concurrent.futures
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
from mgr_jax.evaluation import bootstrap, calibration, results, stats
from mgr_jax.evaluation import scores as scores_lib
from mgr_jax.evaluation.reports import html as html_lib
from mgr_jax.evaluation.reports import markdown, plots, provenance, report, wording

LABELS = ("blues", "drum | bass", "rock, soft")
PER_CLASS = 8
_CURVES = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy")


def _dataset(*, labels=LABELS, broken=()):
    """A data set of 24 tracks; those of `broken` cannot be read."""
    tracks = tuple(
        catalog.Track(
            f"{i}|{label}", f"/home/x/{i} <b>.wav", label, artist=f"{label} {(i + 1) // 3}"
        )
        for i in range(PER_CLASS)
        for label in labels
    )
    tracks = tuple(sorted(tracks, key=lambda track: track.id))
    songs = catalog.Catalog("folder", tracks, tuple(sorted(labels)))
    records = tuple(
        clips.Record(t.id, length=10, error="is silent" if t.id in broken else "") for t in tracks
    )
    store = clips.Clips(np.zeros((len(tracks), 10), np.int16), records, 8000, pathlib.Path())
    parts = {t.id: ("test", "test", "valid", "train")[int(t.id[0]) % 4] for t in tracks}
    split = splits.make_split(
        dataclasses.replace(
            songs, tracks=tuple(dataclasses.replace(t, part=parts[t.id]) for t in tracks)
        ),
        protocol="listed",
    )
    label_of = {t.id: t.label for t in tracks}
    parts_by_name = {
        part: batches.make_part(
            store, [n for n in getattr(split, part) if n in store.row], label_of, songs.labels
        )
        for part in catalog.PARTS
    }
    return dataset.Dataset(songs, store, split, parts_by_name)


@pytest.fixture
def data():
    return _dataset()


@pytest.fixture
def run(tmp_path, data):
    return workdir.create(str(tmp_path / "run"), config_lib.Config(), data.catalog, data.split)


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch):
    """Figures are made but not painted, which takes most of the time; see test_plots."""
    monkeypatch.setattr(plots, "_save", lambda figure, path: path.write_bytes(b"a picture"))


def _scores(n, seed=0):
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(3), n))


def _read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
    assert values["scored_data_hash"] == ""


def test_make_report_of_another_file_names_artists_shared_with_the_training(run, data):
    # As `dataset.open_part` gives it: the split of the run, with other tracks as the test part.
    split = dataclasses.replace(
        data.split, test=data.split.valid, valid=(), shared_artists=("Ann",), shared_recordings=()
    )
    other = dataclasses.replace(data, split=split, parts={"test": data.parts["valid"]})
    scores = _scores(len(split.test))

    def make(learned):
        record = run.record | {"learned": {"artist": learned, "recording": []}}
        other_run = dataclasses.replace(run, record=record)
        return report.make_report(other_run, other, "test", scores, checkpoint_step=1)

    values = make(["Ann"]) | {"times_evaluated": 1}
    assert values["missing"] == [] and values["scored_data_hash"] == data.catalog.hash()
    assert values["shared_artists"] == ["Ann"] and values["artists_known"] == len(split.test)
    assert "this split leaks: 1 artist(s)" in wording.to_text(values)
    assert "scored on another file, hash" in dict(wording.provenance(values))["data"]
    # Unknown without the artists of the training tracks.
    assert make([])["artists_known"] == 0


def test_write_report_writes_a_page_that_carries_n_interval_and_protocol(run, data):
    values, _ = _write(run, data)
    text = (run.path / "eval/test/report.md").read_text()
    described = stats.describe_accuracy(values["num_correct"], 12, "listed")
    assert f"**accuracy {described}; 95 % Wilson interval; chance 33 %**" in text
    assert "| checkpoint | of step 40 |" in text
    assert "this split leaks: 6 artist(s) and 0 recording(s)" in text
    assert "![confusion matrix](confusion_matrix.png)" in text
    assert "learning_curves" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    # A label with a bar does not break a table: all rows have as many cells as the head.
    assert {line.replace(r"\|", "").count("|") for line in tables} == {3, 4, 6, 7}
    assert not list((run.path / "eval/test").glob("*.partial"))


def test_to_text_carries_n_interval_and_protocol(run, data):
    values, _ = _write(run, data)
    lines = wording.to_text(values).splitlines()
    described = stats.describe_accuracy(values["num_correct"], 12, "listed")
    assert lines[0] == f"accuracy {described}; 95 % Wilson interval; chance 33 %"
    assert lines[1].startswith("the tracks come from 9 artists (or recordings); by artist the 95 %")
    assert lines[2].startswith("this split leaks")
    table = lines[lines.index("") + 1 :]
    assert len({len(line) for line in table}) == 1
    assert [line.split("  ")[0] for line in table[1:4]] == list(LABELS)


def test_write_report_writes_predictions_that_sum_to_one(run, data):
    _, scores = _write(run, data)
    rows = _read_csv(run.path / "eval/test/predictions.csv")
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
    section = text.split("## Most confident mistakes")[1].split("## ")[0]
    shown = [float(row.rsplit("|", 2)[1]) for row in section.strip().splitlines()[2:]]
    truth = data.parts["test"].labels
    wrong = np.exp(scores.max(axis=1))[scores.argmax(axis=1) != truth]
    np.testing.assert_allclose(shown, np.sort(wrong)[::-1][:10], atol=0.0051)


def test_write_report_counts_the_evaluations_of_a_part(run, data):
    assert [_write(run, data)[0]["times_evaluated"] for _ in range(3)] == [1, 2, 3]
    assert _write(run, data, "valid")[0]["times_evaluated"] == 1
    text = (run.path / "eval/test/report.md").read_text()
    assert "the test part was evaluated 3 times in this workdir" in text
    # Neither file alone sets it back.
    (run.path / "eval/test/report.json").write_text("damaged")
    assert _write(run, data)[0]["times_evaluated"] == 4
    (run.path / "evaluations.jsonl").unlink()
    assert _write(run, data)[0]["times_evaluated"] == 5
    assert _write(run, data, "valid")[0]["times_evaluated"] == 2


def test_write_report_draws_the_metrics_of_the_training(run, data):
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
    part = now.parts["test"]
    kept = [i for i, name in enumerate(part.ids) if name != gone]
    part = dataclasses.replace(
        part,
        ids=tuple(part.ids[i] for i in kept),
        rows=part.rows[kept],
        labels=part.labels[kept],
    )
    now = dataclasses.replace(now, parts={"test": part})
    values, _ = _write(run, now)
    assert values["n"] == 10
    assert values["skipped"] == {broken: "is silent"}
    assert values["missing"] == [gone]
    assert f"1 track(s) cannot be read: {broken}" in wording.to_text(values)
    assert f"1 track(s) missing from the data: {gone}" in wording.to_text(values)


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


def test_write_report_takes_artists_that_repeat_as_one(run, data):
    values, scores = _write(run, data)
    tracks = {track.id: track for track in data.catalog.tracks}
    artists = [tracks[name].artist for name in data.parts["test"].ids]
    assert values["num_groups"] == len(set(artists)) < values["n"]
    assert values["artists_known"] == values["n"]
    correct = scores.argmax(axis=1) == data.parts["test"].labels
    expected = bootstrap.mean_interval(correct, groups=artists)
    assert values["ci95_bootstrap"] == pytest.approx(expected, abs=0.02)
    rows = _read_csv(run.path / "eval/test/tracks.csv")
    assert [row["track_id"] for row in rows] == list(data.parts["test"].ids)
    assert len({row["group"] for row in rows}) == values["num_groups"]


def test_write_report_measures_calibration_with_the_temperature_of_the_checkpoint(run, data):
    values, scores = _write(run, data)
    assert values["calibrated"] is None
    assert "calibrated" in values["undefined"]
    truth = data.parts["test"].labels
    calibration.write_temperature(run.path, 3 * scores, truth, checkpoint_step=40)
    assert _write(run, data, step=41)[0]["calibrated"] is None
    values, _ = _write(run, data)
    calibrated = values["calibrated"]
    temperature = calibration.load_temperature(run.path)
    assert calibrated["temperature"] == temperature
    scaled = calibration.scale(scores, temperature)
    assert calibrated["ece"] == calibration.expected_calibration_error(scaled, truth)


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
        for field in ("log_loss", "ci95_bootstrap"):
            assert (values[field] is None) == (field in values["undefined"])
    assert values["accuracy"] == 1 / 3


def test_write_report_names_a_track_without_a_number(run, data):
    scores = _scores(12)
    scores[3, 1] = np.nan
    with pytest.raises(UserError, match="the model gives no number for") as caught:
        report.write_report(run, data, "test", scores, checkpoint_step=0)
    assert data.parts["test"].ids[3] in str(caught.value)
    assert not (run.path / "evaluations.jsonl").exists()


def test_write_report_says_where_the_number_comes_from(run, data):
    lines = [{"step": i, "epoch": i, "seconds": 1.5} for i in (1, 2)]
    lines = [line | dict.fromkeys(_CURVES, 0.5) for line in lines]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = _scores(12)
    values = report.write_report(run, data, "test", scores, checkpoint_step=0, seconds=0.25)
    origin = values["provenance"]
    assert origin["config"] == config_lib.to_json(run.config)
    assert origin["trained_with"]["seconds"] == 3
    assert origin["evaluated_with"]["seconds"] == 0.25
    assert origin["evaluated_with"]["device"].startswith("4 x ")
    assert origin["trained_with"]["versions"]["jax"]


def test_without_faulty_leaves_out_what_the_published_split_does():
    facts = gtzan.facts()
    ids = sorted(facts)
    correct = np.array([facts[name].part == "" for name in ids])
    values = results.without_faulty(ids, correct)
    assert values["left_out"] == 70
    assert (values["n"], values["num_correct"]) == (930, 0)
    faulty = [name for name in ids if facts[name].part == ""]
    assert results.without_faulty(faulty, np.ones(70, bool)) == {"left_out": 70}
    assert results.without_faulty(["mine"], np.ones(1, bool)) is None


def test_measure_says_why_a_value_is_not_defined():
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 20))
    values = results.measure(scores, np.zeros(20, int), ["a", "b", "c"])
    assert values["roc_auc"] == {"macro": None, "per_class": {"a": None, "b": None, "c": None}}
    assert {"roc_auc.a", "top_k.3", "top_k.5", "calibrated"} <= values["undefined"].keys()
    assert values["top_k"].keys() == {"2"}
    assert values["abstention"][0]["n"] == 20


def test_measure_gives_no_interval_by_resampling_where_it_has_no_width():
    scores = np.log(np.full((6, 2), 0.1) + 0.8 * np.eye(2)[[0, 0, 0, 1, 1, 1]])
    values = results.measure(scores, np.array([0, 0, 0, 1, 1, 1]), ["a", "b"])
    assert values["accuracy"] == 1
    assert values["ci95_bootstrap"] is None
    assert values["f1_ci95"]["a"] is None
    assert values["balanced_accuracy_ci95"] is None


def test_measure_covers_f1_by_its_interval():
    """The interval equals a bootstrap of scikit-learn's F1 over tracks, written out."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 120)
    scores = np.log(rng.dirichlet(np.ones(3), 120) + 0.5 * np.eye(3)[truth])
    values = results.measure(scores, truth, ["a", "b", "c"])
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, 120, 120)
        scores_f1 = sklearn.metrics.f1_score(truth[rows], scores.argmax(1)[rows], average=None)
        drawn.append([*scores_f1, scores_f1.mean()])
    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    shown = [values["f1_ci95"][name] for name in ("a", "b", "c", "macro avg")]
    np.testing.assert_allclose(shown, expected, atol=0.03)


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
    values, _ = _write(run, data)
    text = (run.path / "eval/test/report.html").read_text()
    reader = _Reader(text)
    assert reader.open == []
    assert not reader.tags & {"script", "link", "iframe", "b"}
    assert len(reader.links) == 5
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert "http" not in text
    described = stats.describe_accuracy(values["num_correct"], 12, "listed")
    assert described in text
    assert "&lt;b&gt;.wav" in text and "/home/x" not in text


def test_verdict_says_whether_the_accuracy_exceeds_chance(run, data):
    values, _ = _write(run, data)
    hits = values["num_correct"]
    assert f"Of 12 tracks, bbnn named the genre of {hits} rightly (listed)" in wording.verdict(
        values
    )
    assert "cannot be told from guessing" in wording.verdict(values)
    better = values | {"ci95": [0.8, 1.0], "ci95_bootstrap": [0.7, 1.0]}
    assert "by other artists, expect between 70 and 100 in a hundred" in wording.verdict(better)
    assert "guessing." not in wording.verdict(better).split("guessing would")[1]


def test_badges_name_leaks_and_unknown_artists(run, data):
    values, _ = _write(run, data)
    tones = dict(wording.badges(values))
    assert tones["artists or recordings leak"] == "bad"
    clean = values | {"shared_artists": [], "shared_recordings": []}
    assert wording.badges(clean)[-1] == ("no known artist on both sides", "good")
    assert "of 5 tracks" in wording.badges(clean | {"artists_known": 7})[-1][0]
    assert wording.badges(clean | {"artists_known": 0})[-1] == ("artists unknown", "bad")
    assert wording.badges(clean | {"part": "train"})[-1][1] == "bad"
    assert "no artist is known here" in "".join(wording.warnings(clean | {"artists_known": 0}))


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


@pytest.mark.parametrize(("n", "num_classes"), [(1, 2), (2, 2), (30, 40)])
def test_measure_and_pages_take_any_number_of_tracks_and_classes(run, data, n, num_classes):
    rng = np.random.default_rng(0)
    scores = np.log(rng.dirichlet(np.ones(num_classes), n))
    labels = [f"class {i}" for i in range(num_classes)]
    measured = results.measure(scores, rng.integers(0, num_classes, n), labels, temperature=2.0)
    json.dumps(measured, allow_nan=False)
    whole = _write(run, data)[0] | measured | {"figures": {}, "without_faulty": None}
    assert f"(n = {n}, listed)" in markdown.to_markdown(whole)
    assert f"(n = {n}, listed)" in html_lib.to_html(whole, run.path)
    assert f"(n = {n}, listed)" in wording.to_text(whole)


def test_count_evaluation_loses_none_of_several_at_once(run):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(provenance.count_evaluation, run, "test", checkpoint_step=0)
            for _ in range(40)
        ]
    assert sorted(job.result() for job in jobs) == list(range(1, 41))
