"""Comparison of systems on the same tracks: differences, tests and the power of the test set."""

import dataclasses
import itertools
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.evaluation import stats
from mgr_jax.evaluation.results import count
from mgr_jax.files import parse_json, read_csv
from mgr_jax.plural import plural

_ALPHA = 0.05
# The true difference whose test set is sized, and the power that it has.
_DIFFERENCE, _POWER = 0.05, 0.8
# From as many groups on, a difference is shown though two of them disagree: 2 (1 + 12 + 66) / 2^12.
_FEW = 12
# Protocol of predictions that somebody else made, see `predictions_file`.
FROM_FILE = "from a file"
# Fields of a report that are used here.
_FIELDS: dict[str, type] = {
    **dict.fromkeys(("system", "data", "part", "protocol", "split_hash"), str),
    **dict.fromkeys(("n", "num_correct", "checkpoint_step"), int),
    **dict.fromkeys(("shared_artists", "shared_recordings", "labels"), list),
    "per_class": dict,
}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one system on one part, as `experiments.evaluate` wrote them.

    Attributes:
      workdir: path of the workdir.
      report: content of `report.json`.
      ids: tracks of the part, sorted.
      labels: their true classes [N].
      correct: whether the prediction is right, bool [N].
      groups: group of each track, which shares an artist or a recording [N].
      grouped_by: what a group is, `artist` or `recording`.
      predicted: the predicted classes [N]; empty where only `correct` is known.
    """

    workdir: str
    report: dict[str, Any]
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    correct: np.ndarray
    groups: tuple[str, ...]
    grouped_by: str = "artist"
    predicted: tuple[str, ...] = ()

    def count(self) -> dict[str, Any]:
        """Return accuracy, counts and intervals, see `results.count`."""
        return count(self.correct, self.groups, grouped_by=self.grouped_by)


def read(workdir: str, part: str) -> Evaluation:
    """Read `eval/<part>/` of a workdir.

    Raises:
      UserError: if it was not evaluated, or a file is damaged.
    """
    folder = pathlib.Path(workdir) / "eval" / part
    command = (
        f"python -m experiments.evaluate --workdir={shlex.quote(workdir)} --split={part}"
        f" (in Python: mgr_jax.evaluate({workdir!r}, {part!r}))"
    )
    try:
        report = parse_json((folder / "report.json").read_text(encoding="utf-8"))
        rows = _rows(folder / "predictions.csv")
        group_of, grouped_by = _groups(folder / "tracks.csv")
        labels = tuple(row["label"] for row in rows)
        predicted = tuple(row["predicted"] for row in rows)
        correct = np.array([p == t for p, t in zip(predicted, labels, strict=True)], bool)
        ids = tuple(row["track_id"] for row in rows)
        complete = len(set(ids)) == len(ids) == report["n"]
        complete &= correct.sum() == report["num_correct"]
        if not _is_report(report):
            raise ValueError("a field is missing or of another type")
    except FileNotFoundError as error:
        raise UserError(
            f"workdirs: {workdir} has no {error.filename and pathlib.Path(error.filename).name}"
            f" for its {part} part; run {command} first"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"workdirs: {folder} is damaged; run {command} again") from error
    if not complete:
        raise UserError(
            f"workdirs: {folder}: report.json and predictions.csv do not agree; run {command} again"
        )
    groups = tuple(group_of.get(name, name) for name in ids)
    return Evaluation(workdir, report, ids, labels, correct, groups, grouped_by, predicted)


def _is_report(report: Any) -> bool:
    """Return whether the fields of a report are there and of their types."""
    if not all(isinstance(report.get(name), kind) for name, kind in _FIELDS.items()):
        return False
    names = [*report["shared_artists"], *report["shared_recordings"], *report["labels"]]
    return all(isinstance(name, str) for name in names)


def compare(systems: Sequence[Evaluation], names: Sequence[str]) -> dict[str, Any]:
    """Compare every pair of systems on the same tracks, as JSON values.

    A pair has the difference of the accuracies (second minus first), McNemar's test, and, if
    artists repeat, the sign-flip test by artist, which then decides. The interval has the
    differences that this test does not reject. Holm's method corrects the deciding p value over the
    pairs. The smallest difference that is shown with a power of 80 % and the tracks that show 5
    points are those at Holm's first level, alpha divided by the number of pairs; if artists repeat,
    n is divided by the design effect.

    Args:
      systems: two or more.
      names: a name for each.

    Raises:
      UserError: if there are fewer than two, or their tracks or true labels differ.
    """
    if len(systems) < 2:
        raise UserError("workdirs: one workdir only; give two or more")
    for other, name in zip(systems[1:], names[1:], strict=True):
        _check_same(systems[0], names[0], other, name)
    first = systems[0]
    groups = None if len(set(first.groups)) == len(first.groups) else first.groups
    pairs = [
        _pair(systems[i], names[i], systems[j], names[j], groups)
        for i, j in itertools.combinations(range(len(systems)), 2)
    ]
    alpha = _ALPHA / len(pairs)
    for pair in pairs:
        pair |= _power(pair, len(first.ids), alpha)
    for field in ("p", "mcnemar_exact", "mcnemar_mid_p"):
        for pair, p in zip(pairs, stats.holm([pair[field] for pair in pairs]), strict=True):
            pair[f"{field}_holm"] = p
    for pair in pairs:
        pair["distinguishable"] = pair["p_holm"] < _ALPHA
        pair["verdict"] = _verdict(pair, first, len(pairs))
    return describe_part(systems, names) | {"pairs": pairs}


def describe_part(systems: Sequence[Evaluation], names: Sequence[str]) -> dict[str, Any]:
    """Return the result of `compare` without its pairs."""
    first = systems[0]
    return {
        "part": first.report["part"],
        "data": first.report["data"],
        "n": len(first.ids),
        "num_groups": len(set(first.groups)),
        "grouped_by": first.grouped_by,
        "systems": [_describe_system(s, name) for s, name in zip(systems, names, strict=True)],
        "pairs": [],
        "correction": "holm",
        "notes": _notes(systems, names),
    }


def short_names(workdirs: Sequence[str]) -> list[str]:
    """Return the last folders of each path, as many as it takes to make them distinct.

    Raises:
      UserError: if a path is repeated.
    """
    parts = [pathlib.PurePath(workdir).parts or (workdir,) for workdir in workdirs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = [printable("/".join(part[-depth:])) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError("workdirs: a workdir stands there twice; name each once")


def _pair(
    first: Evaluation,
    first_name: str,
    second: Evaluation,
    second_name: str,
    groups: Sequence[str] | None,
) -> dict[str, Any]:
    test = stats.mcnemar(first.correct, second.correct)
    differences = second.correct.astype(float) - first.correct
    n, artist_p, effect = len(differences), None, 1.0
    sizes = np.unique(first.groups, return_counts=True)[1]
    if groups is not None:
        artist_p = stats.sign_flip_test(first.correct, second.correct, groups)
        effect = max(1.0, stats.design_effect(differences, groups))
    interval = stats.paired_interval(first.correct, second.correct, groups)
    return {
        "first": first_name,
        "second": second_name,
        "difference": float(differences.mean()),
        "ci95": interval and list(interval),
        "only_first": test.only_first,
        "only_second": test.only_second,
        "mcnemar_exact": test.exact,
        "mcnemar_mid_p": test.mid_p,
        "artist_p": artist_p,
        "p": test.mid_p if artist_p is None else artist_p,
        "p_test": "mcnemar_mid_p" if artist_p is None else "artist_p",
        "grouped_by": "track" if groups is None else first.grouped_by,
        # The p value if one system is right and the other wrong throughout.
        "smallest_p": 0.5**n if groups is None else _smallest_p(len(sizes)),
        # Groups of unequal size show no more than so many equal ones (Kish 1965).
        "num_equal_groups": float(sizes.sum() ** 2 / np.square(sizes).sum()),
        "largest_group": int(sizes.max()),
        "design_effect": effect,
    }


def _smallest_p(num_groups: float) -> float:
    """Return the smallest p value of the sign-flip test."""
    return min(1.0, 2 * 0.5**num_groups)


def _power(pair: dict[str, Any], n: int, alpha: float) -> dict[str, Any]:
    """Return what a test at `alpha` could have shown; None where it could have shown nothing."""
    values: dict[str, Any] = {
        "alpha": alpha, "detectable_difference": None, "needed_for": _DIFFERENCE, "needed_n": None
    }  # fmt: skip
    few = pair["grouped_by"] != "track" and _smallest_p(pair["num_equal_groups"]) >= alpha
    if pair["smallest_p"] < alpha and not few:
        effect, discordant = pair["design_effect"], (pair["only_first"] + pair["only_second"]) / n
        values["detectable_difference"] = stats.smallest_difference(
            max(1, int(n / effect)), discordant=discordant, power=_POWER, alpha=alpha
        )
        needed = stats.needed_n(_DIFFERENCE, discordant=discordant, power=_POWER, alpha=alpha)
        values["needed_n"] = round(effect * needed)
    return values


def _verdict(pair: dict[str, Any], system: Evaluation, num_pairs: int) -> str:
    n, by = len(system.ids), pair["grouped_by"]
    test = "McNemar mid-p" if by == "track" else f"by {by}"
    holm = f", Holm over {num_pairs} pairs" if num_pairs > 1 else ""
    p = f"p = {format_p(pair['p_holm'])} ({test}{holm})"
    if pair["distinguishable"]:
        better, worse = pair["first"], pair["second"]
        if pair["difference"] > 0:
            better, worse = worse, better
        return f"{better} is better than {worse} at n = {n}, {p}"
    text = f"not distinguishable at n = {n}, {p}; "
    if pair["smallest_p"] >= pair["alpha"]:
        more = " or more" if pair["smallest_p"] < 1 else ""
        return (
            f"{text}no difference could have been shown: the p value of"
            f" {plural(len(set(system.groups)), by)} is {format_p(pair['smallest_p'])}{more}, not"
            f" below {format_p(pair['alpha'])}"
        )
    smallest, needed = pair["detectable_difference"], pair["needed_n"]
    stated, power = f"{100 * _DIFFERENCE:.0f} points", f"with a power of {100 * _POWER:.0f} %"
    if smallest is None or smallest <= abs(pair["difference"]):
        text += _why_not(pair, system)
        if needed and needed > n:
            text += f"; a true difference of {stated} would be shown {power} by about {needed} such"
            text += " tracks"
        return text
    text += f"a true difference of {100 * smallest:.1f} points would be shown {power}"
    return f"{text}, one of {stated} by about {needed} such tracks" if needed > n else text


def _why_not(pair: dict[str, Any], system: Evaluation) -> str:
    """Return the reason why no size of a difference is promised to be shown."""
    n, by = len(system.ids), pair["grouped_by"]
    if pair["needed_n"] is None:
        return (
            f"the {by}s are of uneven size, the largest with {pair['largest_group']} of the {n}"
            " tracks: a difference is shown only if nearly all of them agree"
        )
    if len(set(system.groups)) < _FEW:
        return f"so few {by}s show a difference only if nearly all of them agree"
    return f"a few of the {by}s make up most of the difference"


def _check_same(first: Evaluation, first_name: str, second: Evaluation, second_name: str) -> None:
    if first.ids != second.ids:
        ours, theirs = set(first.ids), set(second.ids)
        only = sorted(ours ^ theirs)
        where = first_name if only[0] in ours else second_name
        raise UserError(
            f"workdirs: different test sets: {first_name} has {plural(len(ours), 'track')},"
            f" {second_name} {len(theirs)}, and {len(only)} are in one of them only ({only[0]!r} in"
            f" {where}); compare systems that were tested on the same tracks"
        )
    for name, ours, theirs in zip(first.ids, first.labels, second.labels, strict=True):
        if ours != theirs:
            raise UserError(
                f"workdirs: different test sets: {name!r} is {ours!r} in {first_name} and"
                f" {theirs!r} in {second_name}; compare systems that were tested on the same labels"
            )


def _describe_system(system: Evaluation, name: str) -> dict[str, Any]:
    report = system.report
    fields = ("system", "protocol", "checkpoint_step")
    values = {"name": name, "workdir": system.workdir} | {field: report[field] for field in fields}
    return values | system.count()


def _notes(systems: Sequence[Evaluation], names: Sequence[str]) -> list[str]:
    """Return remarks on differences between the runs other than the model."""
    notes = []
    reports = [system.report for system in systems]
    files = [n for n, report in zip(names, reports, strict=True) if report["protocol"] == FROM_FILE]
    if files:
        notes.append(f"what {', '.join(files)} learned from is unknown, and may be these tracks")
        reports = [report for report in reports if report["protocol"] != FROM_FILE]
    if len({report["protocol"] for report in reports}) > 1:
        notes.append("the runs have different protocols: they learned from different tracks")
    elif len({report["split_hash"] for report in reports}) > 1:
        notes.append("the runs have different splits: they learned from different tracks")
    leaks = [
        name
        for name, system in zip(names, systems, strict=True)
        if system.report["shared_artists"] or system.report["shared_recordings"]
    ]
    if leaks:
        notes.append(f"artists or recordings are on both sides of the split of {', '.join(leaks)}")
    # Reports of earlier versions do not say it.
    unknown = [
        name
        for name, system in zip(names, systems, strict=True)
        if name not in [*leaks, *files] and not system.report.get("artists_known", True)
    ]
    if unknown:
        notes.append(
            "not known whether artists are on both sides of the split: the tracks of one side, or"
            f" of both, have no known artist ({', '.join(unknown)})"
        )
    return notes


def _rows(path: pathlib.Path) -> list[dict[str, str]]:
    return sorted(read_csv(path), key=lambda row: row["track_id"])


def _groups(path: pathlib.Path) -> tuple[dict[str, str], str]:
    """Return track -> group, and what a group is."""
    if not path.exists():  # Earlier versions did not write it.
        return {}, "artist"
    rows = _rows(path)
    grouped_by = "artist" if any(row["artist"] for row in rows) else "recording"
    return {row["track_id"]: row["group"] for row in rows}, grouped_by


def format_p(value: float) -> str:
    """Format a p value with two digits."""
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
