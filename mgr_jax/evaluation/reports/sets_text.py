"""Sentences and tables on sets of genres, for the terminal and the report; see `set_results`."""

from collections.abc import Mapping
from typing import Any

from mgr_jax.evaluation import stats

# Coverage that is shown by class.
_SHOWN = 0.9

METHODS = (
    "Hierarchical conformal prediction (Lee, Barber and Willett 2023): each artist has the same"
    " weight. What is guaranteed is the share with each artist counting once, over many"
    " calibrations, for other artists of the same kind. The interval of a mean size is Agresti and"
    " Min's at the effective number of tracks."
)


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return the line for the terminal; none if there are no sets."""
    for row in report.get("sets") or ():
        if row["coverage"] == _SHOWN:
            share = f"{100 * row['held']['accuracy']:.1f} % {_interval(row['held']['ci95'])}"
            return [
                f"sets of {100 * _SHOWN:g} %: hold the genre of {share} of the tracks; mean size"
                f" {row['mean_size']:.2f} of {len(report['labels'])}"
            ]
    return []


def guarantees(report: Mapping[str, Any]) -> list[str]:
    """Return the sentence on what sets promise, and those of coverages that promise otherwise."""
    texts = {row["coverage"]: row["guarantee"] for row in report.get("sets") or ()}
    rest = {coverage: text.partition(",")[2] for coverage, text in texts.items()}
    return [text for c, text in texts.items() if c == _SHOWN or rest[c] != rest[_SHOWN]]


def coverages(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of what sets of each coverage hold, and their size."""
    by = report["grouped_by"]
    rows = []
    for row in report["sets"]:
        single, size = row["single"], row["mean_size"]
        ends = row["mean_size_ci95"]
        interval = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""
        cells = [
            f"{100 * row['coverage']:g} %",
            stats.describe(row["held"], report["protocol"]),
            f"{100 * row['by_group']['share']:.1f} % {_interval(row['by_group']['ci95'])}",
            f"{size:.2f}{interval}",
            stats.describe(single, report["protocol"]) if single else "none",
        ]
        rows.append(cells if by != "track" else [*cells[:2], *cells[3:]])
    head = ["sets of", "hold the genre", f"each {by} once", "genres in a set, mean"]
    if by == "track":
        del head[2]
    return [*head, "sets of one genre, right"], rows


def classes(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the sets of 90 % by class."""
    (row,) = (row for row in report["sets"] if row["coverage"] == _SHOWN)
    rows = [
        [
            name,
            stats.describe(values["held"], report["protocol"]),
            f"{values['mean_size']:.2f}",
        ]
        for name, values in row["per_class"].items()
        if values
    ]
    return ["class", f"sets of {100 * _SHOWN:g} % hold it", "genres in a set, mean"], rows


def _interval(ends: Any) -> str:
    return stats.describe_interval(ends) if ends else "(no interval)"
