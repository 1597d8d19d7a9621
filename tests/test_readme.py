"""What the README shows runs unchanged, and prints what stands there."""

import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import tomllib

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


def run(line, folder):
    """Run a line of a shell as the README has it, with the programs of this environment first."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.e2e
def test_commands_of_the_readme_run(folder):
    lines = [line for block in blocks("bash", [README])[2:] for line in block.splitlines()]
    assert lines and all(shlex.split(line)[0] == "mgr-jax" for line in lines)
    for line in lines:
        printed = run(line, folder)
        assert "song.mp3  " in printed and "  90 %: " in printed


@pytest.mark.slow
def test_quickstart_of_the_readme_prints_what_stands_there(tmp_path):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    command = blocks("bash", [README])[0].partition("pip install -q -e . && ")[2]
    printed = {without_numbers(line) for line in run(command, tmp_path).splitlines()}
    shown = (
        README.read_text("utf-8").partition("first command prints\n\n```\n")[2].partition("```")[0]
    )
    lines = [line for line in shown.splitlines() if line != "..."]
    assert len(lines) > 8 and not [line for line in lines if without_numbers(line) not in printed]


def without_numbers(line):
    return re.sub(r"[\d.,]*\d", "#", " ".join(line.split()))


def test_badges_of_the_readme_are_true():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    python, jax, licence = re.findall(r"^\[!\[(.*?)\]", README.read_text("utf-8"), re.M)
    assert python == f"Python {project['requires-python'].removeprefix('>=')}+"
    (bound,) = [d for d in project["dependencies"] if d.startswith("jax>=")]
    assert jax == f"JAX {bound.removeprefix('jax>=')}+"
    assert licence == f"License {project['license']}"


def test_pictures_of_the_readme_are_small():
    pictures = re.findall(r"!\[[^]]+\]\((experiments[^)]+png)\)", README.read_text("utf-8"))
    assert len(pictures) == 2
    assert all((ROOT / picture).stat().st_size < 200_000 for picture in pictures)


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
