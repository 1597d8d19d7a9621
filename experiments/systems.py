"""Train and evaluate the presentation's systems on one data set, and write their table.

    python -m experiments.systems --workdir=DIR [--size=fast|full|ablation] [--table=FILE.md]
        [--figure=FILE.png] [--config.data.*=...]

`--size=fast` takes the `fast` variants of the networks (BBNN: `quickstart`), minutes on two CPU
cores; `--size=full` the systems as the presentation has them, hours. Full-size networks stop early:
they train for at most the presentation's epochs and end after 15 without a lower loss of the
validation part. `--size=ablation` trains the `fast` CNN-LSTM for 24 epochs with one
change at a time, and evaluates the training and validation parts: see
`experiments/configs/cnn_lstm.py`.

Each system has a workdir of its own below DIR. The table is written anew as soon as a row is there,
and the same command after a kill goes on inside the row that it was at. `--figure` draws the
confusion matrices side by side.
"""

import json
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from experiments import command, ending
from mgr_jax.files import append_record, read_records

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_SIZE = flags.DEFINE_enum("size", "fast", ["fast", "full", "ablation"], "Which systems.")
_TABLE = flags.DEFINE_string("table", None, "File to write the table to.")
_FIGURE = flags.DEFINE_string("figure", None, "PNG file for the confusion matrices.")
_OVERRIDES = command.define_overrides()


class System(NamedTuple):
    """A row of the table.

    Attributes:
      name: as the table has it.
      config: file in `experiments/configs`.
      presented: test accuracy on GTZAN in the presentation (n = 100, random split, no interval).
      overrides: config fields that differ from the file.
      parts: the parts to evaluate.
    """

    name: str
    config: str
    presented: str
    overrides: Mapping[str, Any] = {}
    parts: tuple[str, str] = ("train", "test")

    @property
    def workdir(self) -> pathlib.Path:
        """Folder of the run."""
        name = self.config.replace(".py", "").replace(":", "_")
        if not self.presented:  # Changes of one config.
            name = "_".join(self.name.replace(",", "").split())
        return pathlib.Path(_WORKDIR.value) / name

    @property
    def is_done(self) -> bool:
        """Whether both parts are evaluated."""
        return all((self.workdir / "eval" / part / "report.json").exists() for part in self.parts)


_EARLY_STOPPING = {
    "optim.early_stop_metric": "valid_loss",
    "optim.early_stop_patience": 15,
    "optim.early_stop_min_delta": 0.0,
}
# An epoch of the band has 17 steps, one of GTZAN 112: 0.94 ** 17 = 0.35, 0.99 ** 112 = 0.32, so
# running averages settle within as many epochs as on GTZAN, before early stopping can end the run.
_BBNN = _EARLY_STOPPING | {"model.batch_norm_momentum": 0.94}
# A CNN that does not learn comes closer to the loss of guessing for ever.
_CNN = _EARLY_STOPPING | {"optim.early_stop_min_delta": 0.001}
SYSTEMS = {
    "fast": (
        System("CNN", "cnn.py:fast", "76 %"),
        System("CNN-LSTM", "cnn_lstm.py:fast", "48 %"),
        System("RNN (GRU)", "rnn.py:fast", '"inaccurate"'),
        System("BBNN", "quickstart.py", "86 to 88 %"),
        System("SVM on PCA", "svm.py", "60 %"),
        System("logistic regression", "logistic.py", "78 %"),
    ),
    # From the cheapest to the dearest; then the CNNs that are not as presented.
    "full": (
        System("SVM on PCA", "svm.py", "60 %"),
        System("SVM on PCA, flattened picture", "svm.py:flattened", "60 %"),
        System("logistic regression", "logistic.py", "78 %"),
        System("SimpleRNN", "rnn.py", '"inaccurate"', _EARLY_STOPPING),
        System("BBNN, 647x128x1", "bbnn.py", "86 to 88 %", _BBNN),
        System("BBNN, 288x432x3", "bbnn.py:image", "86 to 88 %", _BBNN),
        System("CNN", "cnn.py", "76 %", _CNN),
        System("CNN-LSTM", "cnn_lstm.py", "48 %", _CNN),
        System("CNN, normalised", "cnn.py:trained", "76 %", _CNN),
        System("CNN-LSTM, normalised, along time", "cnn_lstm.py:trained", "48 %", _CNN),
    ),
    "ablation": tuple(
        System(name, "cnn_lstm.py:fast", "", {"train.num_epochs": 24} | change, ("train", "valid"))
        for name, change in (
            ("fast variant", {}),
            ("batch normalisation", {"model.batch_norm": True}),
            (
                "batch normalisation, LSTM along time",
                {"model.batch_norm": True, "model.scan_axis": "time"},
            ),
            ("pixels in 0 to 1", {"features.normalize": "none"}),
            (
                "batch normalisation, pixels in 0 to 1",
                {"model.batch_norm": True, "features.normalize": "none"},
            ),
            ("LSTM along time", {"model.scan_axis": "time"}),
            ("learning rate 0.0003", {"optim.learning_rate": 3e-4}),
            ("learning rate 0.003", {"optim.learning_rate": 3e-3}),
            ("gradients clipped at norm 1", {"optim.clip_norm": 1.0}),
            ("no dropout", {"model.dropout": 0.0}),
        )
    ),
}
# The last column only where there is a presented accuracy.
_HEAD = (
    "system",
    "parameters",
    "epochs",
    "time per epoch",
    "CPU time",
    "peak memory",
    "train accuracy",
    "{} accuracy, 95 % intervals",
    "presentation, GTZAN (n = 100, random split)",
)


def main(argv: Sequence[str]) -> command.Ending | int:
    """Run the commands one after the other and print the table; return how it ended."""
    command.refuse_arguments(argv)
    for name, path in (("table", _TABLE.value), ("figure", _FIGURE.value)):
        if path is not None:
            command.output_file(name, path)  # Not only after hours of training.
    systems = SYSTEMS[_SIZE.value]
    for system in systems:
        code = _train_and_evaluate(system)
        if code:
            print("stopped; the same command goes on from here", file=sys.stderr)
            return code
        _write(systems)
    print(_table(systems))
    workdirs = (str(system.workdir) for system in systems)
    output = f"--output={os.path.join(_WORKDIR.value, 'report')}"
    split = f"--split={systems[0].parts[-1]}"
    return command.Ending(0, ("report", *workdirs, split, output))


def _train_and_evaluate(system: System) -> int:
    """Bring a system to its two reports; return the exit code, not 0 if a signal stopped it."""
    values = command.override_values(_OVERRIDES)
    overrides = [f"--config.{name}={v}" for name, v in {**system.overrides, **values}.items()]
    file, workdir = pathlib.Path(__file__).parent / "configs" / system.config, system.workdir
    was_done = system.is_done  # Then `train` only checks that the config is the same.
    arguments = [["train", f"--config={file}", f"--workdir={workdir}", *overrides]]
    for part in system.parts:
        if not (workdir / "eval" / part / "report.json").exists():
            arguments.append(["evaluate", f"--workdir={workdir}", f"--split={part}"])
    for name, *rest in arguments:
        code = _measure(name, rest, None if was_done else _costs_file(system))
        if code:
            return code
    return 0


def _measure(name: str, arguments: Sequence[str], costs: pathlib.Path | None) -> int:
    """Run `python -m experiments.<name>`; append what it cost to the file `costs`, if any.

    `train` saves its state for SIGTERM, which is passed on, and for SIGINT, which a terminal sends
    to both; the exit code is not 0 then.

    Raises:
      UserError: if the command fails; it has printed the reason itself.
    """
    began, usage, signals = time.monotonic(), None, []

    def stop(number: int, frame: Any) -> None:
        signals.append(number)
        if number == signal.SIGTERM:
            process.terminate()

    if costs:
        costs.parent.mkdir(parents=True, exist_ok=True)
        append_record(costs, {"started": name})  # Without an end, this one was killed.
    process = subprocess.Popen(
        [sys.executable, "-m", f"experiments.{name}", *arguments], env=os.environ | ending.CHILD
    )
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, stop) for number in numbers}
    try:
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        else:
            process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if costs:
        end = {"ended": name, "wall_s": time.monotonic() - began}
        if usage:
            kilobyte = 1 if sys.platform == "darwin" else 1024
            end |= {"cpu_s": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * kilobyte}
        append_record(costs, end)
    if signals:
        return command.PREEMPTED if signals[-1] == signal.SIGTERM else command.INTERRUPTED
    if process.returncode:
        raise command.UserError(f"experiments.{name} {arguments[0]} failed; see above")
    return 0


def _costs_file(system: System) -> pathlib.Path:
    return system.workdir.with_name(f"{system.workdir.name}.costs.jsonl")


def _write(systems: Sequence[System]) -> None:
    """Write table and figure of the systems that are done."""
    if _TABLE.value:
        values = {"workdir": _WORKDIR.value, "size": _SIZE.value, "table": _TABLE.value}
        if _FIGURE.value:
            values["figure"] = _FIGURE.value
        words = [f"--{name}={value}" for name, value in values.items()]
        words += [f"--config.{k}={v}" for k, v in command.override_values(_OVERRIDES).items()]
        made_by = f"    python -m experiments.systems {shlex.join(words)}"
        command.write_output("table", _TABLE.value, f"{_table(systems)}\n\nMade by\n\n{made_by}\n")

    done = [system for system in systems if system.is_done]
    if _FIGURE.value and done:
        _draw(pathlib.Path(_FIGURE.value), done)


def _draw(file: pathlib.Path, systems: Sequence[System]) -> None:
    """Draw the confusion matrices of the last part side by side."""
    import numpy as np

    from mgr_jax.evaluation.reports import plots

    part = systems[0].parts[-1]
    reports = [_report(system, part) for system in systems]
    panels = [
        (f"{s.name}: {r['num_correct']} of {r['n']}", np.array(r["confusion_matrix"]))
        for s, r in zip(systems, reports, strict=True)
    ]
    n, protocol, labels = (reports[0][name] for name in ("n", "protocol", "labels"))
    title = f"The {part} part of {reports[0]['data']} (n = {n}, {protocol})"
    plots.confusion_matrices(file, panels, labels, title)


def _report(system: System, part: str) -> dict[str, Any]:
    return json.loads((system.workdir / "eval" / part / "report.json").read_text())


def _table(systems: Sequence[System]) -> str:
    from mgr_jax.evaluation.reports import markdown

    size = len(_HEAD) if any(system.presented for system in systems) else len(_HEAD) - 1
    unfinished = ("not finished", *[""] * (len(_HEAD) - 3))
    rows = [
        (s.name, *(_measured(s) if s.is_done else unfinished), s.presented)[:size] for s in systems
    ]
    part = {"test": "test", "valid": "validation"}[systems[0].parts[-1]]
    head = [name.format(part) for name in _HEAD[:size]]
    return "\n".join(markdown.table(head, rows))


def _measured(system: System) -> tuple[str, ...]:
    """Return the cells between name and presented accuracy."""
    from mgr_jax.evaluation import stats
    from mgr_jax.workdir import read_metrics

    reports = [_report(system, part) for part in system.parts]
    epochs = [record for record in read_metrics(system.workdir) if "seconds" in record]
    best = [e["epoch"] for e in epochs if e["step"] == reports[-1]["checkpoint_step"]]
    # The first epoch compiles.
    seconds = [record["seconds"] for record in epochs[1:]]
    described = [stats.describe(report, report["protocol"]) for report in reports]
    return (
        _parameters(system.workdir),
        f"{epochs[-1]['epoch']}, the best {best[0]}" if best else "-",
        f"{statistics.median(seconds):.1f} s" if seconds else "fitted in one call",
        *_costs(_costs_file(system)),
        *described,
    )


def _costs(file: pathlib.Path) -> tuple[str, str]:
    """Return CPU time and peak memory of all commands of a system, as far as they were measured."""
    records = read_records(file)
    ends = [record for record in records if "cpu_s" in record]
    if not ends:
        return "not measured", "not measured"
    # Of a command that was killed nothing is known.
    least = "" if 2 * len(ends) == len(records) else "at least "
    seconds = sum(end["cpu_s"] for end in ends)
    time_text = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
    return least + time_text, f"{least}{max(end['peak'] for end in ends) / 1e9:.1f} GB"


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


if __name__ == "__main__":
    command.run(main)
