"""Commands keep the memory of their steps in huge pages, and give back what compiling leaves."""

import ctypes
import os
import pathlib
import subprocess
import sys
import types

import jax
import pytest

import experiments
from experiments import command


@pytest.fixture
def madvise(monkeypatch):
    """A kernel that gives huge pages to those who ask, below a recent glibc."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "argv", ["-m", "--help"])
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: "always [madvise] never")


def test_commands_want_huge_pages(madvise):
    assert experiments._wants_tunables()


@pytest.mark.parametrize("set_by_user", ["glibc.malloc.hugetlb=0", "a=1:glibc.malloc.hugetlb=1"])
def test_what_the_user_has_set_stands(madvise, monkeypatch, set_by_user):
    monkeypatch.setenv("GLIBC_TUNABLES", set_by_user)
    assert not experiments._wants_tunables()


@pytest.mark.parametrize("libc", ["glibc 2.31", "musl 1.2", "", None])
def test_other_libraries_are_left_alone(madvise, monkeypatch, libc):
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    assert not experiments._wants_tunables()


@pytest.mark.parametrize("modes", ["[always] madvise never", "always madvise [never]"])
def test_kernels_that_do_not_ask_are_left_alone(madvise, monkeypatch, modes):
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: modes)
    assert not experiments._wants_tunables()


def test_an_import_is_left_alone(madvise, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program.py"])
    assert not experiments._wants_tunables()


def test_a_command_keeps_its_arguments_and_other_tunables():
    tunables = "glibc.malloc.arena_max=4:glibc.malloc.top_pad=0"
    environment = os.environ | {"GLIBC_TUNABLES": tunables}
    words = [sys.executable, "-m", "experiments.train", "--nonsense"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "nonsense" in done.stderr


@pytest.fixture
def trims(monkeypatch):
    """Where a fake glibc writes down the calls of its malloc_trim."""
    calls, heard = [], []
    listen = jax.monitoring.register_event_duration_secs_listener
    monkeypatch.setattr(
        jax.monitoring,
        "register_event_duration_secs_listener",
        lambda listener: (heard.append(listener), listen(listener)),
    )
    monkeypatch.setattr(
        ctypes, "CDLL", lambda name: types.SimpleNamespace(malloc_trim=calls.append)
    )
    yield calls
    for listener in heard:
        jax.monitoring.unregister_event_duration_listener(listener)


def test_memory_is_given_back_after_long_compilations_alone(trims):
    command.give_memory_back()
    for event, seconds in ((command._COMPILED, 0.5), ("/jax/core/other", 5.0)):
        jax.monitoring.record_event_duration_secs(event, seconds)
    assert trims == []
    jax.monitoring.record_event_duration_secs(command._COMPILED, 1.5)
    assert trims == [0]


def test_compiling_is_announced_by_the_name_that_is_listened_for():
    names = []

    def listen(event, seconds, **_):
        names.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.jit(lambda x: x + 4.25).lower(1.0).compile()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert command._COMPILED in names


def test_another_libc_is_not_asked(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace())
    monkeypatch.setattr(jax.monitoring, "register_event_duration_secs_listener", pytest.fail)
    command.give_memory_back()


@pytest.mark.parametrize(
    ("set_by_user", "updates"), [(None, [("jax_cpu_enable_async_dispatch", False)]), ("true", [])]
)
def test_one_device_works_in_this_thread_unless_told_otherwise(monkeypatch, set_by_user, updates):
    monkeypatch.delenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", raising=False)
    if set_by_user:
        monkeypatch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", set_by_user)
    told = []
    monkeypatch.setattr(jax.config, "update", lambda *setting: told.append(setting))
    command.work_in_this_thread()
    assert told == updates


_FAULTS = """
import resource
import jax
import jax.numpy as jnp
from experiments import command

command.work_in_this_thread()
x = jnp.ones((4096, 4096))
step = jax.jit(lambda x: jnp.sort(x.reshape(2, -1), axis=0).sum())  # 67 MB of temporaries
counts = []
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(counts))  # Threads that start have faults of their own, once.
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc")
def test_steps_ask_the_system_for_no_memory():
    def faults(asynchronous):
        tunables = ":".join(f"{name}={value}" for name, value in experiments._TUNABLES.items())
        environment = os.environ | {"GLIBC_TUNABLES": tunables, "JAX_PLATFORMS": "cpu"}
        environment.pop("JAX_CPU_ENABLE_ASYNC_DISPATCH", None)
        if asynchronous:
            environment["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "true"
        words = [sys.executable, "-c", _FAULTS]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    here, elsewhere = faults(asynchronous=False), faults(asynchronous=True)
    assert here < 8, (here, elsewhere)
    assert elsewhere > 16, (here, elsewhere)  # What there was to save.
