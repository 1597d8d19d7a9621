"""Measures the system beside its peers.

    python -m experiments.benchmark --suite=frontend [--json=FILE]
    python -m experiments.benchmark --suite=parity
    python -m experiments.benchmark --suite=pipeline
    python -m experiments.benchmark --suite=networks [--only=bbnn,bbnn_image,cnn,...]
    python -m experiments.benchmark --suite=shards [--only=1000,10000,100000]

`frontend` times the features against librosa and, where installed, torch and essentia; `parity`
measures their difference from librosa, function by function (with recordings where MGR_JAX_SHARED
names a folder with data/gtzan_mini); `pipeline` measures how much of its time the training of each
network waits for data, and the memory that reading takes; `networks` times one step of each network
beside PyTorch (`pip install -e '.[bench]'`) and plain Flax; `shards` prepares collections of these
numbers of tracks and starts to train from them. `--json` writes what was measured as a list of
objects.
"""

import json
import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import command
from experiments.suites import machine
from mgr_jax.errors import UserError

SUITE = flags.DEFINE_string("suite", None, "What to measure.", required=True)
ONLY = flags.DEFINE_list("only", [], "networks: cases; shards: numbers of tracks; all if empty.")
JSON = flags.DEFINE_string("json", None, "File to write the rows to.")


def frontend() -> tuple[list[dict], list[str]]:
    """Rows `{"case", "peer", "ours_s", "peer_s", "ratio", "spread", ...}` and their table."""
    from experiments.suites import frontend

    rows = frontend.run()
    return rows, frontend.table(rows)


def parity() -> tuple[list[dict], list[str]]:
    """Rows `{"case", "librosa", "signal", "error", "bound", "unit"}` and their table."""
    from experiments.suites import parity

    rows = parity.run()
    return rows, parity.table(rows)


def pipeline() -> tuple[list[dict], list[str]]:
    """One row of memory, rows `{"case", "data_wait_fraction", ...}`, and their tables."""
    from experiments.suites import pipeline

    rows = pipeline.run()
    return rows, pipeline.table(rows)


def networks() -> tuple[list[dict], list[str]]:
    """Rows `{"case", "peer", "ours_s", "peer_s", "ratio", "spread", ...}` and their tables."""
    from experiments.suites import networks

    rows = networks.run(only=ONLY.value)
    return rows, networks.table(rows)


def shards() -> tuple[list[dict], list[str]]:
    """One row for each number of tracks, and their tables."""
    from experiments.suites import shards

    if not all(size.isdecimal() and int(size) >= shards.SMALLEST for size in ONLY.value):
        raise UserError(f"--only is {ONLY.value}; give numbers of {shards.SMALLEST} tracks or more")
    rows = shards.run(sizes=[int(size) for size in ONLY.value] or shards.SIZES)
    return rows, shards.table(rows)


SUITES = {
    "frontend": frontend,
    "parity": parity,
    "pipeline": pipeline,
    "networks": networks,
    "shards": shards,
}


def main(argv: Sequence[str]) -> None:
    """Runs the suite, prints its table and writes its rows."""
    if len(argv) > 1:
        raise UserError(f"{argv[1]} is not a flag; see --help")
    if SUITE.value not in SUITES:
        raise UserError(f"--suite is {SUITE.value}; it must be one of {', '.join(SUITES)}")
    print("\n".join(machine.describe()), flush=True)
    rows, lines = SUITES[SUITE.value]()
    print("\n".join(lines))
    if JSON.value:
        pathlib.Path(JSON.value).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command.run(main)
