"""Cross-validation through the command line: uninterrupted, resumed, and with wrong flags."""

import csv
import json
import pathlib
import shlex
from unittest import mock

import numpy as np
import pytest
import soundfile

from mgr_jax import predictor as predictor_lib
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.evaluation.reports import figure_files
from tests.experiments import commands

RATE = 8000
ARTISTS, TAKES = 16, 3
# Two protocols, one seed, two folds: four trainings of a fraction of a second each.
FLAGS = (
    "--config=experiments/configs/logistic.py",
    "--config.data.name=manifest",
    "--config.data.clip_seconds=0.25",
    "--config.data.num_folds=2",
    "--config.data.num_workers=1",
    "--config.features.sample_rate=8000",
    "--config.features.n_fft=256",
    "--config.features.hop_length=128",
    "--config.features.n_mels=16",
    "--seeds=1",
)


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory):
    """Clips with five tones that identify the artist, not the class: only leaks help."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    time = np.arange(RATE // 4) / RATE
    rows = []
    for label in ("blues", "rock"):
        for artist in range(ARTISTS):
            tones = [np.sin(2 * np.pi * pitch * time) for pitch in random.uniform(200, 3800, 5)]
            for take in range(TAKES):
                name = f"{label}{artist}{take}.wav"
                clip = 0.1 * sum(tones) + 0.02 * random.normal(size=len(time))
                soundfile.write(folder / name, clip, RATE)
                rows.append((name, label, f"{label} {artist}"))
    with open(folder / "tracks.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "artist"), *rows])
    return f"--config.data.root={folder / 'tracks.csv'}"


@pytest.fixture(scope="module", name="whole")
def _whole(cache, data, tmp_path_factory):
    """Workdir of an unbroken run, and what it printed."""
    workdir = tmp_path_factory.mktemp("cross") / "run"
    flags = (*FLAGS, data, f"--workdir={workdir}", f"--json={workdir}.json")
    # Painting takes most of the time.
    with mock.patch.object(figure_files, "save", lambda figure, path: path.write_bytes(b"picture")):
        out, _ = commands.run(cache, "cross_validate", *flags)
    return workdir, out


def test_cross_validate_tests_every_track_once_and_finds_the_gap(whole):
    workdir, out = whole
    report = json.loads((workdir / "report.json").read_text())
    n = 2 * ARTISTS * TAKES
    for name in ("kfold", "artist_kfold"):
        assert report["protocols"][name]["n"] == n
        tested = set()
        for fold in range(2):
            with open(workdir / name / "seed0" / f"fold{fold}/eval/test/predictions.csv") as file:
                tested |= {row["track_id"] for row in csv.DictReader(file)}
        assert len(tested) == n
    # Only the artist's tones predict the class.
    assert report["leakage_gap"]["ci95"][0] > 0
    assert f"leakage gap: {100 * report['leakage_gap']['gap']:+.1f} points" in out
    assert "kfold leaks" in out
    page = (workdir / "report.md").read_text()
    assert f"] by artist (n = {n}, " in page
    assert json.loads(workdir.with_suffix(".json").read_text()) == report
    for name, values in report["protocols"].items():
        assert np.array(values["confusion_matrix"]).trace() == round(n * values["accuracy"])
        assert (workdir / f"{name}_confusion.png").exists()
    page = (workdir / "report.html").read_text()
    assert f"{100 * report['leakage_gap']['gap']:+.1f} points" in page and page.count("<img ") == 7
    assert not list(workdir.glob("*/seed0/fold0/eval/test/*.png"))
    shared = [f["shared_artists"] for f in report["protocols"]["artist_kfold"]["seeds"][0]["folds"]]
    assert shared == [0, 0]


@pytest.mark.slow
def test_cross_validate_killed_goes_on_where_it_was(cache, data, tmp_path):
    flags = [*FLAGS, data, "--protocols=kfold"]
    commands.run_process(cache, "cross_validate", *flags, f"--workdir={tmp_path / 'whole'}")
    arguments = [*flags, f"--workdir={tmp_path / 'run'}"]
    process = commands.start(cache, "cross_validate", *arguments)
    for line in process.stdout:
        if "(2 of 2 trainings)" in line:
            break
    process.kill()
    process.communicate()
    first = tmp_path / "run/kfold/seed0/fold0/eval/test/report.json"
    before = first.stat().st_mtime_ns
    out, _ = commands.run_process(cache, "cross_validate", *arguments)
    assert "(1 of 2 trainings)" not in out and "(2 of 2 trainings)" in out
    assert first.stat().st_mtime_ns == before
    left, right = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("run", "whole")
    )
    assert left["protocols"]["kfold"] == right["protocols"]["kfold"]
    assert "leakage_gap" not in left


@pytest.mark.e2e
def test_evaluate_of_few_tracks_prints_a_command_that_cross_validates(cache, data, tmp_path):
    flags = [flag for flag in (*FLAGS, data) if flag != "--seeds=1"]
    table = pathlib.Path(data.partition("=")[2])
    few = table.with_name("few.csv")
    rows = table.read_text().splitlines()
    few.write_text("\n".join([rows[0], *rows[1:25], *rows[-24:]]) + "\n")
    workdir = tmp_path / "my run"
    flags += [f"--config.data.root={few}", f"--workdir={workdir}"]
    out, _ = commands.run(cache, "train", *flags)
    assert "24 test tracks cannot tell much" in out
    out, _ = commands.run(cache, "evaluate", f"--workdir={workdir}")
    (line,) = [line for line in out.splitlines() if "experiments.cross_validate" in line]
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "experiments.cross_validate"]
    out, _ = commands.run(cache, "cross_validate", *words[3:], "--seeds=1")
    assert "leakage gap" in out
    assert (tmp_path / "my run-folds/protocols.png").read_bytes().startswith(b"\x89PNG")


def test_cross_validate_leaves_ordinary_workdirs(whole):
    fold = whole[0] / "artist_kfold" / "seed0" / "fold1"
    predictor = predictor_lib.load(str(fold))
    data, run = predictor.run.config.data, predictor.run
    assert (data.protocol, data.fold, run.split.protocol) == ("artist_kfold", 1, "artist_kfold")
    part = dataset_lib.open_part(run.config, run.split, "test").parts["test"]
    scores = predictor.score_tracks(part)
    with open(fold / "eval" / "test" / "predictions.csv", encoding="utf-8") as file:
        predicted = [row["predicted"] for row in csv.DictReader(file)]
    assert [run.labels[i] for i in scores.argmax(axis=1)] == predicted


@pytest.mark.e2e
def test_cross_validate_says_before_training_that_no_gap_can_be_shown(cache, data, tmp_path):
    table = pathlib.Path(data.partition("=")[2])
    unnamed = table.with_name("unnamed.csv")
    rows = [line.rsplit(",", 1)[0] for line in table.read_text().splitlines()]
    unnamed.write_text("\n".join(rows) + "\n")
    flags = [*FLAGS, f"--config.data.root={unnamed}", "--protocols=kfold"]
    out, _ = commands.run(cache, "cross_validate", *flags, f"--workdir={tmp_path / 'run'}")
    note, _, rest = out.partition("fold      kfold")
    assert "note      the data name no artist and no recording of two tracks" in note
    assert "accuracy" in rest


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--protocols=holdout", "'holdout' has no folds"),
        ("--protocols=kfold,kfold", "one protocol twice"),
        ("--seeds=0", "seeds"),
        ("--config.data.fold=1", "data.fold is 1"),
        ("--config.data.num_folds=17", "fewer than data.num_folds 17"),
    ],
)
def test_cross_validate_names_what_is_wrong_in_one_line(cache, data, tmp_path, argument, words):
    flags = [*FLAGS, data, argument, f"--workdir={tmp_path / 'w'}"]
    assert words in commands.fails(cache, "cross_validate", *flags)


def test_cross_validate_refuses_an_image_that_is_too_small(cache, tmp_path):
    size = ("--config.features.image_height=8", "--config.features.image_width=8")
    workdir = tmp_path / "w"
    line = commands.fails(
        cache,
        "cross_validate",
        "--config=experiments/configs/cnn.py",
        *size,
        f"--workdir={workdir}",
    )
    assert "model.name 'cnn': " in line and not workdir.exists()
