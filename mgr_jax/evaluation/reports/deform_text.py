"""The effect of deformations as text, Markdown, HTML and a picture."""

import json
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from mgr_jax.escape import markdown as shown
from mgr_jax.evaluation import deformed, stats
from mgr_jax.evaluation.compare import format_p
from mgr_jax.evaluation.reports import figure_files, html, markdown, wording
from mgr_jax.files import write_whole

PICTURE = "accuracy.png"
_PER_ROW = 5  # Panels of the picture.
_FALLING = ("lowpass", "mp3")  # Lower strengths change more.
_BLUE, _GREY = "#1f77b4", "#5b6770"
_HEAD = ["deformation", "accuracy, 95 % interval", "difference in points", "p (Holm)", "flips"]
_HEAD += ["loses most"]
_FLIP_HEAD = ["track", "true", "answer to the track as it is", "other answers"]


def write(folder: pathlib.Path, report: Mapping[str, Any]) -> None:
    """Write the page with its picture as `report.html`, `.md` and `.json` to `folder`."""
    draw(folder / PICTURE, report)
    write_whole(folder / "report.md", to_markdown(report))
    write_whole(folder / "report.html", to_html(report, folder))
    write_whole(folder / "report.json", json.dumps(report, indent=1, allow_nan=False))


def to_text(report: Mapping[str, Any]) -> str:
    """Format the clean accuracy, a line for each row, and the verdict for the terminal."""
    clean = stats.describe(report["clean"], report["protocol"])
    lines = [*report["notes"], f"as it is {clean}", "", *map(line, report["rows"])]
    return "\n".join([*lines, "", deformed.verdict(report)])


def line(row: Mapping[str, Any]) -> str:
    """Return one row for the terminal, once all are compared."""
    cells = _cells(row)
    flips = "flip" if cells[4] == "1" else "flips"
    return f"{cells[0]:24}{cells[1]:24}{cells[2]:26}p = {cells[3]:8}{cells[4]:>4} {flips}"


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the page as Markdown, with the picture in the same folder."""
    lines = [
        f"# {shown(title(report))}",
        "",
        f"**Accuracy as it is: {stats.describe(report['clean'], report['protocol'])}.**",
        "",
        shown(deformed.verdict(report)),
        "",
        *(f"- {shown(note)}" for note in report["notes"]),
        *([""] if report["notes"] else []),
        f"![accuracy by strength]({PICTURE})",
        "",
        *markdown.text_table(_HEAD, _rows(report)),
        "",
        methods(report),
        "",
        "## Answers that change",
        "",
        *markdown.text_table(_FLIP_HEAD, _flips(report)),
    ]
    return "\n".join([*lines, "", f"mgr_jax {report['mgr_jax']}", ""])


def to_html(report: Mapping[str, Any], folder: pathlib.Path) -> str:
    """Return the page as HTML, with the picture read from `folder`."""
    body = [
        f"<header><h1>{escape(title(report))}</h1></header>",
        html.paragraph(f"Accuracy as it is: {stats.describe(report['clean'], report['protocol'])}"),
        html.paragraph(deformed.verdict(report)),
        *(html.note(note, "bad") for note in report["notes"]),
        html.figures({folder / PICTURE: "accuracy by strength of the deformation"}),
        html.heading("In figures"),
        html.table(_HEAD, _rows(report), numbers=(3, 4)),
        f'<p class="dim">{escape(methods(report))}</p>',
        html.heading("Answers that change"),
        html.table(_FLIP_HEAD, _flips(report)),
        f'<p class="dim">mgr_jax {escape(report["mgr_jax"])}</p>',
    ]
    return html.page(title(report), body)


def title(report: Mapping[str, Any]) -> str:
    """Return the heading of the page."""
    return f"{report['system']} on deformed tracks of {report['data']}, {report['part']} part"


def methods(report: Mapping[str, Any]) -> str:
    """Return the sentences that name the methods and the units."""
    meanings = "; ".join(f"{name}: {text}" for name, text in report["meanings"].items())
    return (
        f"{wording.accuracy_methods(report['clean'])} Differences are to the tracks as they are,"
        f" tested by the {report['test']}, inverted and widened for the interval; p after Holm's"
        f" correction over {len(report['rows'])} rows, intervals before it. A flip is a track whose"
        f" answer changes. Strengths: {meanings}. Draws of seed {report['seed']}."
    )


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    return [[*_cells(row), deformed.worst_class(row, report["clean"])] for row in report["rows"]]


def _cells(row: Mapping[str, Any]) -> list[str]:
    interval = f" {stats.describe_interval(row['ci95'])}" if row["ci95"] else ""
    difference = f"{100 * row['difference']:+.1f}"
    if row["difference_ci95"]:
        difference += " [{:+.1f}, {:+.1f}]".format(*(100 * x for x in row["difference_ci95"]))
    accuracy = f"{100 * row['accuracy']:.1f} %{interval}"
    return [row["name"], accuracy, difference, format_p(row["p_holm"]), str(len(row["flips"]))]


def _flips(report: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for track in deformed.flips_by_track(report):
        answers = "; ".join(
            f"{label} ({', '.join(names)})" for label, names in track["answers"].items()
        )
        rows.append([track["id"], track["true"], track["clean"], answers])
    return rows


def draw(path: pathlib.Path, report: Mapping[str, Any]) -> None:
    """Draw the accuracy by strength, a panel for each deformation, with intervals."""
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rows"]:
        panels.setdefault(row["deformation"], []).append(row)
    columns = min(_PER_ROW, len(panels))
    num_rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(4.6, 2.5 * columns), 2.5 * num_rows + 0.8), layout="constrained")
    grid = figure.subplots(num_rows, columns, squeeze=False, sharey=True).ravel()
    for axes, (name, rows) in zip(grid, panels.items(), strict=False):
        _draw_panel(axes, name, rows, report)
    for axes in grid[len(panels) :]:
        axes.remove()
    by = report["clean"]["grouped_by"]
    figure.supylabel("accuracy (%)", size=9)
    figure.supxlabel(
        f"line: 95 % interval by {by}; filled: distinguishable from the tracks as they are"
        " (dashed); dotted: chance",
        size=8,
    )
    width = int(11 * figure.get_size_inches()[0])
    figure.suptitle(textwrap.fill(title(report), width), size=10, parse_math=False)
    figure_files.save(figure, path)


def _draw_panel(
    axes: Any, name: str, rows: Sequence[Mapping[str, Any]], report: Mapping[str, Any]
) -> None:
    clean = report["clean"]
    axes.axhline(100 * clean["accuracy"], color=_GREY, linestyle="--", linewidth=1)
    axes.axhline(100 / len(report["labels"]), color=_GREY, linestyle=":", linewidth=1)
    rows = sorted(rows, key=lambda row: row["strength"], reverse=name in _FALLING)
    strengths = [row["strength"] for row in rows]
    # The tracks as they are stand where the strength is 0: before the others, or between signs.
    first = sum(strength < 0 for strength in strengths) if min(strengths) < 0 else 0
    shown = [*rows[:first], clean, *rows[first:]]
    axes.plot([100 * row["accuracy"] for row in shown], color=_BLUE, linewidth=1)
    for position, row in enumerate(shown):
        color = _GREY if row is clean else _BLUE
        if row["ci95"]:
            ends = [100 * end for end in row["ci95"]]
            axes.plot([position] * 2, ends, color=color, linewidth=4, alpha=0.35)
        face = color if row.get("distinguishable") else "white"
        axes.plot(position, 100 * row["accuracy"], color=color, marker="o", markerfacecolor=face)
    names = ["none" if row is clean else f"{row['strength']:g}" for row in shown]
    axes.set_xticks(range(len(shown)), names, size=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.set_ylim(0, 102)
    axes.set_title(f"{name} ({rows[0]['unit']})", size=9, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
