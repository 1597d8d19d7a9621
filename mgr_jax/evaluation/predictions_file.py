"""Predictions of somebody else, in a CSV file, as a side of a comparison.

A line a track, with the columns of our `predictions.csv`: `track_id`, and `predicted` or the
probability of every class under its name; `label` where known. Other usual names of these columns
are read too, and names of files as in `data.split_file`.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mgr_jax.data import tables
from mgr_jax.data.catalog import Track, clean_label
from mgr_jax.data.split_file import ID_COLUMNS, matcher
from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare, pooled

_TRUE = ("label", "true", "truth", "genre", "y_true", "true_label", "ground_truth", "target")
_PREDICTED = ("predicted", "prediction", "pred", "y_pred", "predicted_label", "predicted_genre")

Row = Mapping[str, str]


def read_all(paths: Sequence[str], names: Sequence[str], part: str) -> list[compare.Evaluation]:
    """Read the sides of a comparison: workdirs, folders of folds, CSV files of predictions.

    Args:
      paths: the workdirs and files. names: a name for each. part: part of the workdirs.

    Raises:
      UserError: see `compare.read` and `read`; and if no path is a workdir, which has the truth.
    """
    is_file = [os.path.isfile(path) or path.lower().endswith(".csv") for path in paths]
    runs = {
        path: pooled.read_one(path, part) for path, f in zip(paths, is_file, strict=True) if not f
    }
    if not runs:
        raise UserError("workdirs: only files; give a workdir too, which has the true labels")
    known = names[is_file.index(False)], next(iter(runs.values()))
    return [runs[path] if path in runs else read(path, *known) for path in paths]


def read(path: str, name: str, like: compare.Evaluation) -> compare.Evaluation:
    """Read a CSV of predictions; the true classes and the groups are those of `like`.

    Args:
      path: the file.
      name: name of the run `like`.
      like: an evaluation on the same tracks.

    Raises:
      UserError: if the file cannot be read, has other tracks or other true labels, or predicts an
        unknown class.
    """
    classes = {_key(label): label for label in like.report["labels"]}
    known = (ID_COLUMNS, _TRUE, _PREDICTED)
    try:
        table = tables.read_table(path, known=[*itertools.chain(*known), *classes])
        if not table.rows:
            raise ValueError("it has no rows")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"workdirs: {path} cannot be read ({reason}); give a CSV file") from error
    rows, shown = table.rows, tables.describe(table.names, table.delimiter)
    id_column, true_column, predicted_column = (
        next((name for name in columns if name in table.names and name not in classes), None)
        for columns in known
    )
    if id_column is None:
        raise UserError(f"workdirs: {path}: column 'track_id' is missing; {shown}; add it")
    row_of = _by_track(path, rows, id_column, name, like)
    if true_column:
        differ = [
            f"{track!r} is {row_of[track][true_column]!r} there and {label!r} in {name}"
            for track, label in zip(like.ids, like.labels, strict=True)
            if _key(row_of[track][true_column]) != _key(label)
        ]
        if differ:
            raise UserError(
                f"workdirs: {path}: other labels for {len(differ)} of {len(like.ids)} tracks"
                f" ({differ[0]}); compare systems that were tested on the same labels"
            )
    if predicted_column:
        predicted = [row_of[track][predicted_column] for track in like.ids]
        unknown = [label for label in predicted if _key(label) not in classes]
        if unknown:
            raise UserError(
                f"workdirs: {path}: {len(unknown)} predictions are no class of {name}"
                f" ({unknown[0]!r}); its classes are {', '.join(classes.values())}"
            )
        predicted = [classes[_key(label)] for label in predicted]
    else:
        predicted = _most_probable(path, table, [row_of[track] for track in like.ids], classes)
    correct = np.array([p == t for p, t in zip(predicted, like.labels, strict=True)], bool)
    report = {field: like.report[field] for field in ("data", "part", "labels", "split_hash")}
    report |= {"system": "predictions", "protocol": compare.FROM_FILE, "checkpoint_step": None}
    report |= {"per_class": {}, "shared_artists": [], "shared_recordings": []}
    report |= {"n": len(correct), "num_correct": int(correct.sum())}
    return compare.Evaluation(
        path, report, like.ids, like.labels, correct, like.groups, like.grouped_by
    )


def _key(label: str) -> str:
    """Return `label` without differences of case, spaces and Unicode form."""
    return clean_label(label).casefold()


def _by_track(
    path: str, rows: Sequence[Row], column: str, name: str, like: compare.Evaluation
) -> dict[str, Row]:
    """Return track id -> row; names of files are matched to the ids of `like`."""
    match = matcher([Track(track, "", "") for track in like.ids])
    row_of: dict[str, Row] = {}
    others = 0
    for row in rows:
        track = match(row[column])
        if track in row_of:
            raise UserError(f"workdirs: {path}: track {track!r} is there twice; keep one line")
        if track is None:
            others += 1
        else:
            row_of[track] = row
    missing = [track for track in like.ids if track not in row_of]
    if missing or others:
        example = f" ({missing[0]!r})" if missing else ""
        raise UserError(
            f"workdirs: different test sets: {path} lacks {len(missing)} of the {len(like.ids)}"
            f" tracks of {name}{example} and has {others} other; give predictions for exactly these"
        )
    return row_of


def _most_probable(
    path: str, table: tables.Table, rows: Sequence[Row], classes: Mapping[str, str]
) -> list[str]:
    """Return the class of the highest probability of each row."""
    columns = {_key(name): name for name in table.names}
    missing = [label for key, label in classes.items() if key not in columns]
    if missing:
        raise UserError(
            f"workdirs: {path}: no column 'predicted', and none for class {missing[0]!r};"
            f" {tables.describe(table.names, table.delimiter)}; add the predicted classes"
        )
    # Spreadsheets of some languages write 0,5; the columns are then separated otherwise.
    comma = "," if table.delimiter != "," else "."
    try:
        values: Any = np.array(
            [[float(row[columns[key]].replace(comma, ".")) for key in classes] for row in rows]
        )
    except ValueError as error:
        raise UserError(f"workdirs: {path}: a probability is no number ({error})") from error
    if not np.isfinite(values).all():
        raise UserError(f"workdirs: {path}: a probability is not finite; correct the file")
    labels = list(classes.values())
    return [labels[i] for i in values.argmax(axis=1)]
