"""Show 50 tags of songs over time: `python -m experiments.tags SONG...`.

The same as `python -m experiments.predict --model=musicnn SONG...`, with its flags.
"""

import json
import pathlib
import runpy
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from experiments import command, explanations
from mgr_jax.escape import printable
from mgr_jax.files import csv_line

_TOP_K = 5


def is_tagger(name: str) -> bool:
    """Return whether `name` is MusiCNN or a folder of `experiments.import_musicnn`."""
    return name == "musicnn" or (pathlib.Path(name) / "labels.txt").is_file()


def run(
    name: str,
    files: Sequence[str],
    *,
    style: str,
    top_k: int,
    keep: str | None,
    explain: str | None = None,
) -> int:
    """Print the tags of the files, one after the other; return how many failed.

    Args:
      name: see `is_tagger`.
      files: paths of audio files.
      style: `table`, `json` or `csv`. top_k: tags of a line of a table; 0 shows 5.
      keep: `.npz` file for the embeddings [W, 200] of all windows, each with the `track_id` (the
        path) and `start_seconds`; None keeps none.
      explain: folder for explanations of the most probable tag; None makes none.
    """
    import numpy as np

    if keep is not None and not keep.endswith(".npz"):
        raise command.UserError(f"--embeddings {keep or '(empty)'}: give a file that ends in .npz")
    if keep is not None:
        command.output_file("embeddings", keep)
    from mgr_jax import devices, progress
    from mgr_jax import tagger as tagger_lib
    from mgr_jax.data.audio import AudioError
    from mgr_jax.explain import tags as tags_lib

    with progress.Progress("load", "the model"):
        tagger = tagger_lib.load(name)
    print(devices.describe(), file=sys.stderr, flush=True)
    if style == "csv":
        labels = map(printable, tagger.labels)
        print(csv_line(["path", "start_seconds", *labels, "note", "error"]))
    to_lines = {"table": _table, "json": _json, "csv": _csv}[style]
    failed, kept = 0, []
    folder = explanations.Folder(explain) if explain is not None else None
    explainer = tags_lib.TagExplainer(tagger)
    with progress.Progress("tags", total=len(files), unit="file") as bar:
        for path, result in tagger.tag_files(files):
            with bar.printing():
                if not isinstance(result, AudioError):
                    lines = to_lines(path, result, top_k or _TOP_K)
                    if folder is not None:
                        files_of = folder.write(path, explainer.explain)
                        lines = explanations.add(lines, style, *files_of)
                    print(*lines, sep="\n", flush=True)
                    kept.append((path, result))
                else:
                    failed += 1
                    _print_error(path, result, style, len(tagger.labels))
            bar.update()
    if keep is not None:
        if not kept:
            raise command.UserError(f"--embeddings {keep}: no file could be read")
        counts = [len(tags.embeddings) for _, tags in kept]
        try:
            np.savez(
                keep,
                embedding=np.concatenate([tags.embeddings for _, tags in kept]),
                track_id=np.repeat([path for path, _ in kept], counts),
                start_seconds=np.concatenate([tags.window_starts_seconds for _, tags in kept]),
            )
        except OSError as error:
            raise command.UserError(
                f"--embeddings {keep}: cannot be written ({error.strerror or error})"
            ) from error
    return failed


def _table(path: str, tags: Any, top_k: int) -> Iterator[str]:
    """Yield the name of the file, its tags on average, and those of each window."""
    yield printable(f"{path}  ({tags.note})" if tags.note else path)
    yield f"  whole song    {_top_tags(tags.mean, top_k)}"
    for start, row in zip(tags.window_starts_seconds, tags.probabilities, strict=True):
        order = (-row).argsort(kind="stable")
        values = {tags.labels[i]: row[i] for i in order}
        end = min(start + tags.window_seconds, tags.duration_seconds)
        yield f"  {start:5.1f} - {end:5.1f} s  {_top_tags(values, top_k)}"


def _top_tags(values: dict[str, float], top_k: int) -> str:
    first = list(values.items())[:top_k]
    return ", ".join(f"{printable(name)} {value:.2f}" for name, value in first)


def _json(path: str, tags: Any, _: int) -> Iterable[str]:
    """Yield one object: the tags on average, and each over time."""
    values = {
        "path": path,
        "tags": tags.mean,
        "timeline": {
            "start_seconds": tags.window_starts_seconds.tolist(),
            "window_seconds": tags.window_seconds,
            "probabilities": dict(zip(tags.labels, tags.probabilities.T.tolist(), strict=True)),
        },
    }
    yield json.dumps(values | ({"note": tags.note} if tags.note else {}))


def _csv(path: str, tags: Any, _: int) -> Iterator[str]:
    """Yield a row for each window."""
    for start, row in zip(tags.window_starts_seconds, tags.probabilities, strict=True):
        values = [f"{value:.6f}" for value in row]
        yield csv_line([printable(path), f"{start:.3f}", *values, printable(tags.note), ""])


def _print_error(path: str, error: Exception, style: str, num_labels: int) -> None:
    if style == "table":
        print(printable(f"{path}: {error}"), file=sys.stderr, flush=True)
    elif style == "json":
        print(json.dumps({"path": path, "error": str(error)}), flush=True)
    else:
        values = [printable(path), *[""] * (num_labels + 2), printable(str(error))]
        print(csv_line(values), flush=True)


if __name__ == "__main__":
    sys.argv.insert(1, "--model=musicnn")
    runpy.run_module("experiments.predict", run_name="__main__", alter_sys=True)
