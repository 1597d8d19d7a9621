"""The report of a cross-validation as text for the terminal and as a Markdown page."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.evaluation import intervals, stats
from mgr_jax.evaluation.cross_validation import GROUPED, RANDOM
from mgr_jax.evaluation.reports import markdown, wording
from mgr_jax.plural import plural

NO_GAP = (
    "the data name no artist and no recording of two tracks: both protocols draw tracks at random,"
    " and no gap can show what leaks"
)


def to_text(report: dict[str, Any]) -> str:
    """Format the accuracy of each protocol and the gap for the terminal."""
    lines = [f"{report['system']} on {report['data']}, {size(report)}"]
    lines += [headline(report, name) for name in report["protocols"]]
    if has_gap(report):
        lines.append(describe_gap(report))
    return "\n".join([*lines, *remarks(report)])


def to_markdown(report: dict[str, Any]) -> str:
    """Format the report as a Markdown page, with its figures in the same folder."""
    lines = [f"# Cross-validation of {report['system']} on {report['data']}", ""]
    lines += [f"{size(report)}.".capitalize(), ""]
    for name in report["protocols"]:
        lines += [f"- **{headline(report, name)}**"]
    if has_gap(report):
        lines += [f"- **{describe_gap(report)}**"]
    lines += [f"- {remark}" for remark in remarks(report)]
    lines += ["", methods(report), "", *markdown.table(*seeds(report))]
    lines += ["", *markdown.table(*folds(report, mark="`"))]
    for name, protocol in report["protocols"].items():
        if "per_class" in protocol:
            lines += ["", f"## By class: {name}", "", *markdown.text_table(*classes(report, name))]
    for name, text in report.get("figures", {}).items():
        lines += ["", f"![{text}]({name})"]
    return "\n".join([*lines, "", f"mgr_jax {report['mgr_jax']}", ""])


def seeds(report: dict[str, Any]) -> wording.Table:
    """Return the table of the accuracies of each protocol and seed."""
    rows = [
        [
            name,
            str(seed["seed"]),
            stats.describe(seed, name),
            f"{100 * seed['fold_mean']:.1f}",
            _points(seed["fold_sd"]),
        ]
        for name, protocol in report["protocols"].items()
        for seed in protocol["seeds"]
    ]
    return ["protocol", "seed", "pooled accuracy", "mean of folds, %", "sd of folds"], rows


def folds(report: dict[str, Any], *, mark: str = "") -> wording.Table:
    """Return the table of the accuracies of all folds, with `mark` on both sides of a workdir."""
    rows = [
        [
            name,
            str(seed["seed"]),
            str(fold["fold"]),
            stats.describe(fold, name),
            str(fold["shared_artists"]),
            str(fold["shared_recordings"]),
            f"{mark}{name}/seed{seed['seed']}/fold{fold['fold']}{mark}",
        ]
        for name, protocol in report["protocols"].items()
        for seed in protocol["seeds"]
        for fold in seed["folds"]
    ]
    head = ["protocol", "seed", "fold", "accuracy", "artists on both sides", "recordings"]
    return [*head, "workdir"], rows


def classes(report: dict[str, Any], name: str) -> wording.Table:
    """Return the metrics by class of the predictions of one protocol."""
    return wording.classes(report["protocols"][name] | {"grouped_by": report["grouped_by"]})


def provenance(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values on the origin of the results."""
    packages = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return [
        ("data", f"{report['data']}, hash {report['data_hash'][:12]}"),
        ("trained by", f"commit {report['git_commit'][:12] or 'unknown'}; {packages}"),
        ("workdirs of the folds", "PROTOCOL/seedK/foldI in this folder"),
    ]


def size(report: dict[str, Any]) -> str:
    """Return `5 folds x 3 seeds`."""
    return f"{plural(report['num_folds'], 'fold')} x {plural(report['num_seeds'], 'seed')}"


def methods(report: dict[str, Any]) -> str:
    """Return the sentences that name the method of each interval."""
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
    if has_gap(report):
        text += " That of the leakage gap is Agresti and Min's, with the same variances."
    text += f" Below, those by {by} are of one training" + (" each." if several else ".")
    text += " Folds of one seed share training tracks, so that their sd is no standard error."
    if several:
        text += " Metrics by class count the predictions of all seeds, and their intervals do not"
        text += " cover other trainings."
    return text


def headline(report: dict[str, Any], name: str) -> str:
    """Return the accuracy of a protocol with its intervals and spread."""
    protocol, by = report["protocols"][name], report["grouped_by"]
    groups = "" if by == "track" else f", {plural(protocol['num_groups'], by)}"
    seeds = "" if protocol["seed_sd"] is None else f"; sd over seeds {_points(protocol['seed_sd'])}"
    return (
        f"{name}: accuracy {100 * protocol['accuracy']:.1f} %"
        f" {_bounds(protocol['ci95'], report)} (n = {protocol['n']}{groups}, {name}); over folds"
        f" {100 * protocol['fold_mean']:.1f} %, sd {_points(protocol['fold_sd'])}{seeds}"
    )


def describe_gap(report: dict[str, Any]) -> str:
    """Return the leakage gap with its interval."""
    gap, by = report["leakage_gap"], report["grouped_by"]
    groups = "" if by == "track" else f", {plural(gap['num_groups'], by)}"
    return (
        f"leakage gap: {100 * gap['gap']:+.1f} points {_bounds(gap['ci95'], report)}"
        f" (n = {gap['n']}{groups}, {RANDOM} less {GROUPED})"
    )


def verdict(report: dict[str, Any]) -> str:
    """Return a few sentences on the meaning of the accuracies, of `main_protocol` first."""
    name, by = main_protocol(report), report["grouped_by"]
    protocol = report["protocols"][name]
    others = f" by other {by}s" if name == GROUPED and by != "track" else ""
    text = f"Each of {plural(protocol['n'], 'track')} was tested"
    text += f" {report['num_seeds']} times" if report["num_seeds"] > 1 else " once"
    text += ", by models that had not learned from it"
    text += f" or from other tracks of its {by}." if others else "."
    if protocol["ci95"]:
        low, high = (100 * end for end in protocol["ci95"])
        text += f" On other music of this kind{others and f', {others.strip()},'} expect between"
        text += f" {low:.0f} and {high:.0f} in a hundred."
        if low <= 100 / len(report["labels"]) <= high:
            text += " It is not distinguishable from guessing."
    if has_gap(report):
        gap = report["leakage_gap"]
        text += f" Where {by}s cross the parts ({RANDOM}), it is {_difference(gap['gap'])}."
        ends = gap["ci95"]
        if not ends or ends[0] <= 0 <= ends[1]:
            text += (
                f" That is not distinguishable from no difference on {plural(gap['n'], 'track')}."
            )
        elif ends[0] > 0:
            text += f" A test on known {by}s makes this system look better than it is."
    return text


def main_protocol(report: dict[str, Any]) -> str:
    """Return the protocol whose accuracy is that for new artists, if there is one."""
    return GROUPED if GROUPED in report["protocols"] else next(iter(report["protocols"]))


def _difference(gap: float) -> str:
    return f"{abs(100 * gap):.1f} points {'higher' if gap >= 0 else 'lower'}"


def has_gap(report: dict[str, Any]) -> bool:
    """Return whether the two protocols differ, so that their gap says what leaks."""
    return "leakage_gap" in report and report["num_groups"] < report["num_tracks"]


def remarks(report: dict[str, Any]) -> list[str]:
    """Return what the accuracies do not show, and what leaks."""
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
