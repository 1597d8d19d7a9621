r"""Tables of systems for a paper, as LaTeX that `\input` takes; they need booktabs alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from mgr_jax.escape import LATEX_OTHERTEXT, latex
from mgr_jax.evaluation import intervals
from mgr_jax.evaluation.compare import format_p
from mgr_jax.evaluation.cross_validation import GROUPED, RANDOM
from mgr_jax.evaluation.reports import published
from mgr_jax.plural import plural

NONE = "--"
# Rows of a table that fit on a page in the size of a table, and in a smaller one.
_MAX_ROWS = 45


def tables(
    systems: Sequence[published.System],
    measured: Sequence[Mapping[str, Any]],
    section: Mapping[str, Any],
    *,
    prefix: str = "",
) -> dict[str, str]:
    """Return the tables of one test set, file name without ending -> LaTeX.

    `systems` has the accuracies, with the p value of the test against the first system where there
    are several; `pairs` all tests; `classes_<i>` the classes of each system; and `f1` the F1 of
    all, where there are several.

    Args:
      systems: the systems, the best first.
      measured: `published.measure` of each.
      section: the result of `compare.compare`, or of `describe_part`, for them.
      prefix: of the names of files and labels, to tell test sets apart.
    """
    whole = {f"{prefix}systems": _systems(systems, measured, section, prefix)}
    if section["pairs"]:
        whole[f"{prefix}pairs"] = _pairs(systems, section, prefix)
    for i, (system, values) in enumerate(zip(systems, measured, strict=True)):
        name = f"{prefix}classes_{i}"
        whole[name] = _classes(system, values, name)
    if len(systems) > 1:
        whole[f"{prefix}f1"] = _f1(systems, measured, prefix)
    return whole


def leakage(reports: Sequence[tuple[str, Mapping[str, Any]]], *, prefix: str = "") -> str:
    """Return the table of the leakage gaps of cross-validations on the same data.

    Args:
      reports: name and `report.json` of each, see `published.leakage_gaps`.
      prefix: of the label.
    """
    rows = []
    for name, report in reports:
        protocols = [report["protocols"][protocol] for protocol in (RANDOM, GROUPED)]
        accuracies = [_percent(protocol["accuracy"], protocol["ci95"]) for protocol in protocols]
        gap = report["leakage_gap"]
        rows.append([latex(name), *accuracies, _points(gap["gap"], gap["ci95"])])
    first = reports[0][1]
    by, seeds = first["grouped_by"], first["num_seeds"]
    head = ["System", *(latex(f"{protocol} (%)") for protocol in (RANDOM, GROUPED)), "Gap (points)"]
    caption = (
        f"Accuracies of cross-validations of {latex(first['data'])} by protocol"
        f" ($n = {first['leakage_gap']['n']}$, {plural(first['leakage_gap']['num_groups'], by)},"
        f" {plural(first['num_folds'], 'fold')}, {plural(seeds, 'seed')}), and how much of them"
        rf" comes from {by}s on both sides. Brackets: 95\,\% intervals by {by}"
        f"{' and seed' if seeds > 1 else ''}."
    )
    return _table(head, rows, [caption], f"{prefix}leakage")


def _systems(
    systems: Sequence[published.System],
    measured: Sequence[Mapping[str, Any]],
    section: Mapping[str, Any],
    prefix: str,
) -> str:
    p_of = {p["second"]: p["p_holm"] for p in section["pairs"] if p["first"] == systems[0].name}
    protocols = {system.report["protocol"] for system in systems}
    means = [row["classes"][published.OVERALL] for row in measured]
    head = {
        "System": [latex(system.name) for system in systems],
        "Protocol": [latex(system.report["protocol"]) for system in systems],
        r"Accuracy (\%)": [_percent(row["accuracy"], row["ci95"]) for row in measured],
        "By": [row["grouped_by"] for row in measured],
        "Macro F1": [_share(row["f1"], row["f1_ci95"]) for row in means],
        "$p$": [_p(p_of.get(system.name)) for system in systems],
    }
    if len(protocols) == 1:
        del head["Protocol"]
    if len({row["grouped_by"] for row in measured if row["ci95"]}) < 2:
        del head["By"]
    if not p_of:
        del head["$p$"]
    caption = [f"Accuracies {_where(systems, measured)}.", _method(measured)]
    if p_of:
        caption.append(f"$p$: against the first system, {_test(section)}.")
    caption += _remarks(systems, measured, section)
    return _table(list(head), list(zip(*head.values(), strict=True)), caption, f"{prefix}systems")


def _pairs(systems: Sequence[published.System], section: Mapping[str, Any], prefix: str) -> str:
    several = len(section["pairs"]) > 1
    rows = [
        [
            f"{latex(pair['second'])} against {latex(pair['first'])}",
            _points(pair["difference"], pair["ci95"]),
            *([_p(pair["p"]), _p(pair["p_holm"])] if several else [_p(pair["p"])]),
        ]
        for pair in section["pairs"]
    ]
    head = ["Systems", "Points", "$p$", *(["$p$, Holm"] if several else [])]
    caption = [
        f"Differences of accuracies {_where(systems, [{**section, 'num_seeds': 1}])}. $p$:"
        f" {_test(section)}."
        r" Brackets: 95\,\% intervals, which invert the test"
        f"{', before Holm' if several else ''}."
    ]
    return _table(head, rows, caption, f"{prefix}pairs")


def _classes(system: published.System, measured: Mapping[str, Any], label: str) -> str:
    rows = [
        [
            "mean" if name == published.OVERALL else latex(name),
            _share(row["precision"]),
            _share(row["recall"], None if name == published.OVERALL else row["ci95"]),
            _share(row["f1"], row["f1_ci95"]),
            str(row["n"]),
        ]
        for name, row in measured["classes"].items()
    ]
    head = ["Class", "Precision", "Recall", "F1", "$n$"]
    caption = [
        f"{latex(system.name)}: results by class {_where([system], [measured])}; accuracy"
        rf" {_percent(measured['accuracy'], measured['ci95'])}\,\%.",
        _method([measured]),
    ]
    by, sizes = measured["grouped_by"], [row["num_groups"] for row in measured["classes"].values()]
    if by != "track" and min(sizes) < intervals.MIN_GROUPS <= measured["num_groups"]:
        caption.append(
            f"Those of a class of fewer than {intervals.MIN_GROUPS} {by}s are a rough guide."
        )
    return _table(head, rows, caption, label, ruled=len(rows) - 1)


def _f1(
    systems: Sequence[published.System], measured: Sequence[Mapping[str, Any]], prefix: str
) -> str:
    rows = [
        [
            "mean" if name == published.OVERALL else latex(name),
            *(_share(values["classes"][name]["f1"]) for values in measured),
        ]
        for name in measured[0]["classes"]
        if all(name in values["classes"] for values in measured)
    ]
    caption = [f"F1 by class {_where(systems, measured)}."]
    head = ["Class", *(latex(system.name) for system in systems)]
    return _table(head, rows, caption, f"{prefix}f1", ruled=len(rows) - 1)


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: Sequence[str],
    label: str,
    *,
    ruled: int | None = None,
) -> str:
    """Return a table; a rule stands above row `ruled`."""
    lines = [" & ".join(cells) + r" \\" for cells in (head, *rows)]
    body = [rf"    {line}" for line in lines[1:]]
    if ruled is not None:
        body.insert(ruled, r"    \midrule")
    size = r"\footnotesize" if len(rows) <= _MAX_ROWS else r"\scriptsize"
    return with_othertext(
        [
            r"% Needs \usepackage{booktabs}.",
            r"\begin{table}[tb]",
            r"  \centering",
            rf"  \caption{{{' '.join(caption)}}}",
            rf"  \label{{tab:{label.replace('_', '-')}}}\smallskip",
            rf"  {size}\setlength{{\tabcolsep}}{{3pt}}",
            rf"  \begin{{tabular}}{{@{{}}l{'r' * (len(head) - 1)}@{{}}}}",
            r"    \toprule",
            f"    {lines[0]}",
            r"    \midrule",
            *body,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def with_othertext(lines: Sequence[str]) -> str:
    r"""Return lines of LaTeX as one text, with the definition of `\othertext` if it is used."""
    text = "\n".join(lines)
    return f"{LATEX_OTHERTEXT}\n{text}" if r"\othertext{" in text else text


def _where(systems: Sequence[published.System], measured: Sequence[Mapping[str, Any]]) -> str:
    """Return `on the test part of band ($n = 60$, 20 artists, protocol: listed)`."""
    first, report = measured[0], systems[0].report
    protocols = list(dict.fromkeys(system.report["protocol"] for system in systems))
    seeds = f", means of {plural(first['num_seeds'], 'training')}" if first["num_seeds"] > 1 else ""
    return (
        f"on the {report['part']} part of {latex(report['data'])} ($n = {first['n']}$,"
        f" {_groups(first)}protocol: {latex(', '.join(protocols))}{seeds})"
    )


def _groups(counted: Mapping[str, Any]) -> str:
    groups = counted["num_groups"]
    return f"{plural(groups, counted['grouped_by'])}, " if groups < counted["n"] else ""


def _method(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence on the method of the intervals."""
    shown = [row for row in measured if row["ci95"]]
    if not shown:
        return f"No interval: all tracks are of one {measured[0]['grouped_by']}."
    groups, seeds = sorted({row["grouped_by"] for row in shown}), shown[0]["num_seeds"] > 1
    method = "Wilson's at the effective number of tracks"
    if groups == ["track"] and not seeds:
        method = "Wilson's"
    elif len(groups) > 1:
        method += f" where {groups[0]}s repeat"
    elif shown[0]["num_groups"] < intervals.MIN_GROUPS:
        method += f", of so few {groups[0]}s a rough guide"
    by = " or ".join(groups) + (" and seed" if seeds else "")
    return rf"Brackets: 95\,\% intervals by {by}, {method}."


def _test(section: Mapping[str, Any]) -> str:
    """Return `sign-flip test by artist, after Holm's correction over 3 pairs`."""
    by = sorted({pair["grouped_by"] for pair in section["pairs"]})
    tests = [
        "McNemar's mid-$p$ test" if name == "track" else f"exact sign-flip test by {name}"
        for name in by
    ]
    size = len(section["pairs"])
    holm = f", after Holm's correction over {size} pairs" if size > 1 else ""
    return f"{' or '.join(tests)}{holm}"


def _remarks(
    systems: Sequence[published.System],
    measured: Sequence[Mapping[str, Any]],
    section: Mapping[str, Any],
) -> list[str]:
    """Return what makes the accuracies less than they seem."""
    remarks = [latex(f"{note[:1].upper()}{note[1:]}.") for note in section["notes"]]
    if systems[0].report["part"] == "train":
        remarks.append("The systems learned from these tracks.")
    if measured[0]["num_seeds"] > 1 and len(systems) > 1:
        remarks.append("Systems of several trainings are not tested against each other.")
    return remarks


def _percent(share: float, ci95: Sequence[float] | None) -> str:
    ends = " [{:.1f}, {:.1f}]".format(*(100 * end for end in ci95)) if ci95 else ""
    return f"{100 * share:.1f}{ends}"


def _share(value: float, ci95: Sequence[float] | None = None) -> str:
    return f"{value:.2f}{' [{:.2f}, {:.2f}]'.format(*ci95) if ci95 else ''}"


def _points(difference: float, ci95: Sequence[float] | None) -> str:
    ends = " [{:+.1f}, {:+.1f}]".format(*(100 * end for end in ci95)) if ci95 else ""
    return f"${100 * difference:+.1f}{ends.replace(' ', chr(92) + ' ', 1)}$"


def _p(value: float | None) -> str:
    """Return a p value; the first system has none."""
    if value is None:
        return NONE
    text = format_p(value)
    if "e" in text:
        digits, exponent = text.split("e")
        return rf"${digits}\cdot10^{{{int(exponent)}}}$"
    return text
