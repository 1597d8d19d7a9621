"""The line about the devices of a command, and XLA's flags for them."""

import importlib.util
import logging
import os
import types

import jax
import pytest

from experiments import jax_settings
from mgr_jax import devices


@pytest.fixture(name="machine")
def _machine(monkeypatch):
    """A function that pretends devices and GPUs: `machine(kinds, num_gpus, plugin=...)`."""

    def pretend(kinds, num_gpus=0, *, platforms=None, plugin=""):
        found = [types.SimpleNamespace(device_kind=kind) for kind in kinds]
        monkeypatch.setattr(jax, "devices", lambda: found)
        monkeypatch.setattr(jax, "default_backend", lambda: "cpu" if "cpu" in kinds else "gpu")
        monkeypatch.setattr(devices.gpus, "count_visible", lambda _: num_gpus)
        jax.config.update("jax_platforms", platforms)
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: name == plugin if name.startswith("jax_cuda") else find(name),
        )
        return devices.describe()

    before = jax.config.jax_platforms
    yield pretend
    jax.config.update("jax_platforms", before)


def test_describe_counts_the_devices(machine, monkeypatch):
    assert machine(["cpu"]) == "devices   1 cpu"
    assert machine(["NVIDIA H100"] * 8, 8) == "devices   8 NVIDIA H100"
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert machine(["TPU v5 lite"] * 16) == "devices   16 TPU v5 lite in 2 processes"


def test_describe_tells_of_a_gpu_that_jax_does_not_use(machine):
    first, second = machine(["cpu"], 1).splitlines()
    assert first == "devices   1 cpu" and "pip install -e '.[cuda]'" in second
    _, second = machine(["cpu"], 1, plugin="jax_cuda13_plugin").splitlines()
    assert "driver must be 580 or newer" in second
    assert "\n" not in machine(["cpu"], 1, platforms="cpu")  # The user has chosen.
    assert "\n" not in machine(["cpu"], 0)


def test_describe_silences_what_jax_says_of_it_and_nothing_else(machine, caplog):
    machine(["cpu"], 1)
    log = logging.getLogger("jax._src.xla_bridge")
    log.warning("An NVIDIA GPU may be present, but a CUDA-enabled jaxlib is not installed.")
    log.warning("The driver is too old.")
    assert [record.getMessage() for record in caplog.records] == ["The driver is too old."]


def test_deterministic_adds_to_the_flags_of_the_user(monkeypatch):
    for name in ("keep_freed_memory", "keep_compiled_programs"):
        monkeypatch.setattr(jax_settings, name, lambda: None)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=a")
    jax_settings.set_up()
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=a"
    jax_settings.set_up(deterministic=True)
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=a --xla_gpu_deterministic_ops=true"
