"""One clip store, and one trained workdir, for all tests of the commands."""

import fcntl
import shutil

import pytest

from tests.experiments import commands


@pytest.fixture(scope="session", name="cache")
def _cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", name="trained")
def _trained(cache, tmp_path_factory, worker_id):
    """Workdir of an unbroken run: each pytest-xdist worker's copy of what the first one trains."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    folder = tmp_path_factory.getbasetemp()
    shared = (folder if worker_id == "master" else folder.parent) / "trained_by_one"
    with open(f"{shared}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            commands.run(cache, "train", *commands.TINY, f"--workdir={workdir}")
            workdir.rename(shared)
    shutil.copytree(shared, workdir)
    return workdir


@pytest.fixture(scope="session", name="trained_by_process")
def _trained_by_process(cache, tmp_path_factory):
    """Workdir of the same run in a process of its own, whose rounding may differ."""
    workdir = tmp_path_factory.mktemp("trained_by_process") / "run"
    commands.run_process(cache, "train", *commands.TINY, f"--workdir={workdir}")
    return workdir
