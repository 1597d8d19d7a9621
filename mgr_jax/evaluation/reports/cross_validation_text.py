"""The report of a cross-validation as text for the terminal and as a Markdown page."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.evaluation import intervals, stats
from mgr_jax.evaluation.cross_validation import GROUPED, RANDOM
from mgr_jax.plural import plural

NO_GAP = (
    "the data name no artist and no recording of two tracks: both protocols draw tracks at random,"
    " and no gap can show what leaks"
)


def to_text(report: dict[str, Any]) -> str:
    """Format the accuracy of each protocol and the gap for the terminal."""
    lines = [f"{report['system']} on {report['data']}, {_size(report)}"]
    lines += [_headline(report, name) for name in report["protocols"]]
    if _has_gap(report):
        lines.append(_describe_gap(report))
    return "\n".join([*lines, *_remarks(report)])


def to_markdown(report: dict[str, Any]) -> str:
    """Format the report as a Markdown page."""
    lines = [f"# Cross-validation of {report['system']} on {report['data']}", ""]
    lines += [f"{_size(report)}.".capitalize(), ""]
    for name in report["protocols"]:
        lines += [f"- **{_headline(report, name)}**"]
    if _has_gap(report):
        lines += [f"- **{_describe_gap(report)}**"]
    lines += [f"- {remark}" for remark in _remarks(report)]
    lines += [
        "",
        _methods(report),
        "",
        "| protocol | seed | pooled accuracy | mean of folds, % | sd of folds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, protocol in report["protocols"].items():
        for seed in protocol["seeds"]:
            lines.append(
                f"| {name} | {seed['seed']} | {stats.describe(seed, name)}"
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
                lines.append(
                    f"| {name} | {seed['seed']} | {fold['fold']} | {stats.describe(fold, name)}"
                    f" | {fold['shared_artists']} | {fold['shared_recordings']} | `{where}` |"
                )
    return "\n".join([*lines, "", f"mgr_jax {report['mgr_jax']}", ""])


def _size(report: dict[str, Any]) -> str:
    return f"{plural(report['num_folds'], 'fold')} x {plural(report['num_seeds'], 'seed')}"


def _methods(report: dict[str, Any]) -> str:
    by, several = report["grouped_by"], report["num_seeds"] > 1
    text = "Intervals are of 95 %. The first ones cover other tracks"
    text += "" if by == "track" else f" by other {by}s"
    text += " and other trainings" if several else ", for this one training only"
    text += (
        f": Wilson's at the effective number of tracks, with variances between {by}s"
        f"{' and between seeds' if several else ''} and Student's t."
        if several or by != "track"
        else ": Wilson's."
    )
    if _has_gap(report):
        text += " That of the leakage gap is Agresti and Min's, with the same variances."
    text += f" Below, those by {by} are of one training" + (" each." if several else ".")
    return f"{text} Folds of one seed share training tracks, so that their sd is no standard error."


def _headline(report: dict[str, Any], name: str) -> str:
    protocol, by = report["protocols"][name], report["grouped_by"]
    groups = "" if by == "track" else f", {plural(protocol['num_groups'], by)}"
    seeds = "" if protocol["seed_sd"] is None else f"; sd over seeds {_points(protocol['seed_sd'])}"
    return (
        f"{name}: accuracy {100 * protocol['accuracy']:.1f} %"
        f" {_bounds(protocol['ci95'], report)} (n = {protocol['n']}{groups}, {name}); over folds"
        f" {100 * protocol['fold_mean']:.1f} %, sd {_points(protocol['fold_sd'])}{seeds}"
    )


def _describe_gap(report: dict[str, Any]) -> str:
    gap, by = report["leakage_gap"], report["grouped_by"]
    groups = "" if by == "track" else f", {plural(gap['num_groups'], by)}"
    return (
        f"leakage gap: {100 * gap['gap']:+.1f} points {_bounds(gap['ci95'], report)}"
        f" (n = {gap['n']}{groups}, {RANDOM} less {GROUPED})"
    )


def _has_gap(report: dict[str, Any]) -> bool:
    """Return whether the two protocols differ, so that their gap says what leaks."""
    return "leakage_gap" in report and report["num_groups"] < report["num_tracks"]


def _remarks(report: dict[str, Any]) -> list[str]:
    lines = []
    unknown, total = report["unknown_artists"], report["num_tracks"]
    if report["num_groups"] == total:
        lines.append(NO_GAP)
    elif unknown:
        of = f"of {unknown} of {plural(total, 'track')} no artist is known"
        lines.append(f"{of}: {GROUPED} may have some on both sides of the test part")
    for name, protocol in report["protocols"].items():
        folds = [fold for seed in protocol["seeds"] for fold in seed["folds"]]
        crossing = np.mean([fold["shared_artists"] for fold in folds])
        if crossing:
            lines.append(
                f"{name} leaks: {crossing:.1f} artists per fold are on both sides of the test part,"
                " so its accuracy is too high for music of new artists"
            )
    return lines


def _bounds(interval: Sequence[float] | None, report: dict[str, Any]) -> str:
    """Format an interval with what it covers."""
    by = report["grouped_by"]
    if interval is None:
        return f"[no interval: there is one {by} only]"
    low, high = (100 * end for end in interval)
    few = by != "track" and report["num_groups"] < intervals.MIN_GROUPS
    seeds = " and seed" if report["num_seeds"] > 1 else ""
    return f"[{low:.1f}, {high:.1f}] by {by}{seeds}{', roughly' if few else ''}"


def _points(sd: float | None) -> str:
    return "unknown" if sd is None else f"{100 * sd:.1f}"
