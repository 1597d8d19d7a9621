"""The report of an evaluation as one HTML file with embedded figures and without scripts."""

import base64
import pathlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from mgr_jax.evaluation.reports import few_tracks, sets_text, wording

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2429; --dim: #5b6770; --paper: #fbfaf7; --card: #fff;
  --line: #dfe3e6; --mark: #1f77b4; --good: #1b7f4d; --bad: #b3401a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebed; --dim: #9fabb3; --paper: #14181b; --card: #1d2327; --line: #333c42;
    --mark: #5fa8dc; --good: #58c48d; --bad: #f0875f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; }
p { margin: .6rem 0; }
.badge { display: inline-block; padding: .1rem .7rem; margin: 0 .3rem .4rem 0; font-size: .85rem;
  border: 1px solid currentColor; border-radius: 1rem; color: var(--dim); }
.badge.good { color: var(--good); } .badge.bad { color: var(--bad); }
.hero { display: grid; grid-template-columns: minmax(15rem, 2fr) 3fr; gap: 1.2rem 2.4rem;
  align-items: center; background: var(--card); border: 1px solid var(--line);
  border-radius: .8rem; padding: 1.4rem 1.6rem; margin: 1rem 0; }
.number { font-size: 3.4rem; line-height: 1.1; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.dim { color: var(--dim); font-size: .9rem; }
.verdict { font-size: 1.12rem; margin: 0; }
.scale { position: relative; height: .9rem; margin: .8rem 0 .3rem; border-radius: .45rem;
  background: var(--line); }
.scale span { position: absolute; top: 0; bottom: 0; border-radius: .45rem;
  background: var(--mark); opacity: .45; }
.scale i { position: absolute; top: -.25rem; bottom: -.25rem; width: 3px; margin-left: -1.5px;
  border-radius: 2px; background: var(--ink); }
.scale i.chance { width: 1px; background: var(--bad); }
.note { border-left: 4px solid var(--line); padding: .25rem .9rem; margin: .5rem 0; }
.note.bad { border-color: var(--bad); }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { padding: .4rem .8rem; text-align: left; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; }
td { max-width: 40rem; overflow-wrap: break-word; }
tr:last-child td { border-bottom: 0; }
.number-cell { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr));
  gap: 1rem; align-items: start; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: .6rem;
  padding: .6rem; }
figure img { display: block; width: 100%; height: auto; max-height: 34rem; object-fit: contain; }
figcaption { color: #5b6770; font-size: .85rem; padding: .3rem .3rem 0; }
code { display: block; overflow-wrap: anywhere; }
.wide + .figures { margin-top: 1rem; }
details { margin-top: 1rem; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 44rem) { main { padding: 1.2rem .8rem 3rem; }
  .hero { grid-template-columns: 1fr; padding: 1.1rem; } .number { font-size: 2.8rem; }
  th, td { padding: .35rem .5rem; } }
"""

_NUMBER = ' class="number-cell"'


def to_html(report: dict[str, Any], folder: pathlib.Path) -> str:
    """Return the page for the content of a `report.json`, with figures read from `folder`."""
    title = f"{report['system']} on {report['data']}, {report['part']} part"
    badges = "".join(
        f'<span class="badge {tone}">{escape(text)}</span>' for text, tone in wording.badges(report)
    )
    caveat = wording.caveat(report)
    body = [
        f"<header><h1>{escape(title)}</h1>{badges}</header>",
        _hero(report),
        *([note(caveat, "bad")] if caveat else []),
        *(note(line, "bad") for line in wording.warnings(report)),
        *_advice(report),
        heading("In figures"),
        table(["figure", "value"], wording.facts(report)),
        heading("By class"),
        table(*wording.classes(report), numbers=range(1, 6)),
        f'<p class="dim">{escape(wording.methods(report))}</p>',
        *_pictures(report["figures"], folder),
        heading("If it may stay silent"),
        table(*wording.abstention(report)),
        f'<p class="dim">{escape(wording.accuracy_methods(report))}</p>',
        *_sets(report),
    ]
    if report["mistakes"]:
        body += [heading("Most confident mistakes"), table(*wording.mistakes(report), numbers=(4,))]
    body += [heading("Where this comes from"), table(["what", "value"], wording.provenance(report))]
    if report["undefined"]:
        rows = list(report["undefined"].items())
        body.append("<details><summary>Not defined here, and why</summary>")
        body.append(table(["figure", "reason"], rows) + "</details>")
    body.append(f'<p class="dim">mgr_jax {escape(report["mgr_jax"])}</p>')
    return page(title, body)


def _advice(report: dict[str, Any]) -> list[str]:
    """Return the note on a small test part with its command; nothing for others."""
    text = few_tracks.describe(report)
    shown = f"{escape(text)}:<code>{escape(report['cross_validation'])}</code>" if text else ""
    return [f'<p class="note">{shown}</p>'] if text else []


def _sets(report: dict[str, Any]) -> list[str]:
    """Return the section on sets of genres; nothing if there are none."""
    if not report["sets"]:
        return []
    return [
        heading("Sets of genres"),
        table(*sets_text.coverages(report)),
        *(note(text, "plain") for text in sets_text.guarantees(report)),
        table(*sets_text.classes(report), numbers=(2,)),
        f'<p class="dim">{escape(sets_text.METHODS)}</p>',
    ]


def page(title: str, body: Iterable[str]) -> str:
    """Return a complete HTML page; `body` is HTML, `title` is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Return a heading."""
    return f"<h2>{escape(text)}</h2>"


def note(text: str, tone: str) -> str:
    """Return a highlighted remark; the tone `bad` marks what invalidates a number."""
    return f'<p class="note {tone}">{escape(text[:1].upper() + text[1:])}.</p>'


def paragraph(text: str) -> str:
    """Return a remark that may begin with a name, which is shown as it is."""
    return f'<p class="note plain">{escape(text)}</p>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    """Return a table of texts; the columns in `numbers` are right-aligned."""

    def row(cells: Sequence[str], tag: str) -> str:
        columns = (
            f"<{tag}{_NUMBER if i in numbers else ''}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(columns)}</tr>"

    lines = [row(cells, "td") for cells in rows]
    return f'<div class="wide"><table>{row(head, "th")}{"".join(lines)}</table></div>'


def _pictures(captions: dict[str, str], folder: pathlib.Path) -> list[str]:
    """Return the section of the pictures in `folder`, by file name; nothing without any."""
    if not captions:
        return []
    shown = figures({folder / name: text for name, text in captions.items()})
    return [heading("In pictures"), shown]


def figures(shown: dict[pathlib.Path, str]) -> str:
    """Return a grid of embedded pictures, from file -> caption."""
    parts = []
    for path, text in shown.items():
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(
            f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(text)}</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(parts)}</div>'


def scale(ends: Sequence[float] | None, value: float, *, chances: Iterable[float]) -> str:
    """Return a bar from 0 to 1 that marks an interval, a value and what guesses would get."""
    low, high = (100 * end for end in ends or (value, value))
    lines = (f'<i class="chance" style="left:{100 * chance:.1f}%"></i>' for chance in chances)
    return (
        f'<div class="scale"><span style="left:{low:.1f}%;width:{high - low:.1f}%"></span>'
        f"{''.join(lines)}"
        f'<i style="left:{100 * value:.1f}%"></i></div>'
    )


def _hero(report: dict[str, Any]) -> str:
    share, _, origin = wording.accuracy(report, report).partition(" % ")
    kind = ", 95 % intervals: " if report["ci95"] else " "
    chances = {1 / len(report["labels"]), wording.largest_class(report)[1] / report["n"]}
    lines = "line" if len(chances) == 1 else "lines"
    return (
        f'<section class="hero"><div><div class="number">{share} %</div>'
        f'<div class="dim">accuracy{kind}{escape(origin)}</div>'
        + scale(report["ci95"], report["accuracy"], chances=chances)
        + f'<div class="dim">0 to 100 %; thin {lines}: {escape(wording.chance(report))}</div>'
        f'</div><p class="verdict">{escape(wording.verdict(report))}</p></section>'
    )
