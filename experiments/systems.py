"""Train and evaluate all six systems on one data set, and write their table.

    python -m experiments.systems --workdir=DIR [--table=FILE.md] [--config.data.*=...]

The networks run in their `fast` variants (BBNN: `quickstart`). Each system has a workdir of its own
below DIR. The same command after a kill goes on with what is missing.
"""

import json
import pathlib
import shlex
import statistics
from collections.abc import Sequence

from absl import flags

from experiments import command

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_TABLE = flags.DEFINE_string("table", None, "File to write the table to.")
_OVERRIDES = command.define_overrides()

# System, its config here, and its test accuracy on GTZAN in the presentation (n = 100, random
# split, no interval given there).
SYSTEMS = (
    ("CNN", "cnn.py:fast", "76 %"),
    ("CNN-LSTM", "cnn_lstm.py:fast", "48 %"),
    ("RNN (GRU)", "rnn.py:fast", '"inaccurate"'),
    ("BBNN", "quickstart.py", "86 to 88 %"),
    ("SVM on PCA", "svm.py", "60 %"),
    ("logistic regression", "logistic.py", "78 %"),
)
_HEAD = (
    "system",
    "parameters",
    "time per epoch",
    "accuracy, 95 % intervals",
    "presentation, GTZAN (n = 100, random split)",
)


def main(argv: Sequence[str]) -> int:
    """Run the commands one after the other and print the table; return the exit code."""
    command.refuse_arguments(argv)

    from mgr_jax.evaluation.reports import markdown

    values = command.override_values(_OVERRIDES)
    overrides = [f"--config.{name}={value}" for name, value in values.items()]
    rows = []
    for name, config, presented in SYSTEMS:
        workdir = pathlib.Path(_WORKDIR.value) / config.replace(".py", "").replace(":", "_")
        file = pathlib.Path(__file__).parent / "configs" / config
        command.run_other("train", f"--config={file}", f"--workdir={workdir}", *overrides)
        if not (workdir / "eval" / "test" / "report.json").exists():
            command.run_other("evaluate", f"--workdir={workdir}")
        rows.append((name, _parameters(workdir), _time(workdir), _score(workdir), presented))
    table = "\n".join(markdown.table(_HEAD, rows))
    print(table)
    if _TABLE.value:
        words = [f"--workdir={_WORKDIR.value}", f"--table={_TABLE.value}", *overrides]
        made_by = f"    python -m experiments.systems {shlex.join(words)}"
        command.write_output("table", _TABLE.value, f"{table}\n\nMade by\n\n{made_by}\n")
    return 0


def _parameters(workdir: pathlib.Path) -> str:
    """Count the trainable parameters of a network, or the numbers that a classical system keeps."""
    from mgr_jax import workdir as workdir_lib
    from mgr_jax.classical import fitting
    from mgr_jax.config import NETWORKS
    from mgr_jax.training import network

    run = workdir_lib.load(str(workdir))
    if run.config.model.name in NETWORKS:
        return f"{network.count_parameters(run.config, num_classes=len(run.labels)):,}"
    return f"{fitting.count_parameters(run):,}"


def _time(workdir: pathlib.Path) -> str:
    from mgr_jax.workdir import read_metrics

    seconds = [record["seconds"] for record in read_metrics(workdir) if "seconds" in record]
    # The first epoch compiles.
    return f"{statistics.median(seconds[1:]):.1f} s" if seconds[1:] else "fitted in one call"


def _score(workdir: pathlib.Path) -> str:
    from mgr_jax.evaluation import stats

    report = json.loads((workdir / "eval" / "test" / "report.json").read_text())
    return stats.describe(report, report["protocol"])


if __name__ == "__main__":
    command.run(main)
