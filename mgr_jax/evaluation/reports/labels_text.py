"""The doubted labels of an audit as text, and as a page in HTML or Markdown."""

import pathlib
from collections.abc import Mapping
from typing import Any

from mgr_jax.escape import markdown as escaped
from mgr_jax.escape import printable
from mgr_jax.evaluation import stats
from mgr_jax.evaluation.reports import html, markdown
from mgr_jax.files import write_whole
from mgr_jax.plural import plural

# Rows that are printed; the JSON and the page have all of them.
_SHOWN = 12
_HEAD = ["rank", "track", "label", "rather", "label wrong with probability", "confident learning"]


def to_text(labels: Mapping[str, Any]) -> str:
    """Format `report["labels"]` of an audit for the terminal."""
    lines = [f"labels    {line}" for line in _sentences(labels)]
    conflicts = labels["conflicts"]
    if conflicts:
        lines += ["", f"same audio under two labels ({len(conflicts)}):"]
        lines += [f"  {printable(_conflict(row))}" for row in conflicts]
    rows = labels["rows"] or []
    if rows:
        width = max(len(row["track"]) for row in rows[:_SHOWN])
        lines += ["", f"doubted labels ({len(rows)}), and the probability that each is wrong:"]
        lines += [
            printable(
                f"  {row['rank']:4d}  {row['track']:{width}}  {row['given']}, rather"
                f" {row['suggested']}  {row['doubt']:.2f}"
            )
            for row in rows[:_SHOWN]
        ]
        if rows[_SHOWN:]:
            lines.append(f"  ... and {len(rows) - _SHOWN} more; --json=FILE or --page=FILE has all")
    return "\n".join(lines)


def write_page(path: pathlib.Path, data: str, labels: Mapping[str, Any]) -> None:
    """Write the page: HTML, or Markdown if the name of the file ends in `.md`.

    Raises:
      OSError: if it cannot be written.
    """
    title = f"Labels of {data}"
    conflicts = [[_conflict(row)] for row in labels["conflicts"]]
    rows = [
        [
            str(row["rank"]),
            row["track"],
            row["given"],
            row["suggested"],
            f"{row['doubt']:.2f}",
            "wrong" if row["confident"] else "",
        ]
        for row in labels["rows"] or []
    ]
    if path.suffix.lower() == ".md":
        lines = [f"# {escaped(title)}", ""]
        lines += [f"- {escaped(text)}" for text in _sentences(labels)]
        if conflicts:
            lines += ["", *markdown.text_table(["same audio under two labels"], conflicts)]
        if rows:
            lines += ["", *markdown.text_table(_HEAD, rows)]
        write_whole(path, "\n".join([*lines, ""]))
        return
    body = [html.heading(title), *(html.paragraph(text) for text in _sentences(labels))]
    if conflicts:
        body += [html.heading("Same audio under two labels"), html.table(["pair"], conflicts)]
    if rows:
        body += [html.heading("Doubted labels"), html.table(_HEAD, rows, numbers=(0, 4))]
    write_whole(path, html.page(title, body))


def _sentences(labels: Mapping[str, Any]) -> list[str]:
    """Return what was computed, and the share of wrong labels."""
    if labels["rows"] is None:
        return [f"{labels['reason']}: only the same audio under two labels can be shown"]
    agreement, ends = labels["agreement"], labels["share_ci95"]
    by = "artist" if agreement["num_groups"] < agreement["n"] else "track"
    interval = f" {stats.describe_interval(ends)}" if ends else f", no interval: too few {by}s"
    method = f", bootstrap over {plural(agreement['num_groups'], by)}" if ends else ""
    low = (agreement["ci95"] or [0])[0]
    doubt = [
        "the models are not distinguishable from guessing: the rest says nothing of the labels"
    ]
    return [
        f"{plural(agreement['n'], 'track')} scored by {labels['method']}: the label is the most"
        f" probable genre of {100 * agreement['accuracy']:.1f} %",
        *(doubt if low <= 1 / labels["num_classes"] else []),
        f"share of wrong labels {100 * labels['share']:.1f} %{interval}, if the models are sure of"
        f" nothing but what is right (mixture with any other label{method}); by confident learning"
        f" {100 * labels['confident_share']:.1f} %, which counts music between genres as well",
    ]


def _conflict(row: Mapping[str, Any]) -> str:
    sides = zip(row["tracks"], row["labels"], strict=True)
    return " = ".join(f"{track} ({label})" for track, label in sides) + f": {row['evidence']}"
