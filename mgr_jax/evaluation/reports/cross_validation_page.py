"""The report of a cross-validation as a folder: JSON, Markdown, one HTML file and its figures."""

import json
import pathlib
from html import escape
from typing import Any

import numpy as np

from mgr_jax.evaluation.reports import cross_validation_text as words
from mgr_jax.evaluation.reports import html, plots, protocol_plot
from mgr_jax.files import write_whole

PAGE = "report.html"
_OVERVIEW = "protocols.png"


def write(folder: pathlib.Path, report: dict[str, Any]) -> None:
    """Write the figures of a report of `cross_validation.make_report`, and its pages.

    The report gets the field `figures`, file name -> caption. `report.json` comes last, so that it
    exists only if all else does.

    Raises:
      OSError: if a file cannot be written.
    """
    report["figures"] = _draw(folder, report)
    write_whole(folder / "report.md", words.to_markdown(report))
    write_whole(folder / PAGE, to_html(report, folder))
    write_whole(folder / "report.json", json.dumps(report, indent=1))


def to_html(report: dict[str, Any], folder: pathlib.Path) -> str:
    """Return the page for a report, with figures read from `folder`."""
    title = _title(report)
    body = [
        f"<header><h1>{escape(title)}</h1>{_badges(report)}</header>",
        _hero(report),
        *(html.note(line, "bad") for line in words.remarks(report)),
        html.figures({folder / _OVERVIEW: report["figures"][_OVERVIEW]}),
        html.heading("Accuracy by protocol"),
        html.table(["protocol", "result"], _results(report)),
        f'<p class="dim">{escape(words.methods(report))}</p>',
    ]
    main = words.main_protocol(report)
    for name in sorted(report["protocols"], key=lambda name: name != main):
        if "per_class" in report["protocols"][name]:
            own = {f: text for f, text in report["figures"].items() if f.startswith(f"{name}_")}
            body.append(html.heading(f"By class: {name}"))
            body.append(html.table(*words.classes(report, name), numbers=range(1, 6)))
            body.append(html.figures({folder / f: text for f, text in own.items()}))
    body += [html.heading("By seed"), html.table(*words.seeds(report), numbers=(1, 3, 4))]
    folds = html.table(*words.folds(report), numbers=(1, 2, 4, 5))
    body.append(f"<details><summary>By fold</summary>{folds}</details>")
    if "data_hash" in report:
        rows = words.provenance(report)
        body += [html.heading("Where this comes from"), html.table(["what", "value"], rows)]
    body.append(f'<p class="dim">mgr_jax {escape(report["mgr_jax"])}</p>')
    return html.page(title, body)


def _title(report: dict[str, Any]) -> str:
    return f"Cross-validation of {report['system']} on {report['data']}"


def _badges(report: dict[str, Any]) -> str:
    texts = [*report["protocols"], words.size(report), f"{report['num_tracks']} tracks"]
    if report["grouped_by"] != "track":
        texts.append(f"{report['num_groups']} {report['grouped_by']}s")
    return "".join(f'<span class="badge plain">{escape(text)}</span>' for text in texts)


def _results(report: dict[str, Any]) -> list[list[str]]:
    """Return name and value of the accuracy and macro F1 of each protocol, and of the gap."""
    rows = []
    for name, protocol in report["protocols"].items():
        rows.append([name, words.headline(report, name).partition(": ")[2]])
        if "per_class" in protocol:
            ends = protocol["f1_ci95"]["macro avg"]
            by = f"by {report['grouped_by']}"
            interval = f"[{ends[0]:.3f}, {ends[1]:.3f}] {by}" if ends else f"no interval {by}"
            f1 = protocol["per_class"]["macro avg"]["f1"]
            rows.append([name, f"macro F1 {f1:.3f} {interval} (n = {protocol['n']}, {name})"])
    if words.has_gap(report):
        rows.append(["leakage gap", words.describe_gap(report).partition(": ")[2]])
    return rows


def _hero(report: dict[str, Any]) -> str:
    name = words.main_protocol(report)
    protocol, chance = report["protocols"][name], 1 / len(report["labels"])
    _, _, origin = words.headline(report, name).partition(" % ")
    return (
        '<section class="hero"><div>'
        f'<div class="number">{100 * protocol["accuracy"]:.1f} %</div>'
        f'<div class="dim">accuracy, 95 % interval {escape(origin.partition(";")[0])}</div>'
        + html.scale(protocol["ci95"], protocol["accuracy"], chances=[chance])
        + f'<div class="dim">0 to 100 %; thin line: chance {100 * chance:.0f} %</div>'
        f'</div><p class="verdict">{escape(words.verdict(report))}</p></section>'
    )


def _draw(folder: pathlib.Path, report: dict[str, Any]) -> dict[str, str]:
    """Draw the figures; return file name -> caption."""
    has_gap, title = words.has_gap(report), f"{_title(report)}, {words.size(report)}"
    heading = f"{title}\n{words.describe_gap(report)}" if has_gap else title
    protocol_plot.draw(folder / _OVERVIEW, report, heading, with_gap=has_gap)
    gap = " and their difference, the leakage gap," if has_gap else ""
    figures = {_OVERVIEW: f"accuracies of the protocols{gap} with 95 % intervals"}
    for name, protocol in report["protocols"].items():
        if "per_class" not in protocol:
            continue
        described = f"{_title(report)}\n{words.headline(report, name).partition('; over')[0]}"
        matrix, labels = np.array(protocol["confusion_matrix"]), report["labels"]
        for normalised in (False, True):
            path = folder / f"{name}_confusion{'_normalised' * normalised}.png"
            plots.confusion_matrix(path, matrix, labels, described, normalised=normalised)
            figures[path.name] = f"{name}: confusion matrix of the predictions of all folds" + (
                ", each row in per cent of its class" * normalised
            )
        by = f"by {report['grouped_by']}"
        unit = "tracks" if report["num_seeds"] == 1 else "predictions of all seeds"
        path, ends = folder / f"{name}_f1.png", protocol["f1_ci95"]
        plots.f1_bars(path, protocol["per_class"], ends, described, method=by, unit=unit)
        figures[path.name] = f"{name}: F1 by class, with 95 % intervals {by}"
    return figures
