"""Kill -9 at random times, from start-up on: the same command ends in the same numbers.

50 kills: 20 of the training of a network, 30 of the other commands that write something.
"""

import json
import random
import re
import shutil
import signal
import time

import numpy as np
import pytest

from tests.experiments import commands, ends, recordings

pytestmark = pytest.mark.slow

# Uses every part of a checkpoint, which is saved every second step and after each epoch.
LAST = 240
MORE = (
    "--config.train.num_epochs=60",
    "--config.train.checkpoint_every_steps=2",
    "--config.train.keep_checkpoints=2",
    "--config.train.mixup_alpha=0.4",
    "--config.optim.name=adam",
    "--config.optim.schedule=plateau",
    "--config.optim.ema_decay=0.9",
    "--config.optim.early_stop_patience=100",
)
FOLDS = (
    "--protocols=kfold",
    "--seeds=1",
    "--config.data.num_folds=2",
    "--config.train.folds_at_once=2",
    "--config.train.num_epochs=8",
)
CLASSICAL = ("--config.features.kind=mfcc_stats",)


def test_train_killed_at_twenty_random_times_ends_bitwise_the_same(tmp_path):
    arguments = [*recordings.make_arguments(tmp_path / "recordings"), *MORE]
    for name in (
        "whole",
        "again",
    ):  # The second one has compiled programs in the cache, as those below.
        began = time.monotonic()
        flags = (*arguments, f"--workdir={tmp_path / name}")
        commands.run_process(tmp_path / f"cache_{name}", "train", *flags)
        seconds = time.monotonic() - began
    ends.assert_same_end(tmp_path / "again", tmp_path / "whole")
    killed, resumed = 0, []
    while killed < 20:
        # With a new cache of clips, so that decoding is killed too.
        cache, workdir = tmp_path / "cache", tmp_path / "run"
        flags = (*arguments, f"--workdir={workdir}")
        process = commands.start(cache, "train", *flags)
        time.sleep(random.uniform(0.02, 1.0) * seconds)
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
            out, _ = commands.run_process(cache, "train", *flags)
            resumed += re.findall(r"resume    from step (\d+)", out)
            assert "damaged" not in out, out
            ends.assert_same_end(workdir, tmp_path / "whole")
        shutil.rmtree(cache, ignore_errors=True)
        shutil.rmtree(workdir, ignore_errors=True)
    print(f"20 kills; resumed from steps {', '.join(resumed)} of {LAST}, else from the start")
    # Enough kills have to fall into the training to test the saves.
    assert sum(0 < int(step) < LAST for step in resumed) >= 5


def arrays(path):
    """Return the arrays of a `.npz` file as lists."""
    with np.load(path) as file:
        return {name: file[name].tolist() for name in file}


def fitted(run, out):
    """Return the results of a classical training."""
    return arrays(run / "model/params.npz"), (run / "metrics.jsonl").read_text()


def folds(run, out):
    """Return the results of a cross-validation."""
    report = json.loads((run / "report.json").read_text())
    paths = [run / f"kfold/seed0/fold{fold}" for fold in range(2)]
    states = [ends.final_state(path)[1].params for path in paths]
    return report, [ends.records(path) for path in paths], str(states)


def evaluated(run, out):
    """Return the results of an evaluation; an attempt may be killed after its report."""
    report = json.loads((run / "eval/test/report.json").read_text())
    del report["provenance"], report["times_evaluated"], report["cross_validation"]  # Time, path.
    temperature = json.loads((run / "eval/temperature.json").read_text())
    return report, (run / "eval/test/predictions.csv").read_text(), temperature


def decoded(run, out):
    """Return the content of the clip store."""
    (path,) = (run.parent / "cache/mgr_jax/clips").glob("*/store.json")
    return json.loads(path.read_text()), (path.parent / "clips.int16").read_bytes()


def files(run, out):
    """Return all files that were written, which contain no time."""
    return {p.relative_to(run): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def bundle(run, out):
    """Return the exported file."""
    return (run / "model").read_bytes()


# Name -> command, its flags, number of kills, and a function that reads its results.
CASES = {
    "logistic": ("train", ("--workdir={run}", *CLASSICAL), 4, fitted),
    "svm": ("train", ("--workdir={run}", *CLASSICAL), 4, fitted),
    "folds": ("cross_validate", ("--workdir={run}", *FOLDS), 6, folds),
    "evaluate": ("evaluate", ("--workdir={run}",), 4, evaluated),
    "predict": ("predict", ("--workdir={run}", "{root}", "--format=json"), 2, lambda run, out: out),
    "prepare": ("prepare", (), 4, decoded),
    "shards": ("prepare", ("--shards={run}", "--shard=0/1"), 3, files),
    "export": ("export", ("--workdir={run}", "--format=bundle", "--output={run}/model"), 3, bundle),
}


@pytest.mark.parametrize("name", CASES)
def test_a_killed_command_ends_bitwise_the_same(tmp_path, name):
    command, flags, number, read = CASES[name]
    root = tmp_path / "recordings"
    config = list(recordings.make_arguments(root))
    if command == "train":
        config[0] = f"--config=experiments/configs/{name}.py"
        config = [flag for flag in config if ".model." not in flag and ".optim." not in flag]
    trained = tmp_path / "trained"
    if command in ("evaluate", "predict", "export"):
        commands.run_process(tmp_path / "cache", "train", *config, f"--workdir={trained}")
        config = []

    def fresh(folder):
        """Return a new folder for a run."""
        shutil.rmtree(folder, ignore_errors=True)
        if trained.exists():
            shutil.copytree(trained, folder / "run")
        flags_of_run = [flag.format(run=folder / "run", root=root) for flag in flags]
        return folder / "run", folder / "cache", [command, *config, *flags_of_run]

    # The second one has compiled programs in the cache, as those below.
    for folder in (tmp_path / "whole", tmp_path / "again"):
        run, cache, arguments = fresh(folder)
        began = time.monotonic()
        out, _ = commands.run_process(cache, *arguments)
        seconds, expected = time.monotonic() - began, read(run, out)
    killed, started = 0, 0
    while killed < number:
        run, cache, arguments = fresh(tmp_path / "killed")
        for _ in range(min(2, number - killed)):  # The resumed one is killed, too.
            started += 1
            process = commands.start(cache, *arguments)
            time.sleep(random.uniform(0.02, 1.0) * seconds)
            process.kill()
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
        out, _ = commands.run_process(cache, *arguments)
        assert "damaged" not in out, out
        assert read(run, out) == expected
    print(f"{name}: {killed} kills in {started} starts of {seconds:.0f} s")
