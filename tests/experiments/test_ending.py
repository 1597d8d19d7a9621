"""The end of every command: its time and devices, and the next command as the user types them."""

import ast
import os
import subprocess
import sys

import pytest
from absl import flags

from experiments import command, ending
from mgr_jax import config as config_lib
from mgr_jax.errors import UserError
from tests.experiments import commands

EXPERIMENTS = commands.REPO / "experiments"
PROGRAMS = [
    path.stem for path in EXPERIMENTS.glob("*.py") if "command.run(main)" in path.read_text("utf-8")
]


def _end(main, capsys):
    code = command._run_guarded(main, ["program"])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


@pytest.mark.parametrize(
    ("prefix", "start"),
    [
        ("python -m experiments.", "python -m experiments.evaluate"),
        ("python -m experiments ", "python -m experiments evaluate"),
        ("mgr-jax ", "mgr-jax evaluate"),
    ],
)
def test_a_command_ends_with_time_devices_and_the_next_one(monkeypatch, capsys, prefix, start):
    monkeypatch.setattr(ending, "prefix", prefix)
    last = command.Ending(1, ("evaluate", "--workdir=my runs/a"))
    code, out, (done, following) = _end(lambda argv: last, capsys)
    assert (code, out) == (1, "")
    assert done.startswith("done      in 0.") and done.endswith(" on 4 cpu")
    assert following == f"next      {start} '--workdir=my runs/a'"


def test_a_command_on_the_host_starts_no_device(monkeypatch, capsys):
    monkeypatch.setattr("mgr_jax.devices.names", None)
    _, _, lines = _end(lambda argv: command.Ending(0, ("train",), on_host=True), capsys)
    assert lines[0].endswith(" s on the host")


def test_a_child_names_no_next_command_and_other_processes_are_silent(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", os.environ | ending.CHILD)
    assert len(_end(lambda argv: command.Ending(0, ("train",)), capsys)[2]) == 1
    monkeypatch.setattr(ending, "is_shown", False)
    assert not _end(lambda argv: command.Ending(0, ("train",)), capsys)[2]


def test_a_command_without_a_next_one_names_none(capsys):
    code, _, lines = _end(lambda argv: command.Ending(1, ()), capsys)
    assert code == 1 and len(lines) == 1 and lines[0].startswith("done ")


@pytest.mark.parametrize("result", [None, 0, 75])
def test_an_exit_code_alone_prints_nothing(capsys, result):
    assert _end(lambda argv: result, capsys) == (result or 0, "", [])


def test_texts_name_commands_as_the_user_types_them(monkeypatch):
    text = "run python -m experiments.evaluate --workdir=a; see python -m experiments --help"
    assert ending.spell(text) == text
    monkeypatch.setattr(ending, "prefix", "mgr-jax ")
    assert ending.spell(text) == text.replace("python -m experiments.", "mgr-jax ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workdir runs/a: no model in it", "--workdir runs/a: no model in it"),
        ("workdirs: one only", "workdirs: one only"),  # `report` takes them without a flag.
        ("give checkpoint_name=2", "give --checkpoint=2"),
        ("data.root a: no such folder", "data.root a: no such folder"),
    ],
)
def test_errors_of_functions_name_the_flags_of_a_command(monkeypatch, capsys, text, expected):
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_string("checkpoint", None, "", flag_values=values)
    values(["program", "--workdir=runs/a"])
    monkeypatch.setattr(command.flags, "FLAGS", values)

    def main(argv):
        raise UserError(text)

    with pytest.raises(SystemExit):
        command._run_guarded(main, [])
    assert capsys.readouterr().err == f"error: {expected}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--workdir=w --config=bbnn --config.data.root=a", "--config=bbnn --config.data.root=a"),
        ("--config bbnn --config.data.root a --seeds 3", "--config bbnn --config.data.root a"),
        ("-config=bbnn --configure song", "-config=bbnn"),
        ("--workdir w", ""),
    ],
)
def test_config_arguments_are_those_that_were_typed(monkeypatch, arguments, expected):
    monkeypatch.setattr(sys, "argv", ["program", *arguments.split()])
    assert command.config_arguments() == expected.split()


@pytest.mark.parametrize(("word", "code"), [("-h", 0), ("--helpfull", 0), ("--seeds=1", 1)])
def test_help_is_no_failure(monkeypatch, word, code):
    def parse(argv):
        assert argv == ["program", "--help" if word == "-h" else word]
        sys.exit(1)  # As absl does after its help, and a user's config file may.

    monkeypatch.setattr(command.flags, "FLAGS", parse)
    with pytest.raises(SystemExit) as caught:
        command._parse(["program", word])
    assert caught.value.code == code


@pytest.mark.parametrize("is_there", [True, False])
def test_page_or_prediction_needs_gradio_for_the_page(monkeypatch, is_there):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: is_there or None)
    expected = ("app", "--model=m") if is_there else ("predict", "--model=m", "SONG.mp3")
    assert command.page_or_prediction("--model=m") == expected


def test_the_next_training_has_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", "--config=svm"])
    config = config_lib.Config()
    config.model.name = "svm"
    assert command.training(config) == ("train", "--config=svm", "--workdir=runs/svm")
    (tmp_path / "runs" / "svm").mkdir(parents=True)
    (tmp_path / "runs" / "svm-2").mkdir()
    assert command.training(config)[-1] == "--workdir=runs/svm-3"


def test_another_command_is_given_the_same_part():
    assert command.split_flag("test") == () and command.split_flag("valid") == ("--split=valid",)


def _returns(path):
    """The values that `main` of a command returns."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    main = next(node for node in tree.body if getattr(node, "name", "") == "main")
    inner = [node for node in ast.walk(main) if isinstance(node, ast.FunctionDef)][1:]
    others = {node for function in inner for node in ast.walk(function)}
    nodes = [node for node in ast.walk(main) if isinstance(node, ast.Return)]
    return [ast.unparse(node.value or node) for node in nodes if node not in others]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_names_a_next_one(name):
    """But for a run that is interrupted: its last line says that the same command goes on."""
    values = _returns(EXPERIMENTS / f"{name}.py")
    assert values
    for value in values:
        interrupted = value == "code" or "INTERRUPTED" in value
        assert value.startswith("command.Ending(") or interrupted, value


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_has_left_ends_a_command_silently(closed):
    reader, writer = os.pipe()
    os.close(reader)
    # As with `python -m experiments | head -1`, and an error of `... 2>&1 | head`.
    arguments = ["--help"] if closed == "stdout" else ["trian"]
    process = subprocess.run(
        [sys.executable, "-m", "experiments", *arguments],
        cwd=commands.REPO,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=writer if closed == "stdout" else subprocess.PIPE,
        stderr=writer if closed == "stderr" else subprocess.PIPE,
    )
    os.close(writer)
    assert process.returncode == ending.CLOSED_PIPE
    assert not process.stdout and not process.stderr
