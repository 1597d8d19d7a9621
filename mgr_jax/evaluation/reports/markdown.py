"""The report of an evaluation as a Markdown page, with figures in the same folder."""

from collections.abc import Iterable, Sequence
from typing import Any

from mgr_jax.evaluation.reports import wording


def to_markdown(report: dict[str, Any]) -> str:
    """Return the page for the content of a `report.json`."""
    badges = " · ".join(f"`{text}`" for text, _ in wording.badges(report))
    notes = [line for line in (wording.by_artist(report), *wording.warnings(report)) if line]
    lines = [
        f"# {report['system']} on {report['data']}, {report['part']} part",
        "",
        badges,
        "",
        f"**{wording.headline(report)}**",
        "",
        wording.verdict(report),
        "",
        *(f"- {note}" for note in notes),
        *([""] if notes else []),
        *table(["figure", "value"], wording.facts(report)),
        "",
        *table(*wording.classes(report)),
        "",
        "Intervals are of a bootstrap over tracks, by artist where artists repeat; a ratio with"
        " nothing to count is 0.",
    ]
    for name, text in report["figures"].items():
        lines += ["", f"![{text}]({name})"]
    lines += ["", "## If it may stay silent", "", *table(*wording.abstention(report))]
    if report["mistakes"]:
        lines += ["", "## Most confident mistakes", "", *table(*wording.mistakes(report))]
    lines += ["", "## Where this comes from", ""]
    lines += table(["what", "value"], wording.provenance(report))
    if report["undefined"]:
        lines += ["", "## Not defined here", ""]
        lines += [f"- `{name}`: {why}" for name, why in report["undefined"].items()]
    return "\n".join([*lines, "", f"mgr_jax {report['mgr_jax']}", ""])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return lines + [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]


def _cell(text: str) -> str:
    """Escape the bars of `text`, which would end the cell."""
    return text.replace("|", r"\|")
