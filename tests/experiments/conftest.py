"""One clip store, and one trained workdir, for all tests of the commands."""

import pytest

from tests.experiments import commands


@pytest.fixture(scope="session", name="cache")
def _cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", name="trained")
def _trained(cache, tmp_path_factory):
    """Workdir of an unbroken run."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    commands.run(cache, "train", *commands.TINY, f"--workdir={workdir}")
    return workdir


@pytest.fixture(scope="session", name="trained_by_process")
def _trained_by_process(cache, tmp_path_factory):
    """Workdir of the same run in a process of its own, whose rounding may differ."""
    workdir = tmp_path_factory.mktemp("trained_by_process") / "run"
    commands.run_process(cache, "train", *commands.TINY, f"--workdir={workdir}")
    return workdir
