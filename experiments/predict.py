"""Names the genre of songs: `python -m experiments.predict --workdir=DIR FILE_OR_FOLDER...`."""

import csv
import io
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

from absl import flags

from experiments import command

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_TOP_K = flags.DEFINE_integer("top_k", 0, "Genres to show in a table; 0 shows all.", lower_bound=0)
_FORMAT = flags.DEFINE_enum("format", "table", ["table", "json", "csv"], "Form of the output.")


def main(argv: Sequence[str]) -> int:
    """Predicts file by file, in the order given; returns 1 if any file failed."""
    if not argv[1:]:
        raise command.UserError("no audio file given; put files or folders after the flags")
    files = [file for name in argv[1:] for file in _files(pathlib.Path(name))]

    from mgr_jax import predictor as predictor_lib
    from mgr_jax.data.audio import AudioError

    command.keep_compiled_programs()
    predictor = predictor_lib.load(_WORKDIR.value, checkpoint_name=_CHECKPOINT.value)
    if _FORMAT.value == "csv":
        print(_csv_line(["path", "label", *predictor.run.labels, "error"]))
    failed = 0
    for file in files:
        try:
            probabilities, note = predictor.predict(str(file))
        except AudioError as error:
            failed += 1
            _show_error(str(file), str(error), len(predictor.run.labels))
        else:
            _show(str(file), probabilities, note, predictor.run.labels)
    return 1 if failed else 0


def _files(path: pathlib.Path) -> Iterator[pathlib.Path]:
    from mgr_jax.data.catalog import AUDIO_SUFFIXES

    if not path.is_dir():
        yield path  # A missing file is reported with the others that cannot be read.
        return
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file() and file.name[0] != "."
    ]
    if not found:
        raise command.UserError(f"{path}: no audio file in this folder; give another one")
    yield from found


def _show(path: str, probabilities: dict[str, float], note: str, labels: Sequence[str]) -> None:
    best = next(iter(probabilities))
    if _FORMAT.value == "json":
        print(json.dumps({"path": path, "label": best, "probabilities": probabilities}))
    elif _FORMAT.value == "csv":
        values = [f"{probabilities[label]:.6f}" for label in labels]
        print(_csv_line([path, best, *values, ""]))
    else:
        print(path + (f"  ({note})" if note else ""))
        shown = list(probabilities.items())[: _TOP_K.value or None]
        width = max(len(label) for label, _ in shown)
        for label, probability in shown:
            print(f"  {label:{width}}  {probability:6.4f}  {'#' * round(40 * probability)}")
    sys.stdout.flush()


def _show_error(path: str, error: str, num_labels: int) -> None:
    if _FORMAT.value == "json":
        print(json.dumps({"path": path, "error": error}))
    elif _FORMAT.value == "csv":
        print(_csv_line([path, "", *[""] * num_labels, error]))
    else:
        print(f"{path}: {error}", file=sys.stderr)
    sys.stdout.flush()


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


if __name__ == "__main__":
    command.run(main)
