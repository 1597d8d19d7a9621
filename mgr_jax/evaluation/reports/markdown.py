"""The report of an evaluation as a Markdown page, with figures in the same folder."""

from collections.abc import Iterable, Sequence
from typing import Any

from mgr_jax.escape import markdown
from mgr_jax.evaluation.reports import few_tracks, sets_text, wording


def to_markdown(report: dict[str, Any]) -> str:
    """Return the page for the content of a `report.json`."""
    badges = " · ".join(f"`{text}`" for text, _ in wording.badges(report))
    notes = [line for line in (wording.caveat(report), *wording.warnings(report)) if line]
    lines = [
        f"# {report['system']} on {report['data']}, {report['part']} part",
        "",
        badges,
        "",
        f"**{wording.headline(report)}**",
        "",
        markdown(wording.verdict(report)),
        "",
        *(f"- {markdown(note)}" for note in notes),
        *([""] if notes else []),
        *_advice(report),
        *text_table(["figure", "value"], wording.facts(report)),
        "",
        *text_table(*wording.classes(report)),
        "",
        wording.methods(report),
    ]
    for name, text in report["figures"].items():
        lines += ["", f"![{text}]({name})"]
    lines += ["", "## If it may stay silent", "", *text_table(*wording.abstention(report))]
    lines += ["", wording.accuracy_methods(report)]
    if report["sets"]:
        lines += ["", "## Sets of genres", "", *text_table(*sets_text.coverages(report)), ""]
        lines += [f"- {markdown(text)}" for text in sets_text.guarantees(report)]
        lines += ["", *text_table(*sets_text.classes(report)), "", sets_text.METHODS]
    if report["mistakes"]:
        lines += ["", "## Most confident mistakes", "", *text_table(*wording.mistakes(report))]
    lines += ["", "## Where this comes from", ""]
    lines += text_table(["what", "value"], wording.provenance(report))
    if report["undefined"]:
        lines += ["", "## Not defined here", ""]
        rows = report["undefined"].items()
        lines += [f"- {markdown(name)}: {markdown(why)}" for name, why in rows]
    return "\n".join([*lines, "", f"mgr_jax {report['mgr_jax']}", ""])


def _advice(report: dict[str, Any]) -> list[str]:
    """Return the lines on a small test part with its command; none for others."""
    text = few_tracks.describe(report)
    return [f"{text}:", "", "```bash", report["cross_validation"], "```", ""] if text else []


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; cells may have markup."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return lines + [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table of names and other text, shown as it is."""
    lines = [f"| {' | '.join(map(markdown, row))} |" for row in (head, *rows)]
    return [lines[0], f"|{' --- |' * len(head)}", *lines[1:]]


def _cell(text: str) -> str:
    """Escape the bars of `text`, which would end the cell."""
    return text.replace("|", r"\|")
