"""Start-up time: imports, `--help`, and compiling the BBNN step.

Every time is that of a process from its start to its end, with the start of the interpreter, or
measured within it. The step is that of `experiments.configs.bbnn`, with its front end, as
`experiments.train` compiles it: once with an empty cache of compiled programs, then in a second
process with the cache that the first one filled.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from experiments.benchmarks import machine

_COMMANDS = {
    "python, which does nothing": (("-c", "pass"), None),
    "import mgr_jax": (("-c", "import mgr_jax"), 0.3),
    "experiments.predict --help": (("-m", "experiments.predict", "--help"), 1.0),
    "experiments.train --help": (("-m", "experiments.train", "--help"), 1.0),
    "experiments.evaluate --help": (("-m", "experiments.evaluate", "--help"), 1.0),
}
_COMPILE_TARGET = 10.0
QUICK = {"turns": 2}
_PROGRAM = "from experiments.benchmarks import startup; startup.print_compilation()"


def run(*, turns: int = 7) -> list[dict]:
    """Return a row for each command, and rows for compiling with and without the cache."""
    rows = [_command(case, *what, turns=turns) for case, what in _COMMANDS.items()]
    return [*rows, *_compilation(max(1, turns // 2))]


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown."""
    return machine.table(
        ("what", "seconds", "fastest to slowest", "target", ""),
        (
            (
                f"`{row['case']}`" if "experiments" in row["case"] else row["case"],
                f"{row['seconds']:.2f}",
                f"{row['fastest']:.2f} to {row['slowest']:.2f}",
                f"< {row['target']:g}" if row["target"] else "",
                machine.verdict(row["seconds"] < row["target"]) if row["target"] else "",
            )
            for row in rows
        ),
    )


def print_compilation() -> None:
    """Compile the BBNN step and print how long that took, as JSON."""
    began = time.perf_counter()
    import jax

    from experiments import command
    from experiments.configs import bbnn
    from mgr_jax import config as config_lib
    from mgr_jax.training import network as network_lib

    imported = time.perf_counter()
    command.keep_compiled_programs()
    config = bbnn.get_config()
    network = network_lib.make_network(config, num_classes=10)
    size = config.train.batch_size
    arrays: dict[str, np.ndarray] = {
        name: np.zeros(size, np.int32) for name in ("num_samples", "label", "row")
    }
    arrays["waveform"] = np.zeros((size, config_lib.window_length(config)), np.float32)
    lowered = network.train_step.lower(jax.eval_shape(network.init), arrays)
    traced = time.perf_counter()
    lowered.compile()
    compiled = time.perf_counter()
    seconds = imported - began, traced - imported, compiled - traced
    print(json.dumps(dict(zip(("import", "trace", "compile"), seconds, strict=True))))


def _command(case: str, arguments: tuple[str, ...], target: float | None, *, turns: int) -> dict:
    seconds = []
    for _ in range(turns + 1):  # The first also reads the files from disk, and is not counted.
        began = time.perf_counter()
        # absl ends --help with 1.
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
        seconds.append(time.perf_counter() - began)
    return _row(case, seconds[1:], target)


def _compilation(turns: int) -> list[dict]:
    cold, warm = [], []
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_compile_in(folder))
            warm.append(_compile_in(folder))
    rows = []
    for name, runs in (("empty cache", cold), ("second process", warm)):
        target = _COMPILE_TARGET if runs is cold else None
        compiling = [run["compile"] for run in runs]
        rows.append(_row(f"compiling the BBNN step, {name}", compiling, target))
        rows.append(_row(f"tracing it, {name}", [run["trace"] for run in runs], None))
    rows.append(_row("importing what training needs", [run["import"] for run in warm], None))
    return rows


def _compile_in(folder: str) -> dict[str, float]:
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": folder}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"compiling failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _row(case: str, seconds: list[float], target: float | None) -> dict:
    return {
        "case": case,
        "seconds": float(np.median(seconds)),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "turns": len(seconds),
        "target": target,
    }
