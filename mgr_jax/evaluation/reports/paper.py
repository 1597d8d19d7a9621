"""What a paper takes: tables and BibTeX, a CSV of all results, figures of the width of a column."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare
from mgr_jax.evaluation.reports import figure_files, latex, plots, published, references
from mgr_jax.files import write_whole

FORMATS = ("latex", "csv", *figure_files.VECTOR)


def write_paper(
    paths: Sequence[str], part: str, output: str, formats: Sequence[str]
) -> dict[str, list[str]]:
    """Write the files of `formats` for evaluated systems.

    Only systems with the same test set and as many trainings are compared; the tables and figures
    of further test sets have names with a number before them. The same results give the same
    bytes.

    Args:
      paths: workdirs, folders `DIR/<protocol>/seed<k>` of a cross-validation, or all of `DIR`.
      part: `train`, `valid` or `test`.
      output: folder to write to.
      formats: some of `FORMATS`. `latex`: tables (`latex.tables`, and `leakage` of
        cross-validations), `methods.tex` and `references.bib`. `csv`: `results.csv`. `svg`, `pdf`:
        accuracies and confusion matrices.

    Returns:
      Format -> names of the files written.

    Raises:
      UserError: if a system was not evaluated, or `output` cannot be written.
    """
    sections = published.sections(published.read(paths, part))
    measured = [[published.measure(system) for system in systems] for systems in sections]
    compared = [_compare(*section) for section in zip(sections, measured, strict=True)]
    gaps = published.leakage_gaps(paths) if "latex" in formats else []
    folder = pathlib.Path(output)
    written: dict[str, list[str]] = {name: [] for name in formats}

    def write(kind: str, name: str, content: str) -> None:
        write_whole(folder / name, content)
        written[kind].append(name)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if "latex" in formats:
            for i, (systems, values, section) in enumerate(
                zip(sections, measured, compared, strict=True)
            ):
                tables = latex.tables(systems, values, section, prefix=f"{i}_" if i else "")
                for name, text in tables.items():
                    write("latex", f"{name}.tex", text)
            for i, reports in enumerate(gaps):
                prefix = f"{i}_" if i else ""
                write("latex", f"{prefix}leakage.tex", latex.leakage(reports, prefix=prefix))
            text = references.methods(sections, measured, compared) + "\n"
            write("latex", "methods.tex", latex.with_othertext([text]))
            write("latex", "references.bib", references.to_bibtex(text))
        if "csv" in formats:
            systems = [system for section in sections for system in section]
            rows = [row for section in measured for row in section]
            write("csv", "results.csv", published.to_csv(systems, rows))
        for kind in formats:
            if kind in figure_files.VECTOR:
                for i, (systems, values) in enumerate(zip(sections, measured, strict=True)):
                    prefix = f"{i}_" if i else ""
                    written[kind] += _draw(folder, kind, systems, values, prefix=prefix)
    except OSError as error:
        raise UserError(
            f"--output {output}: cannot be written ({error.strerror or error}); choose another"
            " folder"
        ) from error
    return written


def _compare(
    systems: Sequence[published.System], measured: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the result of `compare.compare`, without pairs where it compares nothing."""
    names = [system.name for system in systems]
    evaluations = [system.seeds[0] for system in systems]
    alone = len(systems) < 2 or measured[0]["num_seeds"] > 1
    describe = compare.describe_part if alone else compare.compare
    return describe(evaluations, names)


def _draw(
    folder: pathlib.Path,
    kind: str,
    systems: Sequence[published.System],
    measured: Sequence[Mapping[str, Any]],
    *,
    prefix: str,
) -> list[str]:
    """Draw the figures without titles, which a paper has in its captions; return their names."""
    names = [f"{prefix}accuracies.{kind}"]
    rows = [
        {**values, "name": system.name, "protocol": system.report["protocol"]}
        for system, values in zip(systems, measured, strict=True)
    ]
    plots.accuracies(folder / names[0], rows, "", width=figure_files.COLUMN)
    for i, (system, values) in enumerate(zip(systems, measured, strict=True)):
        name = f"{prefix}confusion_{i}.{kind}"
        matrix, labels = values["confusion_matrix"], system.report["labels"]
        plots.confusion_matrix(folder / name, matrix, labels, "", normalised=True)
        names.append(name)
    return names
