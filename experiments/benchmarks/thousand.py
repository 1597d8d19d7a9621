"""The whole path of a collection of GTZAN's size, command by command: time and memory.

The embedded band plays a thousand tracks of 30 s (`data.num_grooves=50`), which are written as WAV
files with a CSV of path, genre and groove as the artist. From there on all commands read the files,
as they would a user's: decoded once, audited, trained, evaluated, cross-validated and reported.
Memory is the resident set, the largest sum over the command and its processes.
"""

import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence

from experiments.benchmarks import machine

QUICK = {"num_grooves": 5, "clips_per_groove": 1, "num_epochs": 1, "seeds": 1}
_CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def run(
    *, num_grooves: int = 50, clips_per_groove: int = 2, num_epochs: int = 3, seeds: int = 5
) -> list[dict]:
    """Return a row for each command, in their order; each is printed to stderr when it ends."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        band = {"num_grooves": num_grooves, "clips_per_groove": clips_per_groove}
        for title, words in _commands(folder, band, num_epochs, seeds):
            watched = machine.watch([sys.executable, "-m", *words])
            rows.append(
                {
                    "case": title,
                    "seconds": watched.seconds,
                    "processor_s": watched.processor_seconds,
                    "peak_mb": watched.peak_mb,
                    "result": _result(watched.output),
                }
            )
            print(f"{title}: {watched.seconds:.0f} s", file=sys.stderr, flush=True)
    return rows


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown."""
    columns = {
        "command": "{case}",
        "seconds": "{seconds:.0f}",
        "of the processor": "{processor_s:.0f}",
        "peak RSS with children, MB": "{peak_mb:.0f}",
        "result": "{result}",
    }
    return machine.table(columns, rows)


def _commands(
    folder: pathlib.Path, band: dict[str, int], num_epochs: int, seeds: int
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the title and the words after `python -m` of each command."""
    cache, wavs, table_file = (folder / name for name in ("cache", "wavs", "tracks.csv"))
    shared = [f"--config.data.cache={cache}"]
    play = [f"--config.data.{field}={value}" for field, value in band.items()]

    def command(name: str, config: str, *words: str) -> Sequence[str]:
        return [f"experiments.{name}", f"--config={_CONFIGS / config}.py", *shared, *words]

    yield "prepare the band, `--wav`", command("prepare", "logistic", *play, f"--wav={wavs}")
    _write_manifest(wavs, table_file)
    shared += ["--config.data.name=manifest", f"--config.data.root={table_file}"]
    yield "prepare the files", command("prepare", "logistic")
    yield "audit", command("audit", "logistic")
    workdirs = []
    for name, config, words in (
        ("logistic", "logistic", []),
        ("svm", "svm", []),
        ("bbnn", "quickstart", [f"--config.train.num_epochs={num_epochs}"]),
    ):
        workdirs.append(str(folder / name))
        workdir = f"--workdir={workdirs[-1]}"
        yield f"train {name}", command("train", config, workdir, *words)
        yield f"evaluate {name}", ["experiments.evaluate", workdir]
    words = ["--protocols=artist_kfold", f"--seeds={seeds}", f"--workdir={folder / 'folds'}"]
    title = f"cross_validate logistic, artist_kfold, {seeds} seeds"
    yield title, command("cross_validate", "logistic", *words)
    yield "report", ["experiments.report", *workdirs, f"--output={folder / 'page'}"]


def _write_manifest(wavs: pathlib.Path, path: pathlib.Path) -> None:
    """List the files of `prepare --wav` with their genre, and their groove as the artist."""
    lines = ["path,label,artist"]
    for file in sorted(wavs.glob("*/*.wav")):
        groove = file.stem.rpartition(".")[0]
        lines.append(f"{os.path.relpath(file, path.parent)},{file.parent.name},{groove}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _result(output: str) -> str:
    """Return the line of what was printed that says most of the outcome."""
    # That of all folds comes before the accuracy of the last one.
    for start in ("[a-z_]+: accuracy", "accuracy", "split", "data"):
        lines = re.findall(rf"^{start} +(.*)$", output, re.MULTILINE)
        if lines:
            return lines[-1].replace("|", "/")
    return ""
