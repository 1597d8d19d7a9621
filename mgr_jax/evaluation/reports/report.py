"""The report of an evaluation: pages, tables and figures in `eval/<part>/` of a workdir."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mgr_jax.data import folds
from mgr_jax.data.catalog import Track
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.evaluation import calibration, conformal, results, set_results
from mgr_jax.evaluation.reports import few_tracks, html, markdown, plots, provenance, wording
from mgr_jax.files import csv_text, write_whole
from mgr_jax.version import VERSION
from mgr_jax.workdir import Run, read_metrics

_NUM_MISTAKES = 10


def write_report(
    run: Run,
    dataset: Dataset,
    part: str,
    scores: np.ndarray,
    *,
    checkpoint_step: int,
    seconds: float | None = None,
    calibration_tracks: conformal.Calibration | None = None,
    with_figures: bool = True,
) -> dict[str, Any]:
    """Write `eval/<part>/` in the workdir.

    Args:
      run: the workdir.
      dataset: the data set of the scored part.
      part: `train`, `valid` or `test`.
      scores: log-probabilities of its tracks [N, C].
      checkpoint_step: step of the checkpoint that computed the scores.
      seconds: duration of the evaluation; None if not measured.
      calibration_tracks: for sets of genres; None for those of the workdir.
      with_figures: draw the figures, which takes about a second.

    Returns:
      The content of `report.json`.

    Raises:
      UserError: if the folder cannot be written, or a score is NaN.
    """
    if np.isnan(scores).any():
        name = dataset.parts[part].ids[int(np.isnan(scores).any(axis=1).argmax())]
        raise UserError(
            f"workdir {run.path}: the model gives no number for {name}; use another checkpoint,"
            " or train anew with a lower optim.learning_rate"
        )
    folder = run.path / "eval" / part
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with provenance.counted_evaluation(run, part, checkpoint_step=checkpoint_step) as number:
            report = make_report(
                run,
                dataset,
                part,
                scores,
                checkpoint_step=checkpoint_step,
                seconds=seconds,
                calibration_tracks=calibration_tracks,
            )
            report["times_evaluated"] = number
            return _write(folder, run, dataset, report, scores, with_figures)
    except OSError as error:
        raise UserError(
            f"workdir {run.path}: {error.filename or folder} cannot be written"
            f" ({error.strerror or error}); make room, or make it writable"
        ) from error


def make_report(
    run: Run,
    dataset: Dataset,
    part: str,
    scores: np.ndarray,
    *,
    checkpoint_step: int,
    seconds: float | None = None,
    calibration_tracks: conformal.Calibration | None = None,
) -> dict[str, Any]:
    """Return the results of an evaluation as JSON values; see `write_report` for the arguments.

    The fields are those of `results.measure`, `sets` (of `set_results.measure`, None if there are
    none), and system, data, protocol, shared artists, missing tracks, mistakes and `provenance`.
    """
    tracks = _tracks(dataset, part)
    truth = true_classes(run, dataset, part)
    # If another array file is scored, its split replaces that of the run.
    wanted = getattr(dataset.split, part)
    is_other = wanted != getattr(run.split, part)
    errors = dataset.clips.errors()
    group_of = folds.group_ids(tracks)
    groups = [group_of[track.id] for track in tracks]
    temperature = calibration.load_temperature(run.path, checkpoint_step=checkpoint_step)
    grouped_by = "artist" if any(track.artist for track in tracks) else "recording"
    measured = results.measure(
        scores, truth, run.labels, groups=groups, grouped_by=grouped_by, temperature=temperature
    )
    shown = scores if temperature is None else calibration.scale(scores, temperature)
    if calibration_tracks is None:
        calibration_tracks = calibration.load_tracks(run.path, checkpoint_step=checkpoint_step)
    sets = None
    if calibration_tracks is None:
        measured["undefined"]["sets"] = "no calibration tracks were scored for this checkpoint"
    elif calibration_tracks.part == part:
        measured["undefined"]["sets"] = "tracks of this part have calibrated the sets"
    else:
        sets = set_results.measure(
            shown, truth, run.labels, calibration_tracks, groups=groups, grouped_by=grouped_by
        )
    return {
        "system": run.config.model.name,
        "data": dataset.catalog.name,
        "part": part,
        "protocol": run.split.protocol,
        **measured,
        "sets": sets,
        "without_faulty": results.without_faulty(
            [track.id for track in tracks], scores.argmax(axis=1) == truth, groups
        ),
        "mistakes": _mistakes(tracks, truth, shown, run.labels),
        "checkpoint_step": checkpoint_step,
        **provenance.known_artists(run, dataset, part),
        "shared_artists": list(dataset.split.shared_artists),
        "shared_recordings": list(dataset.split.shared_recordings),
        "skipped": {name: errors[name] for name in wanted if name in errors},
        "missing": sorted(set(wanted) - {track.id for track in tracks} - errors.keys()),
        "data_hash": run.record["data_hash"],
        "scored_data_hash": dataset.catalog.hash() if is_other else "",
        "split_hash": run.record["split_hash"],
        "mgr_jax": VERSION,
        "provenance": provenance.describe(run, seconds=seconds),
        "cross_validation": few_tracks.command(run, dataset.catalog)
        if part == "test" and len(tracks) < few_tracks.FEW
        else "",
    }


def true_classes(run: Run, dataset: Dataset, part: str) -> np.ndarray:
    """Return the classes of the scored tracks [N], as indices of the model's labels.

    The data may lack a class of the model, so that its own indices may differ.
    """
    return np.array([run.labels.index(track.label) for track in _tracks(dataset, part)], int)


def _tracks(dataset: Dataset, part: str) -> list[Track]:
    """Return the scored tracks, in the order of the scores."""
    by_id = {track.id: track for track in dataset.catalog.tracks}
    return [by_id[name] for name in dataset.parts[part].ids]


def _write(
    folder: pathlib.Path,
    run: Run,
    dataset: Dataset,
    report: dict[str, Any],
    scores: np.ndarray,
    with_figures: bool,
) -> dict[str, Any]:
    tracks = _tracks(dataset, report["part"])
    predictions = [
        [track.id, track.label, run.labels[row.argmax()], *(f"{p:.6f}" for p in np.exp(row))]
        for track, row in zip(tracks, scores, strict=True)
    ]
    head = ["track_id", "label", "predicted", *run.labels]
    write_whole(folder / "predictions.csv", csv_text(head, predictions))
    group_of = folds.group_ids(tracks)
    head = ["track_id", "group", "artist", "recording"]
    rows = [(t.id, group_of[t.id], t.artist, t.recording) for t in tracks]
    write_whole(folder / "tracks.csv", csv_text(head, rows))
    records = [r for r in read_metrics(run.path) if "layer" not in r]
    report["figures"] = _draw(folder, report, records) if with_figures else {}
    write_whole(folder / "report.md", markdown.to_markdown(report))
    write_whole(folder / "report.html", html.to_html(report, folder))
    # Written last and atomically, so that a report exists only if it is complete.
    write_whole(folder / "report.json", json.dumps(report, indent=1, allow_nan=False))
    return report


def _draw(
    folder: pathlib.Path, report: dict[str, Any], records: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """Draw the figures; return file name -> caption."""
    title = f"{report['system']} on {report['data']}, {report['part']} part"
    described = f"{title}\naccuracy {wording.accuracy(report, report)}"
    matrix, labels = np.array(report["confusion_matrix"]), report["labels"]
    plots.confusion_matrix(folder / "confusion_matrix.png", matrix, labels, described)
    plots.confusion_matrix(
        folder / "confusion_matrix_normalised.png", matrix, labels, described, normalised=True
    )
    plots.f1_bars(
        folder / "f1.png",
        report["per_class"],
        report["f1_ci95"],
        described,
        method=wording.method(report),
    )
    plots.reliability(folder / "reliability.png", report, described)
    plots.abstention(folder / "abstention.png", report["abstention"], described)
    figures = {
        "confusion_matrix.png": "confusion matrix",
        "confusion_matrix_normalised.png": "confusion matrix, each row in per cent of its class",
        "f1.png": f"F1 by class, {wording.with_intervals(report)}",
        "reliability.png": "reliability: confidence and how often it was right",
        "abstention.png": "abstention: accuracy of what is still answered,"
        f" {wording.with_intervals(report)}",
    }
    curves = _curves(records)
    if curves:
        curves(folder / "learning_curves.png", records, title)
        figures["learning_curves.png"] = "learning curves"
    return figures


def _curves(records: Sequence[dict[str, Any]]) -> Callable[..., None] | None:
    """Return the function that draws the records of `metrics.jsonl`, or None."""
    if not records:
        return None
    if "epoch" in records[0]:
        return plots.learning_curves
    return plots.regularisation_path if "l2" in records[0] else None


def _mistakes(
    tracks: Sequence[Track], truth: np.ndarray, scores: np.ndarray, labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the mistakes of highest confidence."""
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    wrong = wrong[np.argsort(-scores.max(axis=1)[wrong], kind="stable")][:_NUM_MISTAKES]
    return [
        {
            "id": tracks[i].id,
            "file": printable(tracks[i].file_name),
            "true": labels[int(truth[i])],
            "predicted": labels[int(predicted[i])],
            "probability": float(np.exp(scores[i, predicted[i]])),
        }
        for i in wrong
    ]
