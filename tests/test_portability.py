"""What macOS and Windows lack is guarded: modules, limits and functions of the system.

Nothing here ran on a Mac or on Windows. Tests on Linux take away what is missing there.
"""

import ast
import os
import resource
import sys

import numpy as np
import pytest
import soundfile

from mgr_jax import cores
from mgr_jax.data import decoder, shard_writer
from mgr_jax.data.catalog import Catalog
from mgr_jax.errors import UserError
from tests.experiments import commands
from tests.test_imports import TREES

# Modules of the standard library, and attributes of `os` and `signal`, that Windows lacks.
MODULES = {"fcntl", "resource", "select", "termios", "pwd", "grp", "pty", "tty", "syslog"}
ATTRIBUTES = {"fork", "forkpty", "getuid", "geteuid", "killpg", "setsid", "sched_getaffinity"} | {
    "SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "mkfifo", "posix_fadvise", "statvfs", "getpgid"
}  # fmt: skip


def _guarded(tree):
    """Return the nodes below a `try` or an `if hasattr`."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        or (isinstance(node, ast.If) and "hasattr" in ast.dump(node.test))
        for inner in ast.walk(node)
    }


def test_the_package_uses_what_windows_lacks_only_with_a_guard():
    unguarded = []
    for module, tree in TREES.items():
        guarded = _guarded(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names} & MODULES
            elif isinstance(node, ast.ImportFrom):
                names = {node.module} & MODULES
            elif isinstance(node, ast.Attribute):
                names = {node.attr} & ATTRIBUTES
            else:
                continue
            if names and node not in guarded:
                unguarded.append(f"{module}: {', '.join(names)}")
    assert unguarded == []


@pytest.mark.parametrize("error", [ValueError("current limit exceeds maximum limit"), OSError()])
def test_decoder_goes_on_where_the_system_refuses_a_limit(monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert not decoder._limit("RLIMIT_AS", 1 << 40)
    decoder._extend_cpu_limit()
    monkeypatch.setattr(decoder, "resource", None)
    assert not decoder._limit("RLIMIT_AS", 1 << 40)
    decoder._extend_cpu_limit()


def test_decoder_watches_its_memory_where_there_is_no_limit(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(decoder, "_MEMORY", 1)
    decoder._end_at_memory_limit()
    assert ended == [1]


def test_count_of_cores_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores.count() == os.cpu_count()


def test_write_shard_says_what_it_lacks(monkeypatch):
    monkeypatch.setattr(shard_writer, "array_record_module", None)
    settings = {"shard": 0, "num_shards": 1, "sample_rate": 8000, "clip_samples": 8}
    with pytest.raises(UserError, match="needs array_record, which exists for Linux and macOS"):
        shard_writer.write_shard(Catalog("folder", (), ()), "shards", **settings)


# Runs a command without what macOS or Windows lacks.
_SCRIPT = """
import os, runpy, select, sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None
for module, name in ((select, "poll"), (os, "sched_getaffinity"), (os, "fork")):
    delattr(module, name)
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""


@pytest.mark.slow
def test_commands_work_without_what_other_systems_lack(tmp_path, monkeypatch):
    start = commands.subprocess.Popen

    def start_without(command, **kwargs):
        module = command[command.index("-m") + 1 :]
        return start([sys.executable, "-c", _SCRIPT, *module], **kwargs)

    monkeypatch.setattr(commands.subprocess, "Popen", start_without)
    workdir = f"--workdir={tmp_path / 'run'}"
    _, errors = commands.run_process(tmp_path, "train", *commands.TINY, workdir)
    assert "done  " in errors
    out, _ = commands.run_process(tmp_path, "evaluate", workdir)
    assert "accuracy" in out
    song = tmp_path / "song.wav"
    soundfile.write(song, np.random.default_rng(0).normal(size=8000) * 0.1, 8000)
    out, _ = commands.run_process(tmp_path, "predict", workdir, song)
    assert "song.wav" in out
