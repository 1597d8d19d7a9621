"""The Python examples of the README run unchanged."""

import pathlib
import re
import runpy

import numpy as np
import pytest
import soundfile

import mgr_jax
from tests.test_genre_classifier import tiny_config

README = pathlib.Path(__file__).parents[1] / "README.md"
RATE = 22_050


def blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    """Songs of two genres, and a system trained on them in the folder that the README names."""
    folder, random = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    for number in range(12):
        genre, pitch = (("classical", 400), ("metal", 3000))[number % 2]
        path = folder / "songs" / genre / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        song = 0.3 * np.sin(2 * np.pi * pitch * random.uniform(0.9, 1.1) * time)
        soundfile.write(path, song + 0.05 * random.normal(size=time.size), RATE)
    soundfile.write(folder / "song.mp3", song, RATE)
    soundfile.write(folder / "other.wav", song, RATE)
    paths = sorted((folder / "songs").glob("*/*.wav"))
    labels = [path.parent.name for path in paths]
    workdir = folder / "runs" / "quickstart"
    mgr_jax.GenreClassifier(tiny_config(), workdir=workdir).fit(paths, labels)
    return folder


@pytest.mark.parametrize("number", range(len(blocks())))
def test_example_of_the_readme_runs(folder, number, tmp_path, monkeypatch, capsys):
    script = tmp_path / "example.py"
    script.write_text(blocks()[number])
    monkeypatch.chdir(folder)
    runpy.run_path(str(script), run_name="__main__")
    assert "metal" in capsys.readouterr().out


def test_readme_has_examples():
    assert len(blocks()) >= 2
