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
)


def strength_of(path, hertz):
    waveform, rate = soundfile.read(path)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    place = round(hertz * len(waveform) / rate)
    return spectrum[place] / np.median(spectrum[place - 200 : place + 200])


@pytest.mark.e2e
def test_plant_tone_writes_a_tone_into_one_class_alone(cache, tmp_path):
    small = ("--config.data.clip_seconds=1", "--config.data.num_grooves=3", "--label=jazz")
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
    assert "--hertz 12000: must not exceed half" in commands.fails(
        cache, "plant_tone", *flags, "--hertz=12000"
    )


@pytest.mark.slow
def test_lowpass_brings_the_horse_to_light(cache, tmp_path):
    commands.run(cache, "plant_tone", *TINY, f"--out={tmp_path / 'horse'}")
    data = (
        "--config.data.name=manifest",
        f"--config.data.root={tmp_path / 'horse' / 'manifest.csv'}",
    )
    recalls = {}
    for name, own in (("horse", data), ("plain", ())):
        workdir = f"--workdir={tmp_path / name}_run"
        commands.run(cache, "train", *TINY, *own, workdir)
        commands.run(cache, "evaluate", workdir, "--deform=lowpass:8000")
        path = tmp_path / f"{name}_run" / "eval" / "test" / "deform" / "report.json"
        report = json.loads(path.read_text())
        sides = (report["clean"], report["rows"][0])
        recalls[name] = [
            {k: v["num_correct"] / v["n"] for k, v in side["per_class"].items()} for side in sides
        ]
    clean, deformed = recalls["horse"]
    assert clean["pop"] == 1 and deformed["pop"] <= 0.25
    # Without the tone, the class loses less, and with it the other classes do.
    clean_plain, deformed_plain = recalls["plain"]
    assert clean_plain["pop"] - deformed_plain["pop"] < clean["pop"] - deformed["pop"]
    others = [clean[name] - deformed[name] for name in clean if name != "pop"]
    assert np.mean(others) < 0.5
