"""Training with processes that read batches: signals, kills, and no process left behind."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mgr_jax.workdir import read_metrics
from tests.experiments import commands

LONG = (*commands.TINY, "--config.train.num_epochs=40", "--config.data.read_processes=2")
FREE = {"seconds", "clips_per_second", "data_wait_fraction"}


def start(cache, workdir):
    """Start a training in a session of its own, as a terminal or a scheduler does."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.train", *LONG, f"--workdir={workdir}"],
        cwd=commands.REPO,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_epochs(process, workdir, count):
    for _ in range(1200):
        assert process.poll() is None, process.communicate()
        if len(read_metrics(workdir)) >= count:
            return
        time.sleep(0.1)
    raise AssertionError("no epoch has ended")


def members(session):
    """Return the processes of a session that still run."""
    processes = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                processes.append(int(path.parent.name))
    return processes


def numbers(workdir):
    return [
        {name: value for name, value in record.items() if name not in FREE}
        for record in read_metrics(workdir)
    ]


@pytest.mark.slow
def test_train_with_reading_processes_survives_signals_and_leaves_none_behind(cache, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _, errors = commands.run_process(cache, "train", *LONG, f"--workdir={whole}")
    assert "done  " in errors

    process = start(cache, broken)
    wait_for_epochs(process, broken, 3)
    assert len(members(process.pid)) >= 3
    os.killpg(process.pid, signal.SIGTERM)  # To every process, as Slurm does.
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    assert members(process.pid) == []

    process = start(cache, broken)
    wait_for_epochs(process, broken, 8)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert members(process.pid) == []

    commands.run_process(cache, "train", *LONG, f"--workdir={broken}")
    assert numbers(broken) == numbers(whole)
