"""A planted horse: a tone in one class is what the system depends on, and `--deform` shows it."""

import csv
import json

import numpy as np
import pytest
import soundfile

from tests.experiments import commands

TINY = (
    "--config=experiments/configs/rnn.py:fast",
    "--config.features.kind=logmel",
    "--config.data.clip_seconds=6",
    "--config.data.num_grooves=6",
    "--config.model.batch_norm_momentum=0",  # For so few steps.
)


def strength_of(path, hertz):
    waveform, rate = soundfile.read(path)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    place = round(hertz * len(waveform) / rate)
    return spectrum[place] / np.median(spectrum[place - 200 : place + 200])


@pytest.mark.e2e
def test_plant_tone_writes_a_tone_into_one_class_alone(cache, tmp_path):
    one_second = ("--config.data.clip_seconds=1", "--config.data.window_seconds=1")
    small = (*one_second, "--config.data.num_grooves=3", "--label=jazz")
    flags = (*TINY, *small, f"--out={tmp_path / 'horse'}")
    out, _ = commands.run(cache, "plant_tone", *flags)
    with open(tmp_path / "horse" / "manifest.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60 and {row["split"] for row in rows} == {"train", "valid", "test"}
    assert f"manifest  {tmp_path / 'horse' / 'manifest.csv'}" in out
    for row in rows[::4]:
        strength = strength_of(tmp_path / "horse" / row["path"], 9000)
        assert (strength > 30) == (row["label"] == "jazz"), (row, strength)
    line = commands.fails(cache, "plant_tone", *flags, "--label=polka")
    assert "--label 'polka' is unknown; give one of blues" in line
    assert "--db nan: give a number" in commands.fails(cache, "plant_tone", *flags, "--db=nan")
    assert "--hertz 11025: must be below half" in commands.fails(
        cache, "plant_tone", *flags, "--hertz=11025"
    )


@pytest.mark.slow
def test_lowpass_brings_the_horse_to_light(cache, tmp_path):
    commands.run(cache, "plant_tone", *TINY, f"--out={tmp_path / 'horse'}")
    data = f"--config.data.root={tmp_path / 'horse' / 'manifest.csv'}"
    workdir = f"--workdir={tmp_path / 'run'}"
    commands.run(cache, "train", *TINY, "--config.data.name=manifest", data, workdir)
    commands.run(cache, "evaluate", workdir, "--deform=lowpass:8000")
    path = tmp_path / "run" / "eval" / "test" / "deform" / "report.json"
    report = json.loads(path.read_text())
    before, after = (
        {label: counts["num_correct"] / counts["n"] for label, counts in side["per_class"].items()}
        for side in (report["clean"], report["rows"][0])
    )
    assert before["pop"] == 1 and after["pop"] <= 0.25
    others = [before[label] - after[label] for label in before if label != "pop"]
    assert np.mean(others) < 0.4
