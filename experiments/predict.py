"""Predict the genre of songs: `python -m experiments.predict [--workdir=DIR] FILE_OR_FOLDER...`.

Without a workdir the GTZAN model of the package answers. `--model=musicnn` prints tags over time in
place of a genre, and `--embeddings=FILE.npz` keeps 200 values a window for other classifiers.
`--explain=DIR` draws which times and bands carried the answer or the first tag.
Folders are searched recursively. Every file in them is read as audio whatever its name, but for
companions such as `.txt` and `.csv`, which are skipped and counted. Exit code 1 means that a file
could not be read; the others are predicted all the same.
"""

import collections
import functools
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from absl import flags

from experiments import command, explanations, jax_settings, tags
from mgr_jax.escape import printable
from mgr_jax.files import csv_line

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run, or a bundle.")
_MODEL = flags.DEFINE_string(
    "model",
    "gtzan",
    "gtzan or musicnn, which come with the package, or the folder of a run, a bundle or a folder of"
    " experiments.import_musicnn.",
)
_EMBEDDINGS = flags.DEFINE_string(
    "embeddings", None, "File (.npz) for the embeddings of MusiCNN, with --model=musicnn."
)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_TOP_K = flags.DEFINE_integer("top_k", 0, "Genres to show in a table; 0 shows all.", lower_bound=0)
_FORMAT = flags.DEFINE_enum("format", "table", ["table", "json", "csv"], "Format of the output.")
_OVERLAP = flags.DEFINE_float(
    "overlap", 0.0, "Fraction of a window that the next one overlaps, up to 0.95.", 0.0
)
_THRESHOLD = flags.DEFINE_float(
    "threshold", 0.5, "Confidence below which a prediction is called uncertain.", 0.0, 1.0
)
_COVERAGE = flags.DEFINE_float(
    "coverage",
    None,
    "Print sets of genres that hold the right one for this share of the tracks of new artists, such"
    " as 0.9; without it the most probable genre.",
)
_TIMELINE = flags.DEFINE_bool("timeline", False, "Show genre over time, and draw it as a PNG.")
_EXPLAIN = flags.DEFINE_string(
    "explain",
    None,
    "Folder for a picture and JSON a song: which times and bands carried the answer.",
)
_EXPLAIN_METHOD = flags.DEFINE_string(
    "explain_method",
    "auto",
    "linear, integrated_gradients or occlusion; auto chooses by the system.",
)
_OUTPUT = flags.DEFINE_string("output", ".", "Folder for the pictures of --timeline.")

# Flags that tags do not have.
_FOR_GENRES = ("timeline", "overlap", "threshold", "checkpoint", "coverage", "explain_method")
# Files that often lie beside music; they are no error in a folder of songs.
_COMPANIONS = re.compile(
    r"\.(csv|tsv|txt|jsonl?|md|rst|xml|html|pdf|log|nfo|cue|m3u8?|pls|lrc|ini|ya?ml|db|md5|sha256"
    r"|jpe?g|png|gif|bmp|webp|svg|py|sh|np[yz])$",
    re.IGNORECASE,
)


def main(argv: Sequence[str]) -> command.Ending:
    """Predict file by file, in the order given; the exit code is 1 if any file failed."""
    if not argv[1:]:
        raise command.UserError("no audio file given; put files or folders after the flags")
    from mgr_jax.data import windows

    if not _OVERLAP.value <= windows.MAX_OVERLAP:
        raise command.UserError(
            f"--overlap is {_OVERLAP.value}; it must be from 0 to {windows.MAX_OVERLAP}"
        )
    name = command.model_path(_WORKDIR.value, _MODEL.value, ("gtzan", "musicnn"))
    skipped: collections.Counter[str] = collections.Counter()
    files = [str(file) for path in argv[1:] for file in _files(pathlib.Path(path), skipped)]
    if flags.FLAGS["explain_method"].present and _EXPLAIN.value is None:
        raise command.UserError("--explain_method: is for --explain=DIR; add it")
    if _TIMELINE.value:
        command.output_file("output", os.path.join(_OUTPUT.value, "picture.png"))

    jax_settings.set_up()
    if _WORKDIR.value is None and tags.is_tagger(name):
        for flag in _FOR_GENRES:
            if flags.FLAGS[flag].present:
                raise command.UserError(
                    f"--{flag}: is for genres; --model=musicnn always shows its tags over time"
                )
        failed = tags.run(
            name,
            files,
            style=_FORMAT.value,
            top_k=_TOP_K.value,
            keep=_EMBEDDINGS.value,
            explain=_EXPLAIN.value,
        )
    elif _EMBEDDINGS.value is not None:
        raise command.UserError("--embeddings: only MusiCNN has them; add --model=musicnn")
    else:
        from mgr_jax import devices, progress
        from mgr_jax import predictor as predictor_lib

        with progress.Progress("load", "the model"):
            predictor = predictor_lib.load(name, checkpoint_name=_CHECKPOINT.value)
        print(devices.describe(), file=sys.stderr, flush=True)
        if _COVERAGE.value is not None:
            _describe_sets(predictor)
        failed = _predict(predictor, files)
    if skipped:
        kinds = ", ".join(f"{n} {printable(suffix)}" for suffix, n in sorted(skipped.items()))
        print(f"skipped   {skipped.total()} that are no audio: {kinds}", file=sys.stderr)
    return command.Ending(1 if failed else 0, _next(name, argv[1:]) if failed < len(files) else ())


def _next(name: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the command that shows more of the same files, or else of the model `name`."""
    model = f"--model={name}" if _WORKDIR.value is None else f"--workdir={name}"
    chosen = () if name == "gtzan" else (model,)
    if _WORKDIR.value is None and tags.is_tagger(name):
        return ("predict", *paths)
    if _TIMELINE.value or len(paths) > 3:
        return command.page_or_prediction(*chosen)
    return ("predict", *chosen, "--timeline", *paths)


def _describe_sets(predictor: Any) -> None:
    """Print what the sets of --coverage promise."""
    from mgr_jax.evaluation import conformal

    try:
        rule = predictor.set_rule(_COVERAGE.value)
    except (ValueError, command.UserError) as error:  # Both begin with `coverage`.
        raise command.UserError(f"--{error}") from error
    text = conformal.describe(predictor.system.calibration, rule)
    print(f"sets      {text.removeprefix('sets ')}", file=sys.stderr)


def _predict(predictor: Any, files: Sequence[str]) -> int:
    """Print the predictions for all files, below them a progress bar; return how many failed."""
    from mgr_jax import progress
    from mgr_jax.data.audio import AudioError

    to_lines = {"table": _table, "json": _json, "csv": _csv}[_FORMAT.value]
    if _FORMAT.value == "csv":
        start = ["start_seconds"] if _TIMELINE.value else []
        columns = ["label", "confidence", "uncertain", *(["set"] if _COVERAGE.value else [])]
        print(csv_line(["path", *start, *columns, *predictor.labels, "note", "error"]))
    results = predictor.predict_files(
        files,
        overlap=_OVERLAP.value,
        threshold=_THRESHOLD.value,
        coverage=_COVERAGE.value,
    )
    failed, pictures, folder = 0, set(), None
    if _EXPLAIN.value is not None:
        folder = explanations.Folder(_EXPLAIN.value, predictor.system, _EXPLAIN_METHOD.value)
    with progress.Progress("predict", total=len(files), unit="file") as bar:
        for path, result in results:
            has_failed, picture = isinstance(result, AudioError), None
            failed += has_failed
            if _TIMELINE.value and not has_failed:
                picture = _picture_name(path, pictures)
                _draw(picture, path, result, predictor.labels)
            lines = to_lines(path, result, predictor, picture)
            if folder is not None and not has_failed:
                # Of the label that is printed: with --overlap another may be the likeliest without.
                explain = functools.partial(
                    predictor.explain, label=result.label, method=_EXPLAIN_METHOD.value
                )
                lines = explanations.add(lines, _FORMAT.value, *folder.write(path, explain))
            with bar.printing():
                if has_failed and _FORMAT.value == "table":
                    print(printable(f"{path}: {result}"), file=sys.stderr, flush=True)
                else:
                    print(*lines, sep="\n", flush=True)
            bar.update()
    return failed


def _files(path: pathlib.Path, skipped: collections.Counter[str]) -> Iterator[pathlib.Path]:
    """Yield the file, or those of the folder; count its companions by suffix in `skipped`."""
    if not path.is_dir():
        yield path  # A missing file is reported with the others that cannot be read.
        return
    is_empty = True
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if hidden or not file.is_file():
            continue
        companion = _COMPANIONS.search(file.name)
        if companion:
            skipped[companion[0].lower()] += 1
            continue
        is_empty = False
        yield file
    if is_empty:
        raise command.UserError(f"{path}: no audio file in this folder; give another one")


def _table(path: str, prediction: Any, predictor: Any, picture: str | None) -> Iterable[str]:
    """Yield the name of the file, and its genres as bars."""
    words = [printable(path)]
    if prediction.note:
        words.append(f"({printable(prediction.note)})")
    words.extend(f"({printable(caution)})" for caution in prediction.cautions)
    from mgr_jax.evaluation.prediction import either, verdict

    if _COVERAGE.value is not None:
        words.append(f"{100 * _COVERAGE.value:g} %: {printable(either(prediction.label_set))}")
    elif prediction.uncertain:
        suffix = "" if predictor.calibrated else ", uncalibrated"
        doubt = printable(verdict(prediction))
        words.append(f"{doubt} (confidence {prediction.confidence:.2f}{suffix})")
    yield "  ".join(words)
    shown = list(prediction.probabilities.items())[: _TOP_K.value or None]
    width = max(len(label) for label, _ in shown)
    for label, probability in shown:
        yield f"  {label:{width}}  {probability:6.4f}  {'#' * round(40 * probability)}"
    if picture is not None:
        from mgr_jax.evaluation.reports import timeline

        for line in timeline.lines(prediction, predictor.labels):
            yield f"  {line}"
        yield f"  picture   {printable(picture)}"


def _json(path: str, result: Any, predictor: Any, picture: str | None) -> Iterable[str]:
    """Yield one object; `confidence` is that of `label`, calibrated if the model is."""
    if isinstance(result, Exception):
        yield json.dumps({"path": path, "error": str(result)})
        return
    values = {
        "path": path,
        "label": result.label,
        "probabilities": result.probabilities,
        "confidence": result.confidence,
        "uncertain": result.uncertain,
    }
    if result.label_set:
        values |= {"set": result.label_set, "coverage": _COVERAGE.value}
    if result.note:
        values["note"] = result.note
    if result.cautions:
        values["cautions"] = result.cautions
    if picture is not None:
        values["timeline"] = {
            "start_seconds": result.window_starts_seconds.tolist(),
            "window_seconds": result.window_seconds,
            "probabilities": dict(zip(predictor.labels, result.windows.T.tolist(), strict=True)),
            "unlike": result.unlike.tolist(),
            "picture": picture,
        }
    yield json.dumps(values)


def _csv(path: str, result: Any, predictor: Any, picture: str | None) -> Iterable[str]:
    """Yield a row, or with --timeline one for each window; the confidence is that of the file."""
    labels = predictor.labels
    if isinstance(result, Exception):
        empty = [""] * (len(labels) + 4 + _TIMELINE.value + (_COVERAGE.value is not None))
        yield csv_line([printable(path), *empty, printable(str(result))])
        return
    confidence = [f"{result.confidence:.6f}", str(result.uncertain).lower()]
    if result.label_set:
        confidence.append("; ".join(result.label_set))
    note = printable("; ".join(filter(None, (result.note, *result.cautions))))
    path = printable(path)
    if picture is None:
        values = [f"{result.probabilities[label]:.6f}" for label in labels]
        yield csv_line([path, result.label, *confidence, *values, note, ""])
        return
    for start, row in zip(result.window_starts_seconds, result.windows, strict=True):
        values = [*confidence, *(f"{value:.6f}" for value in row), note, ""]
        yield csv_line([path, f"{start:.3f}", labels[row.argmax()], *values])


def _picture_name(path: str, taken: set[str]) -> str:
    """Return the path for the timeline of a file; files of the same name get numbers."""
    stem = os.path.join(_OUTPUT.value, os.path.basename(path))
    picture, number = f"{stem}.timeline.png", 1
    while picture in taken:
        number += 1
        picture = f"{stem}.{number}.timeline.png"
    taken.add(picture)
    return picture


def _draw(picture: str, path: str, prediction: Any, labels: Sequence[str]) -> None:
    from mgr_jax.evaluation.reports import timeline

    title = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")
    timeline.draw(picture, prediction, labels, title)


if __name__ == "__main__":
    command.run(main)
