"""The Python examples of the README run unchanged."""

import pathlib
import re
import runpy

import numpy as np
import pytest
import soundfile

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
READMES = [
    README,
    *(
        ROOT / folder / "README.md"
        for folder in ("experiments", "mgr_jax", "mgr_jax/data", "launch")
    ),
]
RATE = 22_050


def blocks(language="python", readmes=READMES):
    text = "\n".join(readme.read_text("utf-8") for readme in readmes)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def each_readme(function):
    ids = [readme.relative_to(ROOT).as_posix() for readme in READMES]
    return pytest.mark.parametrize("readme", READMES, ids=ids)(function)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    """Songs of two genres under the names of the examples."""
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
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("number", range(len(blocks())))
def test_example_of_the_readme_runs(folder, number, tmp_path, monkeypatch, capsys):
    script = tmp_path / "example.py"
    script.write_text(blocks()[number])
    monkeypatch.chdir(folder)
    runpy.run_path(str(script), run_name="__main__")
    # The first asks the model of the package, the second trains on the songs.
    assert ("artist_kfold", "metal")[min(number, 1)] in capsys.readouterr().out


def test_readmes_have_examples():
    assert len(blocks()) >= 2


def test_readme_is_short_and_begins_with_quickstart_and_tests():
    assert len(README.read_text("utf-8").splitlines()) <= 150
    quickstart, tests = blocks("bash", [README])[:2]
    assert "experiments.train" in quickstart and "experiments.evaluate" in quickstart
    assert tests.strip() == "pip install -q -e '.[dev]' && python -m pytest -n 2 --dist=loadfile"


@each_readme
def test_links_of_the_readmes_exist(readme):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme.read_text("utf-8"))
    missing = [link for link in links if not (readme.parent / link).exists()]
    assert not missing


@each_readme
def test_commands_and_configs_of_the_readmes_exist(readme):
    text = readme.read_text("utf-8")
    commands = re.findall(r"-m (experiments[.\w]*\w)", text)
    paths = [ROOT / (name.replace(".", "/") + ".py") for name in commands]
    paths += [ROOT / path for path in re.findall(r"experiments/configs/\w+\.py", text)]
    missing = [path.name for path in paths if not path.exists()]
    assert not missing
