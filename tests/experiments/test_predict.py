"""Prediction for files and folders through the command line."""

import csv
import json
import re
import shlex
import shutil

import numpy as np
import pytest
import soundfile

import mgr_jax
from tests.experiments import commands


@pytest.fixture(name="songs")
def _songs(tmp_path):
    folder = tmp_path / "songs"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(size=(30_000, 2)) * 0.1
    soundfile.write(folder / "a stereo.wav", noise, 44_100)
    soundfile.write(folder / "b short.flac", noise[:2000, 0], 22_050)
    soundfile.write(folder / "c.mp3", noise[:, 0], 32_000)
    return folder


@pytest.fixture(name="model", scope="module")
def _model(cache, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    commands.run(cache, "export", f"--workdir={trained}", "--format=bundle", f"--output={path}")
    return path


def test_predict_takes_a_folder_as_it_is(cache, trained, songs):
    """Audio is read whatever its name, companions are counted, other files named."""
    (songs / "deep" / "er").mkdir(parents=True)
    (songs / "a stereo.wav").rename(songs / "deep" / "er" / "no suffix")
    (songs / "b bad.wav").write_text("this is text")
    for name in ("notes.txt", "tags.JSON", "list.csv", "readme.md", "two.csv", ".hidden"):
        (songs / name).write_text("no audio")
    out, err = commands.run(
        cache, "predict", f"--workdir={trained}", "--format=json", songs, songs / "none.wav", code=1
    )
    results = [json.loads(line) for line in out.splitlines()]
    names = [result["path"].rpartition("/")[2] for result in results]
    assert names == ["b bad.wav", "b short.flac", "c.mp3", "no suffix", "none.wav"]
    assert ["error" in result for result in results] == [True, False, False, False, True]
    for result in results[1:4]:
        values = list(result["probabilities"].values())
        assert len(values) == 10
        assert sum(values) == pytest.approx(1, abs=1e-6)
        assert values == sorted(values, reverse=True)
        assert result["label"] == next(iter(result["probabilities"]))
    *lines, done, following = err.splitlines()
    assert lines == [
        "devices   4 cpu",
        "skipped   5 that are no audio: 2 .csv, 1 .json, 1 .md, 1 .txt",
    ]
    assert done.startswith("done      in ") and done.endswith(" on 4 cpu")
    arguments = shlex.join([f"--workdir={trained}", "--timeline", str(songs)])
    assert following.startswith(f"next      python -m experiments.predict {arguments} ")


def test_predict_csv_has_one_row_for_each_file(cache, model, songs):
    (songs / "d.wav").write_text("this is text")
    out, _ = commands.run(cache, "predict", f"--workdir={model}", "--format=csv", songs, code=1)
    *rows, bad = csv.DictReader(out.splitlines())
    assert len(rows) == 3
    assert list(bad)[:4] == ["path", "label", "confidence", "uncertain"]
    for row in rows:
        values = {name: float(row[name]) for name in list(row)[4:-2]}
        assert len(values) == 10
        assert sum(values.values()) == pytest.approx(1, abs=1e-5)
        assert max(values, key=values.get) == row["label"]
        assert row["uncertain"] == str(float(row["confidence"]) < 0.5).lower()
        assert not row["error"]
    assert bad["error"].startswith("cannot be decoded")
    assert {value for name, value in bad.items() if name not in ("path", "error")} == {""}


def test_predict_names_what_is_wrong_in_one_line(cache, trained, tmp_path):
    assert "no audio file given" in commands.fails(cache, "predict", f"--workdir={trained}")
    (tmp_path / "empty").mkdir()
    line = commands.fails(cache, "predict", f"--workdir={trained}", tmp_path / "empty")
    assert "no audio file in this folder" in line


def test_predict_refuses_a_checkpoint_name_that_is_none(cache, trained, songs):
    line = commands.fails(
        cache, "predict", f"--workdir={trained}", "--checkpoint=foo", songs / "c.mp3"
    )
    assert "--checkpoint foo" in line


def test_predict_shows_the_timeline(cache, trained, songs, tmp_path):
    arguments = (f"--workdir={trained}", "--timeline", f"--output={tmp_path}", songs / "c.mp3")
    out, _ = commands.run(
        cache, "predict", "--overlap=0.5", "--top_k=1", "--threshold=1", *arguments
    )
    windows = [line for line in out.splitlines() if " - 00:0" in line]
    assert len(windows) == 3  # 0.94 s: half a second from 0.00, 0.25 and 0.44 s on.
    assert windows[0].startswith("  00:00.0 - 00:00.5  ")
    assert re.search(r"not sure: .* \(confidence 0\.", out)
    genres = [line for line in out.splitlines() if "#" in line and line not in windows]
    assert len(genres) == 1  # --top_k
    assert (tmp_path / "c.mp3.timeline.png").read_bytes().startswith(b"\x89PNG")


def test_predict_of_a_bundle_is_that_of_its_workdir(cache, trained, model, songs, tmp_path):
    outputs = []
    for path in (trained, model):
        out, _ = commands.run(
            cache, "predict", f"--workdir={path}", "--format=json", "--timeline",
            f"--output={tmp_path}", songs / "c.mp3",
        )  # fmt: skip
        outputs.append(json.loads(out))
    assert outputs[0] == outputs[1]
    timeline = outputs[0]["timeline"]
    assert len(timeline["start_seconds"]) == 2
    assert sum(row[1] for row in timeline["probabilities"].values()) == pytest.approx(1)


def test_predict_names_bad_flags(cache, trained, songs, tmp_path):
    song = songs / "c.mp3"
    line = commands.fails(cache, "predict", f"--workdir={trained}", "--overlap=1", song)
    assert "--overlap is 1.0" in line
    line = commands.fails(cache, "predict", f"--workdir={trained}", "--coverage=90", song)
    assert "--coverage is 90.0; it must be above 0 and below 1" in line
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("eval"))
    line = commands.fails(cache, "predict", f"--workdir={run}", "--coverage=0.9", song)
    assert f"--coverage: {run} has no tracks to calibrate" in line and "run evaluate" in line
    line = commands.fails(
        cache, "predict", f"--workdir={trained}", "--timeline", "--output=/proc/none", song
    )
    assert "--output /proc/none" in line


def test_predict_needs_no_workdir(cache, songs):
    song = songs / "c.mp3"
    out, err = commands.run(cache, "predict", "--format=json", "--coverage=0.9", song)
    values, expected = json.loads(out), mgr_jax.load("gtzan").predict(song, coverage=0.9)
    assert (values["set"], values["coverage"]) == (list(expected.label_set), 0.9)
    assert "\nsets      hold the genre of 90 % of tracks by new artists, over all genres" in err
    assert values["label"] == expected.label
    assert values["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert sum(values["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert (
        values["cautions"] == list(expected.cautions) and "less than 30 s" in values["cautions"][0]
    )
