"""Training through the command line: uninterrupted, killed, interrupted, and with wrong flags."""

import json
import random
import signal
import time

import pytest

from experiments import command
from mgr_jax.workdir import read_metrics
from tests import fuzzing
from tests.experiments import commands
from tests.experiments.ends import assert_same_end


def test_train_leaves_a_whole_workdir(trained):
    record = json.loads((trained / "config.json").read_text())
    assert record["labels"][0] == "blues" and len(record["labels"]) == 10
    assert record["config"]["model"]["width"] == 2
    assert {"jax", "flax", "mgr_jax"} <= record["versions"].keys()
    split = json.loads((trained / "split.json").read_text())
    assert [len(split[part]) for part in ("train", "valid", "test")] == [10, 10, 10]
    records = read_metrics(trained)
    assert [r["step"] for r in records] == [5, 10, 15, 20]
    assert {"train_loss", "valid_accuracy", "learning_rate"} <= records[0].keys()
    assert list((trained / "tensorboard").iterdir())
    assert (trained / "STATUS").read_text() == "done\n"


def test_train_again_does_nothing_more(cache, trained):
    before = (trained / "metrics.jsonl").read_text()
    out, _ = commands.run(cache, "train", *commands.TINY, f"--workdir={trained}")
    assert "resume    from step 20 of 20" in out
    assert (trained / "metrics.jsonl").read_text() == before


@pytest.mark.e2e
def test_train_killed_at_a_random_step_ends_bitwise_the_same(cache, trained_by_process, tmp_path):
    arguments = [*commands.TINY, f"--workdir={tmp_path / 'run'}"]
    process = commands.start(cache, "train", *arguments)
    for line in process.stdout:
        if line.startswith("epoch   1"):
            break
    time.sleep(random.uniform(0, 0.6))
    process.kill()
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0)
    commands.run_process(cache, "train", *arguments)
    assert_same_end(tmp_path / "run", trained_by_process)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 75)],
    ids=["SIGINT", "SIGTERM"],
)
def test_train_interrupted_saves_and_goes_on_bitwise(
    cache, trained_by_process, tmp_path, number, code
):
    arguments = [*commands.TINY, f"--workdir={tmp_path / 'run'}"]
    process = commands.start(cache, "train", *arguments)
    for line in process.stdout:
        if line.startswith("epoch   1"):
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "saved; the same command goes on from there" in out
    assert (tmp_path / "run" / "STATUS").read_text() == "preempted\n"
    out, _ = commands.run_process(cache, "train", *arguments)
    assert "resume    from step" in out
    assert_same_end(tmp_path / "run", trained_by_process)


@pytest.mark.e2e
def test_train_goes_on_over_a_half_written_checkpoint(cache, trained, tmp_path):
    arguments = [*commands.TINY, f"--workdir={tmp_path / 'run'}"]
    commands.run(cache, "train", *arguments)
    for path in (tmp_path / "run" / "checkpoints" / "20").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    out, _ = commands.run(cache, "train", *arguments)
    assert "checkpoint 20 cannot be read" in out
    assert_same_end(tmp_path / "run", trained)


def test_train_refuses_the_workdir_of_another_config(cache, trained):
    line = commands.fails(
        cache, "train", *commands.TINY, "--config.model.width=3", f"--workdir={trained}"
    )
    assert "model.width=2, not 3" in line


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.data.colour=1", "no field 'colour'"),
        ("--config.colour.name=1", "no config field 'colour.name'"),
        ("--config.optim.learing_rate=1", "'learing_rate' (did you mean 'learning_rate'?)"),
        ("--config.trian.seed=1", "'trian.seed' (did you mean 'train'?)"),
        ("--config.train.num_epochs=many", "num_epochs is 'many'; it must be a whole number"),
        ("--config.train.num_epochs=0", "train.num_epochs is 0"),
        ("--config.model.name=vgg", "model.name is 'vgg'"),
        ("--config.data.name=gtzan", "data.root is empty"),
        ("--config=experiments/configs/none.py", "configs/none.py: no such file; give a Python"),
        ("--config.model=bbnn", "--config.model: is a section; write --config.model.FIELD=VALUE"),
        (
            "--config.train.seed",
            "--config.train.seed has no value; write --config.train.seed=VALUE",
        ),
        ("--profile=5:5", "--profile is 5:5; give the first step"),
        ("--workdri=x", "--workdri is unknown (did you mean --workdir?)"),
        ("--num_epochs=3", "--num_epochs is unknown (did you mean --config.train.num_epochs?)"),
        ("--config.num_epochs=3", "no field 'num_epochs' (did you mean train.num_epochs?)"),
        ("--config.train.momentum=0", "train has no field 'momentum' (did you mean optim.momentum"),
        ("--config.train.refit=perhaps", "--config.train.refit is 'perhaps'; it must be true or"),
        ("--config.data.clip_samples=8000", "give the length of a clip by one of them"),
        (
            "--config=experiments/configs/quickstart.py:nothing",
            "--config: this file has no variants",
        ),
        ("--config=experiments/configs/cnn.py:nothing", "variant 'nothing' is unknown; use 'fast'"),
        ("--config=README.md", "--config: SyntaxError"),
        ("--config.data.=1", "--config.data.: is no field; write --config.SECTION.FIELD=VALUE"),
        ("--config.data.root.x=1", "--config.data.root.x: is no field"),
        ("--flagfile=/proc/nothing", "Unable to open flagfile"),
    ],
)
def test_train_names_what_is_wrong_in_one_line(cache, tmp_path, argument, words):
    line = commands.fails(cache, "train", *commands.TINY, f"--workdir={tmp_path / 'w'}", argument)
    assert words in line
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workdir=w",), "--config is missing (Python file with get_config()"),
        (("--config.data.seed=1", *commands.TINY), "--config=FILE is missing before --config.data"),
        (commands.TINY, "--workdir is missing; give the folder of the run"),
    ],
)
def test_train_names_what_is_missing(cache, arguments, words):
    assert words in commands.fails(cache, "train", *arguments)


@pytest.mark.parametrize("count", [3, pytest.param(2000, marks=pytest.mark.slow)])
def test_train_with_mutated_flags_is_one_line(cache, tmp_path, count):
    generator = random.Random(0)
    for _ in range(count):
        arguments = list(commands.TINY)
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(len(arguments))
            text = arguments[at]
            place = generator.randrange(len(text) + 1)
            piece = generator.choice(["", *"-.=x'[, é", "\x1b", "no"])
            arguments[at] = text[:place] + piece + text[place + generator.randint(0, 2) :]
        # Refused after all other flags.
        arguments += [f"--workdir={tmp_path / 'w'}", "--profile=5:5"]
        with fuzzing.bounds():
            line = commands.fails(cache, "train", *arguments)
        assert line.isprintable() and len(line) < 1000, arguments
        assert not (tmp_path / "w").exists()


@pytest.mark.e2e
def test_train_help_shows_the_config(cache):
    out, _ = commands.run_process(cache, "train", "--help")
    assert "--config: Python file with get_config()" in out and "--workdir" in out


def test_clip_seconds_replace_the_clip_samples_of_a_config():
    data = {"clip_seconds": 3.0, "clip_samples": 661_794}
    command._choose_length(data, {"data.clip_seconds": 3.0})
    assert data == {"clip_seconds": 3.0, "clip_samples": 0}
    data = {"clip_seconds": 30.0, "clip_samples": 8000}
    command._choose_length(data, {"data.clip_samples": 8000})
    assert data["clip_samples"] == 8000


def test_train_names_a_workdir_that_cannot_be_written(cache, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    line = commands.fails(cache, "train", *commands.TINY, f"--workdir={tmp_path / 'file' / 'w'}")
    assert "--workdir" in line and "cannot be written" in line


@pytest.mark.slow
def test_train_stops_when_the_loss_is_not_finite(cache, tmp_path):
    workdir = tmp_path / "run"
    arguments = [*commands.TINY, "--config.optim.name=sgd", "--config.optim.learning_rate=1e30"]
    line = commands.fails(cache, "train", *arguments, f"--workdir={workdir}")
    assert "lower optim.learning_rate" in line
    assert (workdir / "STATUS").read_text() == "diverged\n"
