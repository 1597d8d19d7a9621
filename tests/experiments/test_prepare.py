"""Preparing data through the command line."""

import hashlib

import numpy as np
import pytest
import soundfile

from tests.experiments import commands

CONFIG = ("--config=experiments/configs/logistic.py", "--config.data.clip_seconds=1.0")


@pytest.fixture(name="root")
def _root(tmp_path):
    """A GTZAN of two genres, with the companions that copies of it come with."""
    random = np.random.default_rng(0)
    root = tmp_path / "Data" / "genres_original"
    for genre in ("blues", "jazz"):
        (root / genre).mkdir(parents=True)
        for number in range(3):
            path = root / genre / f"{genre}.{number:05d}.wav"
            soundfile.write(path, random.normal(size=22_050) * 0.1, 22_050)
        (root / genre / f"._{genre}.00000.wav").write_bytes(b"\x00\x05\x16\x07")
    (root / "jazz" / "jazz.00054.wav").write_bytes(b"RIFF" + b"\x00" * 60)
    return tmp_path


def test_prepare_names_every_file_that_it_skips(cache, root):
    arguments = (*CONFIG, "--config.data.name=gtzan", f"--config.data.root={root}")
    out, _ = commands.run(cache, "prepare", *arguments)
    assert "6 of 7 tracks" in out
    assert "jazz.00054: cannot be decoded" in out
    assert "2 left aside: hidden file" in out


def test_prepare_verify_compares_checksums(cache, root, tmp_path):
    paths = sorted(root.rglob("blues.*.wav"))
    sums = {path.stem: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}
    sums["blues.00001"] = "0" * 32
    facts = tmp_path / "facts.csv"
    rows = [f"{name},{value}" for name, value in sums.items()]
    facts.write_text("\n".join(["track_id,md5", *rows]) + "\n")
    arguments = (*CONFIG, "--config.data.name=gtzan", f"--config.data.root={root}", "--verify")
    out, _ = commands.run(cache, "prepare", *arguments, f"--config.data.facts={facts}", code=1)
    assert "2 file(s) as published, 1 differ, 4 without a checksum" in out
    assert "blues.00001.wav: MD5 is" in out
    assert "data.facts is empty" in commands.fails(cache, "prepare", *arguments)


def test_prepare_writes_wavs_that_the_folder_reader_takes(cache, root, tmp_path):
    arguments = (*CONFIG, "--config.data.name=gtzan", f"--config.data.root={root}")
    commands.run(cache, "prepare", *arguments, f"--wav={tmp_path / 'wav'}")
    original, _ = soundfile.read(next(root.rglob("blues.00000.wav")), dtype="int16")
    written, _ = soundfile.read(tmp_path / "wav" / "blues" / "blues.00000.wav", dtype="int16")
    np.testing.assert_array_equal(written, original)
    arguments = (*CONFIG, "--config.data.name=folder", f"--config.data.root={tmp_path / 'wav'}")
    out, _ = commands.run(cache, "prepare", *arguments)
    assert "6 of 6 tracks" in out
