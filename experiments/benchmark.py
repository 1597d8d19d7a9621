"""Measure the system beside its peers; `pip install -e '.[bench]'` adds PyTorch and essentia.

    python -m experiments.benchmark --suite=frontend [--json=FILE]
    python -m experiments.benchmark --suite=networks [--only=bbnn,cnn,...] [--compile]
    python -m experiments.benchmark --suite=growth [--only=batch,...] [--plot=FILE.png]
    python -m experiments.benchmark --suite=shards [--only=1000,10000,100000]
    python -m experiments.benchmark --quick

- `frontend`: time of the features beside librosa, PyTorch and essentia.
- `parity`: their difference from librosa, function by function (with recordings where
  MGR_JAX_SHARED names a folder with data/gtzan_mini).
- `networks`: one step of each network beside PyTorch and plain formulas: time, memory, front end.
- `classical`: a regularisation path beside scikit-learn, features of 1000 clips beside librosa.
- `startup`: imports, `--help`, and compiling the BBNN step with and without the cache.
- `growth`: time and memory against batch size, clip length, devices and tracks.
- `pipeline`: how much of its time the training of each network waits for data, and the memory that
  reading takes.
- `coverage`: how often the intervals of accuracies cover the truth, by simulation.
- `sets`: how often sets of genres hold the right one, by simulation and for the GTZAN model.
- `labels`: how many flipped labels of the band `audit --labels` finds, and its share of them.
- `shards`: preparing collections of these numbers of tracks, and starting to train from them.
- `thousand`: every command on 1000 tracks of 30 s: time, memory and result.

`--json` writes the rows as a list of objects. `--quick` takes fewer turns at small sizes, of one
suite or of all in under 10 minutes: it shows that a suite works, not how fast we are. Measure on a
machine with nothing else to do. GPUs: see `experiments.benchmarks.gpu`.
"""

import importlib
import json
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import command, jax_settings
from mgr_jax.errors import UserError

SUITES = [
    "frontend",
    "parity",
    "networks",
    "classical",
    "startup",
    "growth",
    "pipeline",
    "shards",
    "coverage",
    "sets",
    "labels",
    "thousand",
]

SUITE = flags.DEFINE_string("suite", None, "What to measure; all with --quick if not given.")
ONLY = flags.DEFINE_list(
    "only", [], "networks: cases; growth: quantities; shards: numbers of tracks; all if empty."
)
QUICK = flags.DEFINE_bool("quick", False, "Fewer turns, small sizes.")
COMPILE = flags.DEFINE_bool("compile", False, "networks: also torch.compile, minutes a network.")
PLOT = flags.DEFINE_string("plot", None, "growth: PNG file to draw the rows into.")
JSON = flags.DEFINE_string("json", None, "File to write the rows to.")


def _check_flags(argv: Sequence[str]) -> None:
    command.refuse_arguments(argv)
    if SUITE.value not in SUITES and not (QUICK.value and SUITE.value is None):
        raise UserError(f"--suite is {SUITE.value}; it must be one of {', '.join(SUITES)}")
    if ONLY.value and SUITE.value not in ("networks", "growth", "shards"):
        raise UserError(f"--only is for networks, growth and shards, not for {SUITE.value}")
    for flag, suite in ((COMPILE, "networks"), (PLOT, "growth")):
        if flag.value and SUITE.value != suite:
            raise UserError(f"--{flag.name} is for {suite}, not for {SUITE.value}")


def main(argv: Sequence[str]) -> command.Ending:
    """Run the suite, print its table and write its rows; return how it ended."""
    _check_flags(argv)
    try:
        from experiments.benchmarks import machine
    except ModuleNotFoundError as error:
        raise UserError("the suites are not installed; run from a checkout") from error
    jax_settings.keep_freed_memory()  # As the processes that are measured do.
    print("\n".join(machine.describe()), flush=True)
    rows = []
    for name in [SUITE.value] if SUITE.value else SUITES:
        suite = importlib.import_module(f"experiments.benchmarks.{name}")
        options: dict[str, Any] = dict(suite.QUICK) if QUICK.value else {}
        if ONLY.value:
            options["only"] = ONLY.value
        if COMPILE.value:
            options["compile"] = True
        try:
            measured = suite.run(**options)
        except UserError as error:
            if SUITE.value:
                raise
            print(f"\n## {name}\n\nLeft out: {error}", flush=True)
            continue
        rows += measured
        if JSON.value:  # First, since measuring takes long and can be shown again.
            command.write_output("json", JSON.value, json.dumps(rows, indent=2) + "\n")
        if not SUITE.value:
            print(f"\n## {name}\n")
        print("\n".join(suite.table(measured)), flush=True)
        if PLOT.value:
            suite.plot(measured, PLOT.value)
    return command.Ending(0, ("benchmark", "--help"), on_host=True)


if __name__ == "__main__":
    command.run(main)
