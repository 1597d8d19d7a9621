"""Measures the system beside its peers; with `pip install -e '.[bench]'` PyTorch and essentia too.

    python -m experiments.benchmark --suite=frontend [--json=FILE]
    python -m experiments.benchmark --suite=networks [--only=bbnn,bbnn_image,cnn,...] [--eager]
    python -m experiments.benchmark --suite=growth [--only=batch,...] [--plot=FILE.png]
    python -m experiments.benchmark --suite=shards [--only=1000,10000,100000]

- `frontend`: time of the features beside librosa, PyTorch and essentia.
- `parity`: their difference from librosa, function by function (with recordings where
  MGR_JAX_SHARED names a folder with data/gtzan_mini).
- `networks`: one step of each network beside PyTorch and plain Flax: time, memory, front end.
- `classical`: a regularisation path beside scikit-learn, features of 1000 clips beside librosa.
- `startup`: imports, `--help`, and compiling the BBNN step with and without the cache.
- `growth`: time and memory against batch size, clip length, devices and tracks.
- `pipeline`: how much of its time the training of each network waits for data, and the memory that
  reading takes.
- `shards`: preparing collections of these numbers of tracks, and starting to train from them.

`--json` writes what was measured as a list of objects. Measure on a machine with nothing else to
do. `networks` tries `torch.compile`, which takes minutes for each network; `--eager` leaves it out.
"""

import importlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import command
from experiments.benchmarks import machine
from mgr_jax.errors import UserError

SUITES = (
    "frontend",
    "parity",
    "networks",
    "classical",
    "startup",
    "growth",
    "pipeline",
    "shards",
)

SUITE = flags.DEFINE_string("suite", None, "What to measure.", required=True)
ONLY = flags.DEFINE_list(
    "only", [], "networks: cases; growth: quantities; shards: numbers of tracks; all if empty."
)
EAGER = flags.DEFINE_bool("eager", False, "networks: PyTorch as it is, no torch.compile.")
PLOT = flags.DEFINE_string("plot", None, "growth: PNG file to draw the rows into.")
JSON = flags.DEFINE_string("json", None, "File to write the rows to.")


def _options(suite: str) -> dict[str, Any]:
    """What the flags say to `run` of the suite."""
    if ONLY.value and suite not in ("networks", "growth", "shards"):
        raise UserError(f"--only is for networks, growth and shards, not for {suite}")
    if EAGER.value and suite != "networks":
        raise UserError(f"--eager is for networks, not for {suite}")
    if suite == "networks":
        return {"only": ONLY.value, "eager": EAGER.value}
    if suite != "shards":
        return {"only": ONLY.value} if ONLY.value else {}
    from experiments.benchmarks import shards

    if not all(size.isdecimal() and int(size) >= shards.SMALLEST for size in ONLY.value):
        raise UserError(f"--only is {ONLY.value}; give numbers of {shards.SMALLEST} tracks or more")
    return {"sizes": [int(size) for size in ONLY.value] or shards.SIZES}


def main(argv: Sequence[str]) -> None:
    """Runs the suite, prints its table and writes its rows."""
    if len(argv) > 1:
        raise UserError(f"{argv[1]} is not a flag; see --help")
    if SUITE.value not in SUITES:
        raise UserError(f"--suite is {SUITE.value}; it must be one of {', '.join(SUITES)}")
    if PLOT.value and SUITE.value != "growth":
        raise UserError(f"--plot is for growth, not for {SUITE.value}")
    options = _options(SUITE.value)
    command.keep_freed_memory()  # As what is measured does.
    print("\n".join(machine.describe()), flush=True)
    suite = importlib.import_module(f"experiments.benchmarks.{SUITE.value}")
    rows = suite.run(**options)
    if JSON.value:  # First, since measuring takes long and can be shown again.
        pathlib.Path(JSON.value).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print("\n".join(suite.table(rows)))
    if PLOT.value:
        suite.plot(rows, PLOT.value)


if __name__ == "__main__":
    command.run(main)
