"""The wheel holds all data files of the package, and no benchmarks."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "mgr_jax", "experiments")


@pytest.fixture(scope="module", name="names")
def _names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, since building leaves folders in the source tree.
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", "."]
    subprocess.run(command, cwd=folder, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.e2e
@pytest.mark.parametrize(
    "pattern",
    [
        "mgr_jax/py.typed",
        "mgr_jax/data/*.csv",
        "mgr_jax/data/gtzan_splits/*",
        "mgr_jax/pretrained/*/*.*",
        "**/LICENSE",
        "mgr_jax/**/*.bib",
        "**/*.css",
        "experiments/**/*.js",
    ],
)
def test_wheel_holds_the_data_files_of_the_package(names, pattern):
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}
    files = {name for name in files if name.startswith(("mgr_jax/", "experiments/"))}
    assert files and files <= names


@pytest.mark.e2e
def test_wheel_holds_every_module_but_those_of_the_benchmarks(names):
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("mgr_jax", "experiments")
        for path in (ROOT / package).rglob("*.py")
    }
    expected = {name for name in modules if not name.startswith("experiments/benchmarks/")}
    assert expected < modules
    assert {name for name in names if name.endswith(".py")} == expected
