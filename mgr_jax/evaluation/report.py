"""The report of an evaluation: `report.json`, `report.md`, `predictions.csv` and figures."""

import csv
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mgr_jax import __version__
from mgr_jax.data import splits
from mgr_jax.data.dataset import Dataset
from mgr_jax.errors import UserError
from mgr_jax.evaluation import metrics, plots, stats
from mgr_jax.training.writer import read_metrics
from mgr_jax.workdir import Run

_NUM_MISTAKES = 10


def write_report(
    run: Run, dataset: Dataset, part: str, scores: np.ndarray, *, checkpoint_step: int
) -> dict[str, Any]:
    """Writes `eval/<part>/` in the workdir.

    Args:
      run: the workdir.
      dataset: where `dataset.parts[part]` was read from.
      part: `train`, `valid` or `test`.
      scores: log-probabilities of its tracks `[N, C]`.
      checkpoint_step: step of the checkpoint that gave them.

    Returns:
      The content of `report.json`.

    Raises:
      UserError: if the folder cannot be written.
    """
    folder = run.path / "eval" / part
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_report(folder, run, dataset, part, scores, checkpoint_step)
    except OSError as error:
        raise UserError(
            f"--workdir {run.path}: {folder} cannot be written ({error.strerror or error}); make"
            " it writable"
        ) from error


def _write_report(
    folder: pathlib.Path,
    run: Run,
    dataset: Dataset,
    part: str,
    scores: np.ndarray,
    checkpoint_step: int,
) -> dict[str, Any]:
    report = make_report(run, dataset, part, scores, checkpoint_step=checkpoint_step)
    report["times_evaluated"] = _times_evaluated(folder) + 1
    ids, truth = dataset.parts[part].ids, _truth(run, dataset, part)
    system = f"{run.config.model.name} on {dataset.catalog.name}"
    described = stats.describe_accuracy(report["num_correct"], report["n"], report["protocol"])
    matrix = np.array(report["confusion_matrix"])
    title = f"{system}, {part} part\naccuracy {described}"
    plots.confusion_matrix(folder / "confusion_matrix.png", matrix, run.labels, title)
    records = read_metrics(run.path)
    draw = _curves(records)
    if draw:
        draw(folder / "learning_curves.png", records, system)
    _write_predictions(folder / "predictions.csv", ids, truth, scores, run.labels)
    mistakes = _mistakes(ids, truth, scores, run.labels)
    text = to_markdown(report, mistakes, has_curves=draw is not None)
    (folder / "report.md").write_text(text, encoding="utf-8")
    # Last and at once: it counts the evaluations.
    partial = folder / "report.json.partial"
    partial.write_text(json.dumps(report, indent=1), encoding="utf-8")
    os.replace(partial, folder / "report.json")
    return report


def make_report(
    run: Run, dataset: Dataset, part: str, scores: np.ndarray, *, checkpoint_step: int
) -> dict[str, Any]:
    """The facts of an evaluation as JSON values; see `write_report`."""
    ids, truth = dataset.parts[part].ids, _truth(run, dataset, part)
    matrix = metrics.confusion_matrix(truth, scores.argmax(axis=1), len(run.labels))
    num_correct, n = int(np.trace(matrix)), len(ids)
    wanted = getattr(run.split, part)
    errors = dataset.clips.errors()
    return {
        "system": run.config.model.name,
        "data": dataset.catalog.name,
        "part": part,
        "protocol": run.split.protocol,
        "accuracy": num_correct / n,
        "ci95": list(stats.wilson_interval(num_correct, n)),
        "n": n,
        "num_correct": num_correct,
        "log_loss": metrics.log_loss(scores, truth),
        "labels": list(run.labels),
        "confusion_matrix": matrix.tolist(),
        "per_class": metrics.per_class(matrix, run.labels),
        "checkpoint_step": checkpoint_step,
        "shared_artists": list(run.split.shared_artists),
        "shared_recordings": list(run.split.shared_recordings),
        "skipped": {name: errors[name] for name in wanted if name in errors},
        "missing": sorted(set(wanted) - set(ids) - errors.keys()),
        "data_hash": run.record["data_hash"],
        "split_hash": run.record["split_hash"],
        "mgr_jax": __version__,
    }


def _truth(run: Run, dataset: Dataset, part: str) -> np.ndarray:
    """Classes of the tracks `[N]` as the model numbers them.

    The data at hand may lack one of the model's classes, and would number the rest otherwise.
    """
    label_of = {track.id: track.label for track in dataset.catalog.tracks}
    return np.array([run.labels.index(label_of[name]) for name in dataset.parts[part].ids], int)


def _curves(records: Sequence[dict[str, Any]]) -> Callable[..., None] | None:
    """The figure that shows the records of `metrics.jsonl`, if there is one."""
    if not records:
        return None
    if "epoch" in records[0]:
        return plots.learning_curves
    return plots.regularisation_path if "l2" in records[0] else None


def to_text(report: dict[str, Any]) -> str:
    """The headline, what the split lets cross, and the table by class, for a terminal."""
    lines = [_headline(report), *_warnings(report), "", _table(report)]
    return "\n".join(lines)


def to_markdown(
    report: dict[str, Any], mistakes: Sequence[dict[str, Any]], *, has_curves: bool
) -> str:
    """The report as a page that reads by itself; figures lie beside it."""
    lines = [
        f"# {report['system']} on {report['data']}, {report['part']} part",
        "",
        f"**{_headline(report)}**",
        "",
        *(f"- {warning}" for warning in _warnings(report)),
        f"- log loss {report['log_loss']:.3f} nats; checkpoint of step"
        f" {report['checkpoint_step']}; this part was evaluated {report['times_evaluated']}"
        " time(s) in this workdir",
        "",
        "| class | precision | recall | F1 | support |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in report["per_class"].items():
        values = " | ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        lines.append(f"| {_cell(name)} | {values} | {row['support']} |")
    lines += ["", "![confusion matrix](confusion_matrix.png)"]
    if has_curves:
        lines += ["", "![learning curves](learning_curves.png)"]
    if mistakes:
        lines += [
            "",
            "## Most confident mistakes",
            "",
            "| track | true | predicted | probability |",
        ]
        lines.append("| --- | --- | --- | --- |")
        lines += [
            f"| {_cell(m['id'])} | {_cell(m['true'])} | {_cell(m['predicted'])}"
            f" | {m['probability']:.2f} |"
            for m in mistakes
        ]
    hashes = f"data {report['data_hash'][:12]}, split {report['split_hash'][:12]}"
    lines += ["", f"mgr_jax {report['mgr_jax']}; {hashes}; `split.csv` lists the parts.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """`text` in a Markdown table, where a bar would end the cell."""
    return text.replace("|", r"\|")


def _headline(report: dict[str, Any]) -> str:
    described = stats.describe_accuracy(report["num_correct"], report["n"], report["protocol"])
    return f"accuracy {described}; 95 % Wilson interval; chance {100 / len(report['labels']):.0f} %"


def _warnings(report: dict[str, Any]) -> list[str]:
    lines = []
    if report["protocol"] == splits.IMPORTED:
        lines.append(
            "the model was trained elsewhere, perhaps on these very tracks: this is no accuracy on"
            " unseen music"
        )
    if report["shared_artists"] or report["shared_recordings"]:
        lines.append(
            f"this split leaks: {len(report['shared_artists'])} artist(s) and"
            f" {len(report['shared_recordings'])} recording(s) stand on both sides of the test"
            " part, so the accuracy is too high"
        )
    for field, what in (("skipped", "cannot be read"), ("missing", "missing from the data")):
        names = list(report[field])
        if names:
            more = ", ..." if names[5:] else ""
            lines.append(f"{len(names)} track(s) {what}: {', '.join(names[:5])}{more}")
    return lines


def _table(report: dict[str, Any]) -> str:
    width = max(len(name) for name in report["per_class"])
    lines = [f"{'':{width}}  precision  recall      f1  support"]
    for name, row in report["per_class"].items():
        lines.append(
            f"{name:{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  {row['f1']:6.3f}"
            f"  {row['support']:7d}"
        )
    return "\n".join(lines)


def _mistakes(
    ids: Sequence[str], truth: np.ndarray, scores: np.ndarray, labels: Sequence[str]
) -> list[dict[str, Any]]:
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    wrong = wrong[np.argsort(-scores.max(axis=1)[wrong], kind="stable")][:_NUM_MISTAKES]
    return [
        {
            "id": ids[i],
            "true": labels[truth[i]],
            "predicted": labels[predicted[i]],
            "probability": float(np.exp(scores[i, predicted[i]])),
        }
        for i in wrong
    ]


def _write_predictions(
    path: pathlib.Path,
    ids: Sequence[str],
    truth: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["track_id", "label", "predicted", *labels])
        for name, true, row in zip(ids, truth, scores, strict=True):
            probabilities = [f"{p:.6f}" for p in np.exp(row)]
            writer.writerow([name, labels[true], labels[row.argmax()], *probabilities])


def _times_evaluated(folder: pathlib.Path) -> int:
    try:
        earlier = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return int(earlier["times_evaluated"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
