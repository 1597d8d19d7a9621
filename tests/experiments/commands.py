"""Runs the commands with arguments as a user types them.

`run` and `fails` do so in this process, which costs milliseconds. `start` and `run_process` start a
process, for tests of signals, kills, several processes and servers: those are marked `e2e`.
"""

import contextlib
import importlib
import logging
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from typing import TextIO
from unittest import mock

import grain  # noqa: F401 (defines flags, which have to outlive the command that imports it first)
import jax
from absl import app
from absl.testing import flagsaver

from experiments import jax_settings
from mgr_jax import parallel

REPO = pathlib.Path(__file__).parents[2]

# Ten bands of three grooves, one clip each: a second of audio, a BBNN of 1 module x 2 channels.
TINY = (
    "--config=experiments/configs/quickstart.py",
    "--config.data.clip_seconds=1",
    "--config.data.window_seconds=0.5",
    "--config.data.num_grooves=3",
    "--config.data.clips_per_groove=1",
    "--config.features.sample_rate=8000",
    "--config.features.n_fft=256",
    "--config.features.hop_length=128",
    "--config.features.n_mels=16",
    "--config.model.width=2",
    "--config.model.num_modules=1",
    "--config.train.batch_size=2",
    "--config.train.num_epochs=4",
)


def _environment(cache: pathlib.Path) -> dict[str, str]:
    return {
        "XDG_CACHE_HOME": str(cache),
        # Even the smallest programs are kept, for the next command and the next run.
        "JAX_COMPILATION_CACHE_DIR": str(REPO / ".pytest_cache" / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TQDM_DISABLE": "1",  # Progress depends on the time that a test takes.
    }


def run(cache: pathlib.Path, command: str, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run a command in this process; return what it printed, and check its exit code.

    Its module is executed as `python -m` does it, so that it defines its flags, which are
    removed afterwards. It uses one device, and leaves the allocator and the logging of this process
    as they are.
    """
    make_mesh = parallel.make_mesh
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(_redirected("stdout"))
        err = stack.enter_context(_redirected("stderr"))
        for context in (
            flagsaver.flagsaver(),
            # ml_collections loads config files by a deprecated function.
            warnings.catch_warnings(action="ignore", category=DeprecationWarning),
            contextlib.chdir(REPO),
            mock.patch.dict(os.environ, _environment(cache)),
            mock.patch.object(sys, "argv", [command, *map(str, arguments)]),
            mock.patch.object(app, "run", lambda main, flags_parser: main(flags_parser(sys.argv))),
            mock.patch.object(jax_settings, "keep_freed_memory"),
            mock.patch.object(
                parallel, "make_mesh", lambda d=None: make_mesh(d or jax.devices()[:1])
            ),
            mock.patch.object(logging.root, "handlers", [logging.StreamHandler(err)]),
        ):
            stack.enter_context(context)
        sys.modules.pop(f"experiments.{command}", None)  # `load` may have imported it.
        try:
            runpy.run_module(f"experiments.{command}", run_name="__main__")
        except SystemExit as end:
            ended = end.code or 0
        out, err = _read(out), _read(err)
    assert ended == code, f"exit code {ended}\n{out}\n{err}"
    assert "Traceback" not in err, err
    return out, err


@contextlib.contextmanager
def _redirected(name: str) -> Iterator[TextIO]:
    """Redirect a standard stream, of Python and of libraries in C, to a file."""
    number = {"stdout": 1, "stderr": 2}[name]
    before = os.dup(number)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape") as file:
        os.dup2(file.fileno(), number)
        try:
            with mock.patch.object(sys, name, file):
                yield file
        finally:
            os.dup2(before, number)
            os.close(before)


def _read(file: TextIO) -> str:
    file.flush()
    file.seek(0)
    return file.read()


def load(command: str) -> types.ModuleType:
    """Import the module of a command without its flags, which other commands define too."""
    with flagsaver.flagsaver():
        return importlib.import_module(f"experiments.{command}")


def start(
    cache: pathlib.Path, command: str, *arguments: str, num_devices: int = 1
) -> subprocess.Popen:
    """Start `python -m experiments.<command>` with clip stores in `cache`."""
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{command}", *map(str, arguments)],
        cwd=REPO,
        env=os.environ
        | _environment(cache)
        | {"JAX_NUM_CPU_DEVICES": str(num_devices), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_process(
    cache: pathlib.Path, command: str, *arguments: str, code: int = 0, num_devices: int = 1
) -> tuple[str, str]:
    """Run a command in a process of its own; return what it printed, and check its exit code."""
    process = start(cache, command, *arguments, num_devices=num_devices)
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err, err
    return out, err


def fails(cache: pathlib.Path, command: str, *arguments: str) -> str:
    """Run a command that ends in a mistake; return the one line that says which."""
    _, err = run(cache, command, *arguments, code=1)
    lines = [line for line in err.strip().splitlines() if not line.startswith("devices ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]
