"""Runs the commands as a user does: in a process of their own."""

import os
import pathlib
import subprocess
import sys

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


def start(
    cache: pathlib.Path, command: str, *arguments: str, num_devices: int = 1
) -> subprocess.Popen:
    """Starts `python -m experiments.<command>` with clip stores in `cache`."""
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": str(num_devices),
        "XDG_CACHE_HOME": str(cache),
        # All programs, however small: the next command, and the next run, has them at once.
        "JAX_COMPILATION_CACHE_DIR": str(REPO / ".pytest_cache" / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{command}", *map(str, arguments)],
        cwd=REPO,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(cache: pathlib.Path, command: str, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Runs a command to its end; returns what it printed, and checks its exit code."""
    process = start(cache, command, *arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err, err
    return out, err


def fails(cache: pathlib.Path, command: str, *arguments: str) -> str:
    """The one line that a mistake ends in."""
    _, err = run(cache, command, *arguments, code=1)
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]
