"""Names the genre of songs: `python -m experiments.predict --workdir=DIR FILE_OR_FOLDER...`.

In a folder, and in those below it, every file that is audio is predicted whatever its name; names
of companions such as `.txt` and `.csv` are skipped and counted. Exit code 1 says that a file
could not be read; the others are predicted all the same.
"""

import collections
import csv
import io
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from absl import flags

from experiments import command

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, or a bundle.", required=True)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_TOP_K = flags.DEFINE_integer("top_k", 0, "Genres to show in a table; 0 shows all.", lower_bound=0)
_FORMAT = flags.DEFINE_enum("format", "table", ["table", "json", "csv"], "Form of the output.")
_OVERLAP = flags.DEFINE_float(
    "overlap", 0.0, "Share of a window that the next one covers again, below 1.", 0.0
)
_THRESHOLD = flags.DEFINE_float(
    "threshold", 0.5, "Confidence below which a prediction is called uncertain.", 0.0, 1.0
)
_TIMELINE = flags.DEFINE_bool("timeline", False, "Show genre over time, and draw it as a PNG.")
_OUTPUT = flags.DEFINE_string("output", ".", "Folder for the pictures of --timeline.")

# What lies beside music and is none; a folder of songs is not wrong because of it.
_COMPANIONS = re.compile(
    r"\.(csv|tsv|txt|jsonl?|md|rst|xml|html|pdf|log|nfo|cue|m3u8?|pls|lrc|ini|ya?ml|db|md5|sha256"
    r"|jpe?g|png|gif|bmp|webp|svg|py|np[yz])$",
    re.IGNORECASE,
)


def main(argv: Sequence[str]) -> int:
    """Predicts file by file, in the order given; returns 1 if any file failed."""
    if not argv[1:]:
        raise command.UserError("no audio file given; put files or folders after the flags")
    if not _OVERLAP.value < 1:
        raise command.UserError(f"--overlap is {_OVERLAP.value}; it must be below 1")
    skipped: collections.Counter[str] = collections.Counter()
    files = [file for name in argv[1:] for file in _files(pathlib.Path(name), skipped)]
    if _TIMELINE.value and not os.access(_OUTPUT.value, os.W_OK | os.X_OK):
        raise command.UserError(f"--output {_OUTPUT.value}: is no folder that can be written to")

    import tqdm

    from mgr_jax import predictor as predictor_lib
    from mgr_jax.data.audio import AudioError

    command.set_up_jax()
    # Names of files are bytes, and need not be valid UTF-8.
    sys.stdout.reconfigure(errors="surrogateescape")
    predictor = predictor_lib.load(_WORKDIR.value, checkpoint_name=_CHECKPOINT.value)
    show = {"table": _table, "json": _json, "csv": _csv}[_FORMAT.value]
    if _FORMAT.value == "csv":
        start = ["start_seconds"] if _TIMELINE.value else []
        facts = ["label", "confidence", "uncertain"]
        print(_csv_line(["path", *start, *facts, *predictor.labels, "error"]))
    failed, pictures = 0, set()
    with tqdm.tqdm(total=len(files), desc="predict", unit="file", disable=None) as bar:
        for path, found in predictor.predict_files(
            map(str, files), overlap=_OVERLAP.value, threshold=_THRESHOLD.value
        ):
            failed += isinstance(found, AudioError)
            picture = None
            if _TIMELINE.value and not isinstance(found, AudioError):
                picture = _picture_name(path, pictures)
                _draw(picture, path, found, predictor.labels)
            with bar.external_write_mode():
                if isinstance(found, AudioError) and _FORMAT.value == "table":
                    print(f"{path}: {found}", file=sys.stderr, flush=True)
                else:
                    for line in show(path, found, predictor, picture):
                        print(line)
                    sys.stdout.flush()
            bar.update()
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(skipped.items()))
        print(f"skipped   {skipped.total()} that are no audio: {kinds}", file=sys.stderr)
    return 1 if failed else 0


def _files(path: pathlib.Path, skipped: collections.Counter[str]) -> Iterator[pathlib.Path]:
    """The file, or those of the folder; `skipped` counts its companions by suffix."""
    if not path.is_dir():
        yield path  # A missing file is reported with the others that cannot be read.
        return
    found = 0
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if hidden or not file.is_file():
            continue
        companion = _COMPANIONS.search(file.name)
        if companion:
            skipped[companion[0].lower()] += 1
            continue
        found += 1
        yield file
    if not found:
        raise command.UserError(f"{path}: no audio file in this folder; give another one")


def _table(path: str, found: Any, predictor: Any, picture: str | None) -> Iterable[str]:
    """The genres as bars, below the name of the file."""
    words = [path]
    if found.note:
        words.append(f"({found.note})")
    if found.uncertain:
        how = "" if predictor.calibrated else ", uncalibrated"
        words.append(f"uncertain (confidence {found.confidence:.2f}{how})")
    yield "  ".join(words)
    shown = list(found.probabilities.items())[: _TOP_K.value or None]
    width = max(len(label) for label, _ in shown)
    for label, probability in shown:
        yield f"  {label:{width}}  {probability:6.4f}  {'#' * round(40 * probability)}"
    if picture is not None:
        from mgr_jax.evaluation.reports import timeline

        for line in timeline.lines(found, predictor.labels):
            yield f"  {line}"
        yield f"  picture   {picture}"


def _json(path: str, found: Any, predictor: Any, picture: str | None) -> Iterable[str]:
    """One object; `confidence` is that of `label`, calibrated if the model is."""
    if isinstance(found, Exception):
        yield json.dumps({"path": path, "error": str(found)})
        return
    values = {
        "path": path,
        "label": found.label,
        "probabilities": found.probabilities,
        "confidence": found.confidence,
        "uncertain": found.uncertain,
    }
    if found.note:
        values["note"] = found.note
    if picture is not None:
        values["timeline"] = {
            "start_seconds": found.window_starts_seconds.tolist(),
            "window_seconds": found.window_seconds,
            "probabilities": dict(zip(predictor.labels, found.windows.T.tolist(), strict=True)),
            "picture": picture,
        }
    yield json.dumps(values)


def _csv(path: str, found: Any, predictor: Any, picture: str | None) -> Iterable[str]:
    """A row for the file, or with --timeline one for each window; `confidence` is the file's."""
    labels = predictor.labels
    if isinstance(found, Exception):
        empty = [""] * (len(labels) + (4 if _TIMELINE.value else 3))
        yield _csv_line([path, *empty, str(found)])
        return
    judged = [f"{found.confidence:.6f}", str(found.uncertain).lower()]
    if picture is None:
        values = [f"{found.probabilities[label]:.6f}" for label in labels]
        yield _csv_line([path, found.label, *judged, *values, ""])
    else:
        for start, row in zip(found.window_starts_seconds, found.windows, strict=True):
            values = [f"{value:.6f}" for value in row]
            yield _csv_line([path, f"{start:.3f}", labels[row.argmax()], *judged, *values, ""])


def _picture_name(path: str, taken: set[str]) -> str:
    """Where to draw the timeline of a file; files of the same name get numbers."""
    stem = os.path.join(_OUTPUT.value, os.path.basename(path))
    picture, number = f"{stem}.timeline.png", 1
    while picture in taken:
        number += 1
        picture = f"{stem}.{number}.timeline.png"
    taken.add(picture)
    return picture


def _draw(picture: str, path: str, found: Any, labels: Sequence[str]) -> None:
    from mgr_jax.evaluation.reports import timeline

    title = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")
    timeline.draw(picture, found, labels, title)


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


if __name__ == "__main__":
    command.run(main)
