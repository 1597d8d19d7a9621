"""The report of a cross-validation as text for the terminal and as a Markdown page."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.evaluation import stats
from mgr_jax.evaluation.cross_validation import GROUPED, RANDOM


def to_text(report: dict[str, Any]) -> str:
    """Format the accuracy of each protocol and the gap for the terminal."""
    lines = [f"{report['system']} on {report['data']}, {_size(report)}"]
    lines += [_headline(report, name) for name in report["protocols"]]
    if "leakage_gap" in report:
        lines.append(_describe_gap(report["leakage_gap"]))
    return "\n".join([*lines, *_remarks(report)])


def to_markdown(report: dict[str, Any]) -> str:
    """Format the report as a Markdown page."""
    lines = [f"# Cross-validation of {report['system']} on {report['data']}", ""]
    lines += [f"{_size(report)}.".capitalize(), ""]
    for name in report["protocols"]:
        lines += [f"- **{_headline(report, name)}**"]
    if "leakage_gap" in report:
        lines += [f"- **{_describe_gap(report['leakage_gap'])}**"]
    lines += [f"- {remark}" for remark in _remarks(report)]
    lines += [
        "",
        f"Intervals are of 95 %, by the bootstrap over {report['num_groups']} groups of tracks that"
        " an artist or a recording links. Below, the first interval of a seed and that of a fold"
        " are Wilson's, which take tracks for independent and are too narrow where artists repeat."
        " Folds of one seed share training tracks, so that their sd is no standard error.",
        "",
        "| protocol | seed | pooled accuracy | over groups | mean of folds, % | sd of folds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, protocol in report["protocols"].items():
        for seed in protocol["seeds"]:
            described = stats.describe_accuracy(seed["num_correct"], seed["n"], name)
            lines.append(
                f"| {name} | {seed['seed']} | {described} | {_bounds(seed['ci95_groups'])}"
                f" | {100 * seed['fold_mean']:.1f} | {_points(seed['fold_sd'])} |"
            )
    lines += [
        "",
        "| protocol | seed | fold | accuracy | artists on both sides | recordings | workdir |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, protocol in report["protocols"].items():
        for seed in protocol["seeds"]:
            for fold in seed["folds"]:
                where = f"{name}/seed{seed['seed']}/fold{fold['fold']}"
                described = stats.describe_accuracy(fold["num_correct"], fold["n"], name)
                lines.append(
                    f"| {name} | {seed['seed']} | {fold['fold']} | {described}"
                    f" | {fold['shared_artists']} | {fold['shared_recordings']} | `{where}` |"
                )
    return "\n".join([*lines, "", f"mgr_jax {report['mgr_jax']}", ""])


def _size(report: dict[str, Any]) -> str:
    return f"{report['num_folds']} folds x {report['num_seeds']} seed(s)"


def _headline(report: dict[str, Any], name: str) -> str:
    protocol = report["protocols"][name]
    seeds = "" if protocol["seed_sd"] is None else f"; sd over seeds {_points(protocol['seed_sd'])}"
    return (
        f"{name}: accuracy {100 * protocol['accuracy']:.1f} % {_bounds(protocol['ci95'])}"
        f" (n = {protocol['n']}, {name}); over folds {100 * protocol['fold_mean']:.1f} %,"
        f" sd {_points(protocol['fold_sd'])}{seeds}"
    )


def _describe_gap(gap: dict[str, Any]) -> str:
    return (
        f"leakage gap: {100 * gap['gap']:+.1f} points {_bounds(gap['ci95'])} (n = {gap['n']} tracks"
        f" in {gap['num_groups']} groups, {RANDOM} less {GROUPED})"
    )


def _remarks(report: dict[str, Any]) -> list[str]:
    lines = []
    if report["num_groups"] == report["num_tracks"]:
        lines.append(
            "the data name no artist and no recording of two tracks: both protocols draw tracks at"
            " random, and no gap can show what leaks"
        )
    for name, protocol in report["protocols"].items():
        folds = [fold for seed in protocol["seeds"] for fold in seed["folds"]]
        crossing = np.mean([fold["shared_artists"] for fold in folds])
        if crossing:
            lines.append(
                f"{name} leaks: {crossing:.1f} artist(s) per fold stand on both sides of the test"
                " part, so its accuracy is too high for music of new artists"
            )
    return lines


def _bounds(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "[no interval: all tracks agree]"
    return "[{:.1f}, {:.1f}]".format(*(100 * end for end in interval))


def _points(sd: float | None) -> str:
    return "unknown" if sd is None else f"{100 * sd:.1f}"
