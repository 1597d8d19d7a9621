"""Start-up time: imports, `--help`, and compiling the BBNN step.

Every time is that of a process from its start to its end, with the start of the interpreter, or
measured within it. The step is that of `experiments.configs.bbnn`, with its front end, as
`experiments.train` compiles it: once with an empty cache of compiled programs, then in a second
process with the cache that the first one filled.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from experiments.benchmarks import contest, machine

_COMMANDS = {
    "python, which does nothing": (("-c", "pass"), None),
    "import mgr_jax": (("-c", "import mgr_jax"), 0.3),
    "`experiments.predict --help`": (("-m", "experiments.predict", "--help"), 1.0),
    "`experiments.train --help`": (("-m", "experiments.train", "--help"), 1.0),
    "`experiments.evaluate --help`": (("-m", "experiments.evaluate", "--help"), 1.0),
}
_COMPILE_TARGET = 10.0
QUICK = {"turns": 2}


def run(*, turns: int = 7) -> list[dict]:
    """Return a row for each command, and rows for compiling with and without the cache."""
    rows = []
    for case, (arguments, target) in _COMMANDS.items():
        # absl ends --help with 1.
        command = functools.partial(
            subprocess.run, [sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False
        )
        command()  # Reads the files from disk.
        rows.append(_row(case, [contest.seconds_of(command) for _ in range(turns)], target))
    return [*rows, *_compilation(max(1, turns // 2))]


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown."""
    columns = {
        "what": "{case}",
        "seconds": "{seconds:.2f}",
        "fastest to slowest": "{fastest:.2f} to {slowest:.2f}",
        "target": "{limit}",
        "": "{verdict}",
    }
    rows = [row | {"limit": f"< {row['target']:g}" if row["target"] else ""} for row in rows]
    return machine.table(columns, rows)


def print_compilation() -> None:
    """Compile the BBNN step and print how long that took, as JSON."""
    began = time.perf_counter()
    import jax

    from experiments import jax_settings
    from experiments.benchmarks import networks
    from experiments.configs import bbnn
    from mgr_jax import config as config_lib
    from mgr_jax.training import network as network_lib

    imported = time.perf_counter()
    jax_settings.keep_compiled_programs()
    config = bbnn.get_config()
    network = network_lib.make_network(config, num_classes=10)
    size, window = config.train.batch_size, config_lib.window_length(config)
    batch = networks.batch_of(np.zeros((size, window), np.float32), np.zeros(size), window)
    lowered = network.train_step.lower(jax.eval_shape(network.init), batch)
    traced = time.perf_counter()
    lowered.compile()
    seconds = imported - began, traced - imported, time.perf_counter() - traced
    print(json.dumps(dict(zip(("import", "trace", "compile"), seconds, strict=True))))


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
    return [*rows, _row("importing what training needs", [run["import"] for run in warm], None)]


def _compile_in(folder: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.startup"],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": folder},
    )
    if done.returncode:
        raise RuntimeError(f"compiling failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _row(case: str, seconds: list[float], target: float | None) -> dict:
    median = float(np.median(seconds))
    return {
        "case": case,
        "seconds": median,
        "fastest": min(seconds),
        "slowest": max(seconds),
        "turns": len(seconds),
        "target": target,
        "met": None if target is None else median < target,
    }


if __name__ == "__main__":
    print_compilation()
