"""`evaluate --deform` and `--subset` through the command line."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.experiments import commands


@pytest.mark.e2e
def test_probes_write_their_pages_and_count_no_evaluation(cache, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("eval"))
    flags = (f"--workdir={run}", "--deform=gain:-6,mp3:16", "--subset=artist,level")
    out, _ = commands.run(cache, "evaluate", *flags)
    assert "gain -6 dB" in out and "mp3 16 kbit/s" in out and "all tracks" in out
    for name in ("deform", "subsets"):
        report = json.loads((run / "eval" / "test" / name / "report.json").read_text())
        assert (report["protocol"], report["part"]) == ("listed", "test")
        assert f"{name}/report.html" in out
    assert not (run / "evaluations.jsonl").exists()
    before = (run / "eval" / "test" / "deform" / "rows.jsonl").read_text()
    again, _ = commands.run(cache, "evaluate", *flags)
    assert (run / "eval" / "test" / "deform" / "rows.jsonl").read_text() == before
    assert again.splitlines()[:2] == out.splitlines()[:2]


def test_probes_name_what_is_wrong_in_one_line(cache, trained):
    for flag, message in (
        ("--deform=echo", "'echo' is unknown; give all, or names from crop"),
        ("--deform=lowpass:9000", "lowpass is 9000 Hz; it must be 0 to 4000"),
        ("--subset=colour", "'colour' is unknown; give some of artist"),
        ("--subset=", "--subset is empty"),
    ):
        assert message in commands.fails(cache, "evaluate", f"--workdir={trained}", flag)
    line = commands.fails(cache, "evaluate", "--model=gtzan", "--deform=all")
    assert "--deform and --subset need audio: give --config.data.root=FOLDER" in line
    line = commands.fails(
        cache, "evaluate", "--model=gtzan", "--config.model.width=1", "--config.data.name=band"
    )
    assert "--config.model.width: belongs to the trained model" in line


@pytest.mark.slow
def test_the_gtzan_model_is_scored_on_audio(cache, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("rock/a.wav", "rock/rock.00000.wav", "pop/b.wav"):
        path = tmp_path / "songs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(size=44100) / 9, 22050)
    flags = ("--model=gtzan", f"--config.data.root={tmp_path / 'songs'}")
    out, _ = commands.run(cache, "evaluate", *flags)
    assert "(n = 2, imported)" in out and "recognised by their names alone" in out
    assert "1 track left out, by the names" in out and "report.html" not in out
    flags += (f"--workdir={tmp_path / 'run'}", "--deform=gain:-10", "--subset=label")
    out, _ = commands.run(cache, "evaluate", *flags)
    assert "gain -10 dB" in out and "Where" not in out and "label" in out
    page = (tmp_path / "run" / "eval" / "test" / "deform" / "report.html").read_text()
    assert "GTZAN model on deformed tracks of folder" in page
    line = commands.fails(cache, "evaluate", *flags, "--config.data.root=/nowhere")
    assert "data.root" in line
