"""The console script runs every command, and names of packaged configs stand for their files."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from experiments import __main__ as console
from experiments import command, ending
from tests.experiments import commands

CONFIGS = pathlib.Path(command.__file__).parent / "configs"


@pytest.fixture(autouse=True)
def _prefix(monkeypatch):
    monkeypatch.setattr(ending, "prefix", ending.prefix)  # The console script changes it.


def _main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["mgr-jax", *arguments])
    console.main()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_every_command(monkeypatch, capsys, arguments):
    _main(monkeypatch, *arguments)
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in console.COMMANDS)


def test_help_of_a_clone_names_the_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/clone/experiments/__main__.py"])
    console.main()
    assert capsys.readouterr().out.startswith("usage: python -m experiments COMMAND [FLAGS]; ")


def test_every_command_is_a_module():
    for name in console.COMMANDS:
        assert importlib.util.find_spec(f"experiments.{name}") is not None


def test_every_program_is_a_command():
    """But for `benchmark`, whose suites are in a clone alone; `tags` is `predict`."""
    programs = {
        path.stem
        for path in CONFIGS.parent.glob("*.py")
        if "command.run(main)" in path.read_text("utf-8")
    }
    assert programs - {"benchmark"} == console.COMMANDS.keys() - {"tags"}


@pytest.mark.parametrize(
    ("name", "tip"), [("trian", " (did you mean train?)"), ("command", ""), ("../x", ""), ("", "")]
)
def test_an_unknown_command_is_one_line(monkeypatch, capsys, name, tip):
    with pytest.raises(SystemExit) as caught:
        _main(monkeypatch, name)
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert message == f"error: {name!r} is no command{tip}; see mgr-jax --help\n"


def test_a_command_gets_the_other_arguments(monkeypatch):
    calls = []
    monkeypatch.setattr(console.runpy, "run_module", lambda *a, **k: calls.append((a, sys.argv)))
    _main(monkeypatch, "cross-validate", "--config=bbnn", "--seeds=3")
    assert calls == [
        (("experiments.cross_validate",), ["mgr-jax", "--config=bbnn", "--seeds=3"]),
    ]


def test_help_of_a_command_is_that_of_its_flag(monkeypatch):
    calls = []
    monkeypatch.setattr(console.runpy, "run_module", lambda *a, **k: calls.append((a, sys.argv)))
    _main(monkeypatch, "help", "train")
    assert calls == [(("experiments.train",), ["mgr-jax", "--help"])]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bbnn", str(CONFIGS / "bbnn.py")),
        ("musicnn:svm", f"{CONFIGS / 'musicnn.py'}:svm"),
        ("nothing", "nothing"),
        ("experiments/configs/bbnn.py", "experiments/configs/bbnn.py"),
        ("my/bbnn", "my/bbnn"),
        ("", ""),
    ],
)
def test_packaged_config_gives_the_file_of_a_name(tmp_path, monkeypatch, value, expected):
    monkeypatch.chdir(tmp_path)
    assert command.packaged_config(value) == expected


def test_packaged_config_leaves_a_file_of_that_name_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bbnn").touch()
    assert command.packaged_config("bbnn") == "bbnn"
    (tmp_path / "cnn").mkdir()  # The workdir of a first run.
    assert command.packaged_config("cnn") == str(CONFIGS / "cnn.py")


@pytest.mark.e2e
@pytest.mark.parametrize("flags", [["--config=bbnn"], ["--config", "bbnn"]])
def test_console_script_trains_by_the_name_of_a_config(tmp_path, flags):
    script = pathlib.Path(sys.executable).parent / "mgr-jax"
    program = [str(script)] if script.exists() else [sys.executable, "-m", "experiments"]
    done = subprocess.run(
        [*program, "train", *flags, "--config.model.width=8", "--summary"],
        cwd=tmp_path if script.exists() else commands.REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Trainable params" in done.stdout and "185,642" not in done.stdout
