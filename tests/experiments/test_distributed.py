"""Two real processes of two devices, through the command line, against one process of four."""

import signal
import socket

import numpy as np
import pytest

from mgr_jax.workdir import read_metrics
from tests.experiments import commands, ends, recordings


@pytest.fixture(scope="module", name="arguments")
def _arguments(tmp_path_factory):
    return recordings.make_arguments(tmp_path_factory.mktemp("recordings"))


def start_two(cache, arguments, workdir, *more, heartbeat=10):
    """Start two processes of two devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [
        *arguments,
        *more,
        f"--workdir={workdir}",
        "--distributed",
        f"--coordinator_address=127.0.0.1:{port}",
        "--num_processes=2",
        f"--heartbeat_timeout_seconds={heartbeat}",
    ]
    return [
        commands.start(cache, "train", *flags, f"--process_id={index}", num_devices=2)
        for index in range(2)
    ]


def finish(processes, codes=(0, 0)):
    """Return what each process printed; check the exit codes."""
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, code, (out, err) in zip(processes, codes, outputs, strict=True):
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    return [out for out, _ in outputs]


def train_alone(cache, arguments, workdir, *more, code=0):
    """Train in one process of four devices; return what it printed."""
    flags = (*arguments, *more, f"--workdir={workdir}")
    out, _ = commands.run_process(cache, "train", *flags, code=code, num_devices=4)
    return out


def after_epoch(processes, number):
    """Read what the first process prints until it reports this epoch."""
    for line in processes[0].stdout:
        if line.startswith(f"epoch {number:3d}"):
            return


@pytest.mark.e2e
def test_train_in_two_processes_ends_as_in_one(cache, arguments, tmp_path):
    epochs = "--config.train.num_epochs=2"
    first, second = finish(start_two(cache, arguments, tmp_path / "two", epochs))
    assert "epoch   2/2" in first
    assert (tmp_path / "two" / "STATUS").read_text().startswith("done")
    assert "epoch" not in second and "data " not in second
    train_alone(cache, arguments, tmp_path / "one", epochs)
    ends.assert_close_end(tmp_path / "two", tmp_path / "one", 1e-5)
    records = read_metrics(tmp_path / "two")
    assert [record["step"] for record in records] == [4, 8]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_train_in_two_processes_goes_on_bitwise_after_one_is_killed(
    cache, arguments, tmp_path, killed
):
    epochs = "--config.train.num_epochs=30"
    finish(start_two(cache, arguments, tmp_path / "whole", epochs))
    processes = start_two(cache, arguments, tmp_path / "run", epochs, heartbeat=3)
    after_epoch(processes, 3)
    processes[killed].kill()
    # The other one is ended by JAX, when the heartbeats have stopped.
    codes = [process.wait(timeout=60) for process in processes]
    for process in processes:
        process.communicate()
    assert all(codes), codes
    out, _ = finish(start_two(cache, arguments, tmp_path / "run", epochs))
    assert "resume    from step" in out
    ends.assert_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_train_in_two_processes_stops_together_and_goes_on_in_one(
    cache, arguments, tmp_path, parallelism
):
    more = ("--config.train.num_epochs=30", f"--config.train.parallelism={parallelism}")
    processes = start_two(cache, arguments, tmp_path / "run", *more)
    after_epoch(processes, 3)
    processes[1].send_signal(signal.SIGTERM)
    out, _ = finish(processes, codes=(75, 75))
    assert "saved; the same command goes on from there" in out
    assert (tmp_path / "run" / "STATUS").read_text() == "preempted\n"
    out = train_alone(cache, arguments, tmp_path / "run", *more)
    assert "resume    from step" in out and "resume    from step 120" not in out
    train_alone(cache, arguments, tmp_path / "one", "--config.train.num_epochs=30")
    ends.assert_close_end(tmp_path / "run", tmp_path / "one", 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["bbnn", "cnn_lstm"])
def test_train_in_two_processes_ends_as_in_one_for_every_network(
    cache, arguments, tmp_path, network
):
    more = [
        f"--config.model.name={network}",
        "--config.model.width=4",
        "--config.model.num_modules=1",
        "--config.model.width_multiplier=0.02",
        "--config.features.n_mels=48",
        "--config.features.normalize=none",
        "--config.train.mixup_alpha=0.4",
        "--config.train.num_epochs=2",
    ]
    for optimizer, rate in (("sgd", 0.05), ("adam", 0.003)):
        flags = [*more, f"--config.optim.name={optimizer}", f"--config.optim.learning_rate={rate}"]
        two, one = tmp_path / f"two_{optimizer}", tmp_path / f"one_{optimizer}"
        finish(start_two(cache, arguments, two, *flags))
        train_alone(cache, arguments, one, *flags)
        if optimizer == "sgd":
            ends.assert_close_end(two, one, 1e-5)
        for left, right in zip(read_metrics(two), read_metrics(one), strict=True):
            np.testing.assert_allclose(left["train_loss"], right["train_loss"], rtol=1e-3)


def test_train_names_a_flag_that_distributed_is_missing_for(cache, arguments, tmp_path):
    flags = (*arguments, f"--workdir={tmp_path / 'w'}", "--process_id=1")
    line = commands.fails(cache, "train", *flags)
    assert "--process_id is given without --distributed" in line
