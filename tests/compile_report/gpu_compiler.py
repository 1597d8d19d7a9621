"""A Python that has XLA's compiler for GPUs: that of `MGR_JAX_CUDA_ENV`, else this one."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from mgr_jax.compile_report import devices

ROOT = pathlib.Path(__file__).parents[2]
_HERE = any(map(importlib.util.find_spec, devices.PLUGINS))


def needed(test):
    """Mark a test that takes the compiler, and minutes."""
    missing = "MGR_JAX_CUDA_ENV" not in os.environ and not _HERE
    reason = "MGR_JAX_CUDA_ENV is not set, and the extra `cuda` is not installed"
    return pytest.mark.slow(pytest.mark.skipif(missing, reason=reason)(test))


def run(module, *arguments):
    """Run a command in a process with the compiler; return what it prints."""
    python = sys.executable
    if "MGR_JAX_CUDA_ENV" in os.environ:
        python = str(pathlib.Path(os.environ["MGR_JAX_CUDA_ENV"], "bin", "python"))
    done = subprocess.run(
        [python, "-m", f"experiments.{module}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr[-2000:]
    return done.stdout
