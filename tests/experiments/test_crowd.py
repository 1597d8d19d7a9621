"""Two processes on one workdir: the second is refused in one line, and a kill frees the workdir."""

import signal

import pytest

from mgr_jax import workdir
from tests.experiments import commands

pytestmark = pytest.mark.e2e


def test_train_refuses_a_workdir_that_a_living_process_trains_in(cache, tmp_path):
    arguments = [*commands.TINY, "--config.train.num_epochs=5000", f"--workdir={tmp_path / 'run'}"]
    process = commands.start(cache, "train", *arguments)
    for line in process.stdout:
        if line.startswith("epoch   3"):  # The checkpoint of the first one is written by then.
            break
    # Epochs of milliseconds would replace a checkpoint while it is being read.
    process.send_signal(signal.SIGSTOP)
    second = commands.fails(cache, "train", *arguments)
    assert f": process {process.pid} on " in second and "is training in it" in second
    commands.run(cache, "evaluate", f"--workdir={tmp_path / 'run'}", "--checkpoint=latest")
    assert process.poll() is None
    process.kill()
    process.communicate()
    with workdir.hold(str(tmp_path / "run")):
        pass
