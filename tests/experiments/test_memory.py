"""The process settings of the commands: memory that steps free is kept, dispatch is synchronous."""

import ctypes
import os
import pathlib
import platform
import subprocess
import sys
import types

import jax
import pytest

from experiments import jax_settings

REPO = pathlib.Path(__file__).parents[2]
SETTINGS = {(-4, 0), (-1, -1)}


@pytest.fixture(name="calls")
def _calls(monkeypatch):
    """Calls of `mallopt` and of `jax.config.update`; none of them takes effect."""
    calls = types.SimpleNamespace(mallopt=[], update=[])
    libc = types.SimpleNamespace(mallopt=lambda *call: calls.mallopt.append(call))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    monkeypatch.setattr(jax.config, "update", lambda *call: calls.update.append(call))
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    for name in (*jax_settings._MALLOPT, "JAX_CPU_ENABLE_ASYNC_DISPATCH"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_keep_freed_memory_sets_the_allocator_and_dispatch(calls):
    jax_settings.keep_freed_memory()
    assert set(calls.mallopt) == SETTINGS
    assert calls.update == [("jax_cpu_enable_async_dispatch", False)]


@pytest.mark.parametrize("libc", [("musl", "1.2"), ("", "")])
def test_keep_freed_memory_leaves_other_libraries_alone(calls, monkeypatch, libc):
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    monkeypatch.setattr(ctypes, "CDLL", pytest.fail)
    jax_settings.keep_freed_memory()
    assert calls.update == [("jax_cpu_enable_async_dispatch", False)]


def test_keep_freed_memory_does_not_override_the_environment(calls, monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "9")
    monkeypatch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", "true")
    jax_settings.keep_freed_memory()
    assert set(calls.mallopt) == SETTINGS - {(-4, 0)}
    assert calls.update == []


_FAULTS = """
import resource
import sys
import jax
import jax.numpy as jnp
from experiments import jax_settings

if sys.argv[1] == "set":
    jax_settings.keep_freed_memory()
jax.config.update("jax_cpu_enable_async_dispatch", sys.argv[2] == "async")
x = jnp.ones((4096, 4096))
step = jax.jit(lambda x: jnp.sort(x.reshape(2, -1), axis=0).sum())  # 67 MB of temporaries
counts = []
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(counts))  # Threads that start have faults of their own, once.
"""


def count_faults(*arguments, **settings):
    """Page faults of a step in a process of its own, with these environment variables."""
    environment = {n: v for n, v in os.environ.items() if n not in jax_settings._MALLOPT}
    environment |= {"JAX_PLATFORMS": "cpu"} | settings
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS, *arguments],
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.e2e
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_steps_take_page_faults_only_without_the_settings():
    settings = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1"}
    assert count_faults("set", "sync") < 8
    assert count_faults("none", "sync", **settings) < 8  # What `launch/local.sh` exports.
    assert count_faults("none", "sync") > 1000
    assert count_faults("set", "async") > 16
