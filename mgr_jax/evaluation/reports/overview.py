"""An overview of several runs as `comparison.md`, `comparison.html` and `comparison.json`."""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mgr_jax import escape
from mgr_jax.errors import UserError
from mgr_jax.evaluation import calibration_error, compare
from mgr_jax.evaluation.reports import compare_text, html, markdown, plots, published, wording
from mgr_jax.plural import plural


def write_overview(workdirs: Sequence[str], part: str, output: str) -> list[dict[str, Any]]:
    """Write the overview of evaluated workdirs.

    Only runs with the same test set are compared; each test set has a section of its own.

    Args:
      workdirs: one or more; the folds `DIR/<protocol>/seed<k>` of a cross-validation count as one.
      part: `train`, `valid` or `test`.
      output: folder to write to.

    Returns:
      The content of `comparison.json`: the result of `compare.compare` for each test set, best
      system first.

    Raises:
      UserError: if a workdir was not evaluated or has several trainings, or `output` cannot be
        written.
    """
    groups = published.sections(published.read(workdirs, part))
    for system in (system for group in groups for system in group):
        if len(system.seeds) > 1:
            raise UserError(
                f"{system.name}: has {plural(len(system.seeds), 'training')}, for which"
                " cross_validate writes the page (report.html in its folder); give one of them,"
                " DIR/<protocol>/seed<k>, or --format=latex,csv,pdf for tables and figures of all"
            )
    folder = pathlib.Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sections, pages, lines = [], [], []
        for i, group in enumerate(groups):
            systems, chosen = [s.seeds[0] for s in group], [s.name for s in group]
            describe = compare.compare if len(systems) > 1 else compare.describe_part
            section = describe(systems, chosen)
            figures = _draw(folder, section, systems, prefix=f"{i}_" if i else "")
            tables = list(_tables(section, systems))
            sections.append(section)
            pages += _html(section, tables, {folder / name: text for name, text in figures.items()})
            lines += _markdown(section, tables, figures)
        title = f"{plural(sum(map(len, groups)), 'run')}, {part} part"
        notice = []
        if len(sections) > 1:
            notice = [
                f"these runs have {len(sections)} different test sets; accuracies of different test"
                " sets cannot be compared"
            ]
        text = "\n".join([f"# {title}", "", *(f"- {line}" for line in notice), *lines, ""])
        (folder / "comparison.md").write_text(text, encoding="utf-8")
        body = [f"<h1>{title}</h1>", *(html.note(line, "bad") for line in notice), *pages]
        (folder / "comparison.html").write_text(html.page(title, body), encoding="utf-8")
        text = json.dumps(sections, indent=1, allow_nan=False)
        (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"--output {output}: cannot be written ({error.strerror or error}); choose another"
            " folder"
        ) from error
    return sections


def to_text(section: dict[str, Any]) -> str:
    """Format the accuracies and the verdict of one test set for the terminal."""
    width = max(len(system["name"]) for system in section["systems"])
    lines = [_heading(section)]
    lines += [f"  {s['name']:{width}}  {compare_text.describe(s)}" for s in section["systems"]]
    return "\n".join([*lines, f"  {_verdict(section)}"])


def _verdict(section: dict[str, Any]) -> str:
    best, *others = section["systems"]
    text = f"{best['name']} has the highest accuracy, {compare_text.describe(best)}"
    if not others:
        return f"{best['name']} has an accuracy of {compare_text.describe(best)}."
    worse = [
        pair["second"]
        for pair in section["pairs"]
        if pair["first"] == best["name"] and pair["distinguishable"]
    ]
    alike = [system["name"] for system in others if system["name"] not in worse]
    if worse:
        text += f"; it is better than {_listed(worse)}"
    if alike:
        text += (
            f"; on these {plural(section['n'], 'track')} it is not distinguishable from"
            f" {_listed(alike)}"
        )
    return text + "."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _draw(
    folder: pathlib.Path,
    section: dict[str, Any],
    systems: Sequence[compare.Evaluation],
    *,
    prefix: str,
) -> dict[str, str]:
    """Draw the figures; return file name -> caption."""
    title = f"{section['part']} part of {section['data']}, n = {section['n']}"
    plots.accuracies(folder / f"{prefix}accuracies.png", section["systems"], title)
    caption = f"accuracies, {wording.with_intervals(section['systems'][0])}"
    figures = {f"{prefix}accuracies.png": caption}
    for i, (values, system) in enumerate(zip(section["systems"], systems, strict=True)):
        name = f"{prefix}confusion_{i}.png"
        described = compare_text.describe(values)
        plots.confusion_matrix(
            folder / name,
            np.array(system.report["confusion_matrix"]),
            system.report["labels"],
            f"{values['name']}\n{described}",
            normalised=True,
        )
        figures[name] = f"{values['name']}: confusion matrix, rows in per cent"
    return figures


def _tables(
    section: dict[str, Any], systems: Sequence[compare.Evaluation]
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield the heading, the column names and the rows of each table."""
    rows = []
    for values, system in zip(section["systems"], systems, strict=True):
        report = system.report
        loss, error = report.get("log_loss"), report.get("calibration_error")
        rows.append(
            [
                values["name"],
                report["system"],
                compare_text.describe(values),
                f"{report['per_class']['macro avg']['f1']:.3f}",
                "" if loss is None else f"{loss:.3f}",
                calibration_error.describe_short(error) if error else "",
                "" if report["checkpoint_step"] is None else str(report["checkpoint_step"]),
            ]
        )
    head = ["run", "system", "accuracy, 95 % intervals", "macro F1"]
    yield "Runs", [*head, "log loss", "calibration error", "step"], rows
    if section["pairs"]:
        rows = [
            [
                f"{pair['second']} against {pair['first']}",
                dict(compare_text.rows(pair))["difference"],
                pair["verdict"],
            ]
            for pair in section["pairs"]
        ]
        yield "Pairs", ["pair", "difference", "verdict"], rows
    labels = systems[0].report["labels"]
    if all(system.report["labels"] == labels for system in systems):
        rows = [
            [label, *(f"{system.report['per_class'][label]['f1']:.2f}" for system in systems)]
            for label in labels
        ]
        yield "F1 by class", ["class", *(s["name"] for s in section["systems"])], rows


def _methods(section: dict[str, Any]) -> str:
    """Return the sentences that name the methods of the numbers of the table of runs."""
    first = section["systems"][0]
    has_interval = first["num_groups"] > 1
    bootstrap = f", with an inverted bootstrap by {first['grouped_by']}" if has_interval else ""
    return (
        f"{wording.accuracy_methods(first)} Log loss and calibration error are those before any"
        " temperature. The calibration error is the mean |confidence - accuracy| of the"
        f" {plural(section['n'], 'track')} in bins of equal counts, of {calibration_error.PER_BIN}"
        f" or more{bootstrap}; beside it what a perfectly calibrated model would show by chance, on"
        " average and in 95 of 100 cases."
    )


def _heading(section: dict[str, Any]) -> str:
    return f"{section['part']} part of {section['data']}, {plural(section['n'], 'track')}"


def _markdown(
    section: dict[str, Any], tables: Sequence[tuple], figures: dict[str, str]
) -> list[str]:
    lines = ["", f"## {_heading(section)}", "", escape.markdown(_verdict(section))]
    if section["notes"]:
        lines += ["", *(f"- {escape.markdown(note)}" for note in section["notes"])]
    lines += ["", _methods(section)]
    for heading, head, rows in tables:
        lines += ["", f"### {heading}", "", *markdown.text_table(head, rows)]
    for name, text in figures.items():
        lines += ["", f"![{escape.markdown(text)}]({name})"]
    return lines


def _html(
    section: dict[str, Any], tables: Sequence[tuple], figures: dict[pathlib.Path, str]
) -> list[str]:
    body = [html.heading(_heading(section)), html.paragraph(_verdict(section))]
    body += [html.note(note, "bad") for note in section["notes"]]
    body.append(html.note(_methods(section).rstrip("."), "plain"))
    for heading, head, rows in tables:
        body += [html.heading(heading), html.table(head, rows)]
    return [*body, html.heading("Pictures"), html.figures(figures)]
