"""Accuracies of groups of tracks as text, Markdown, HTML and a picture, worst first."""

import json
import pathlib
import textwrap
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mgr_jax.escape import markdown as shown
from mgr_jax.evaluation import stats, subset_results
from mgr_jax.evaluation.compare import format_p
from mgr_jax.evaluation.reports import figure_files, html, markdown, wording
from mgr_jax.files import write_whole

PICTURE = "accuracy.png"
_SHOWN = 20  # Groups in the terminal and in the picture.
_BLUE, _GREY = "#1f77b4", "#5b6770"
_HEAD = ["column", "value", "right", "accuracy, 95 % interval", "points against the rest"]
_HEAD += ["p (Holm)"]


def write(folder: pathlib.Path, report: Mapping[str, Any]) -> None:
    """Write the page with its picture as `report.html`, `.md` and `.json` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / PICTURE, report)
    write_whole(folder / "report.md", to_markdown(report))
    write_whole(folder / "report.html", to_html(report, folder))
    write_whole(folder / "report.json", json.dumps(report, indent=1, allow_nan=False))


def to_text(report: Mapping[str, Any]) -> str:
    """Format the overall accuracy, the worst groups and the verdict for the terminal."""
    rows = [*map(_cells, report["rows"][:_SHOWN])]
    rows = [_HEAD, *rows] if rows else []
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(len(_HEAD))]
    lines = ["  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
    more = len(report["rows"]) - _SHOWN
    if more > 0:
        lines.append(f"... and {more} more, which do better")
    overall = stats.describe(report["overall"], report["protocol"])
    lines = [*report["notes"], f"all tracks {overall}", "", *(line.rstrip() for line in lines)]
    return "\n".join([*lines, "", subset_results.verdict(report), *_constant(report)])


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the page as Markdown, with the picture in the same folder."""
    overall = stats.describe(report["overall"], report["protocol"])
    notes = [*report["notes"], *_constant(report)]
    lines = [
        f"# {shown(title(report))}",
        "",
        f"**All tracks: {overall}.**",
        "",
        shown(subset_results.verdict(report)),
        "",
        *(f"- {shown(note)}" for note in notes),
        *([""] if notes else []),
        f"![accuracy by group]({PICTURE})",
        "",
        *markdown.text_table(_HEAD, map(_cells, report["rows"])),
        "",
        methods(report),
    ]
    return "\n".join([*lines, "", f"mgr_jax {report['mgr_jax']}", ""])


def to_html(report: Mapping[str, Any], folder: pathlib.Path) -> str:
    """Return the page as HTML, with the picture read from `folder`."""
    overall = stats.describe(report["overall"], report["protocol"])
    body = [
        f"<header><h1>{escape(title(report))}</h1></header>",
        html.paragraph(f"All tracks: {overall}"),
        html.paragraph(subset_results.verdict(report)),
        *(html.note(note, "plain") for note in [*report["notes"], *_constant(report)]),
        html.figures({folder / PICTURE: "accuracy by group, worst first"}),
        html.heading("In figures"),
        html.table(_HEAD, [*map(_cells, report["rows"])], numbers=(2, 4, 5)),
        f'<p class="dim">{escape(methods(report))}</p>',
        f'<p class="dim">mgr_jax {escape(report["mgr_jax"])}</p>',
    ]
    return html.page(title(report), body)


def title(report: Mapping[str, Any]) -> str:
    """Return the heading of the page."""
    return f"Where {report['system']} fails on {report['data']}, {report['part']} part"


def methods(report: Mapping[str, Any]) -> str:
    """Return the sentences that name the methods."""
    units = sorted({row["units"] for row in report["rows"]})
    return (
        f"{wording.accuracy_methods(report['overall'])} Each group is compared with all other"
        f" tracks by a permutation test (units: {' or '.join(units)}), p after Holm's correction"
        f" over {len(report['rows'])} groups. The interval and the test of one artist are by its"
        " tracks, those of other groups by whole artists. Numbers are in groups of about equal"
        " counts."
    )


def _constant(report: Mapping[str, Any]) -> list[str]:
    same = [f"{column} ({value})" for column, value in report["constant"].items()]
    return [f"the same for all tracks: {', '.join(same)}"] if same else []


def _cells(row: Mapping[str, Any]) -> list[str]:
    interval = f" {stats.describe_interval(row['ci95'])}" if row["ci95"] else ""
    return [
        row["column"],
        row["value"],
        f"{row['num_correct']} of {row['n']}",
        f"{100 * row['accuracy']:.1f} %{interval}",
        f"{100 * row['difference']:+.1f}",
        format_p(row["p_holm"]),
    ]


def draw(path: pathlib.Path, report: Mapping[str, Any]) -> None:
    """Draw the accuracies of the worst groups with their intervals."""
    rows = report["rows"][:_SHOWN]
    figure = Figure(figsize=(7.2, 1.4 + 0.28 * max(1, len(rows))), layout="constrained")
    axes = figure.add_subplot()
    for position, row in enumerate(rows):
        if row["ci95"]:
            ends = [100 * end for end in row["ci95"]]
            axes.plot(ends, [position] * 2, color=_BLUE, linewidth=4, alpha=0.35)
        face = _BLUE if row["distinguishable"] else "white"
        axes.plot(100 * row["accuracy"], position, color=_BLUE, marker="o", markerfacecolor=face)
    axes.axvline(100 * report["overall"]["accuracy"], color=_GREY, linestyle="--", linewidth=1)
    names = [textwrap.shorten(f"{r['column']} {r['value']}", 40) for r in rows]
    labels = [f"{name} ({row['n']})" for name, row in zip(names, rows, strict=True)]
    axes.set_yticks(np.arange(len(rows)), labels, size=8, parse_math=False)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.set_xlim(-2, 102)
    by = report["overall"]["grouped_by"]
    axes.set_xlabel(
        f"accuracy (%), line: 95 % interval by {by}; filled: distinguishable from the rest;"
        "\ndashed: all tracks; in brackets: tracks",
        size=8,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    figure.suptitle(textwrap.fill(title(report), 80), size=10, parse_math=False)
    figure_files.save(figure, path)
