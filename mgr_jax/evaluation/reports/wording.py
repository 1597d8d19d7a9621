"""The sentences and tables of an evaluation for the terminal, Markdown and HTML."""

import math
from collections.abc import Mapping
from typing import Any

from mgr_jax.data import splits
from mgr_jax.evaluation import calibration_error, intervals, stats
from mgr_jax.evaluation.reports import few_tracks, sets_text
from mgr_jax.plural import plural

# Column names and rows of a table.
Table = tuple[list[str], list[list[str]]]
# Systems that choose no setting on the validation part.
WITHOUT_CHOICE = ("lda", "ensemble")
UNKNOWN_ARTISTS = (
    "not known whether artists are on both sides of the split: the tracks of one side, or of both,"
    " have no known artist"
)


def headline(report: dict[str, Any]) -> str:
    """Return `accuracy 65.0 % [52.4, 75.8] (n = 60, listed); 95 % Wilson interval; chance 10 %`."""
    kind = "Wilson interval" if report["grouped_by"] == "track" else "intervals"
    return f"accuracy {accuracy(report, report)}; 95 % {kind}; {chance(report)}"


def accuracy(counted: dict[str, Any], report: dict[str, Any]) -> str:
    """Return an accuracy of `results.count` with its intervals, n and protocol."""
    return stats.describe(counted, report["protocol"])


def chance(report: dict[str, Any]) -> str:
    """Return the accuracy of a random guess and, where classes differ in size, of the largest."""
    text = f"chance {100 / len(report['labels']):.0f} %"
    largest, size = largest_class(report)
    if size * len(report["labels"]) > report["n"]:
        text += f", always {largest} {100 * size / report['n']:.0f} %"
    return text


def caveat(report: dict[str, Any]) -> str:
    """Return a warning about few artists; empty if there are enough, or none repeats."""
    by, groups = report["grouped_by"], report["num_groups"]
    if by == "track" or groups >= intervals.MIN_GROUPS:
        return ""
    if groups == 1:
        return (
            f"all {report['n']} tracks are of 1 {by}: they tell nothing about others, and there is"
            f" no interval by {by}"
        )
    return (
        f"the tracks are of {plural(groups, by)} only: so few may not stand for others, and the"
        f" interval by {by} is a rough guide"
    )


def method(report: dict[str, Any]) -> str:
    """Return `by artist`, `by recording` or `by track`."""
    return f"by {report['grouped_by']}"


def with_intervals(counted: dict[str, Any]) -> str:
    """Return `with 95 % intervals by artist`, or that there is none."""
    kind = "with 95 % intervals" if counted["ci95"] else "without an interval"
    return f"{kind} {method(counted)}"


def accuracy_methods(counted: dict[str, Any]) -> str:
    """Return the sentence that names the methods of the intervals of an accuracy."""
    by = counted["grouped_by"]
    if by == "track":
        return "Intervals of accuracies are Wilson's, of 95 %."
    groups = plural(counted["num_groups"], by)
    if counted["num_groups"] == 1:
        return (
            f"All tracks are of {groups}: there is no interval by {by}. Those by track are"
            " Wilson's, of 95 %, which take tracks for independent."
        )
    return (
        f"Intervals of 95 %: those by {by} are Wilson's at the effective number of tracks, from a"
        f" jackknife over {groups} with Student's t; those by track are Wilson's, which take tracks"
        " for independent."
    )


def methods(report: dict[str, Any]) -> str:
    """Return the sentences below the tables that name the method of each interval."""
    text, by = accuracy_methods(report), report["grouped_by"]
    if by == "track":
        text += (
            " Those of F1, macro F1 and balanced accuracy are at the effective number of tracks,"
        )
        text += " from a jackknife over tracks with Student's t."
    if report["num_groups"] > 1:
        text += f" That of the calibration error is an inverted bootstrap over {by}s."
    return f"{text} A ratio with nothing to count is 0."


def verdict(report: dict[str, Any]) -> str:
    """Return a few sentences on the meaning of the accuracy."""
    hits, n, by = report["num_correct"], report["n"], report["grouped_by"]
    random, (largest, size) = 1 / len(report["labels"]), largest_class(report)
    text = f"Of {plural(n, 'track')}, {report['system']} named the genre of {hits} rightly"
    text += f" ({report['protocol']}); guessing would get about {round(n * random)}"
    text += f", always {largest} {size}." if size > n * random else "."
    if by != "track" and report["num_groups"] < 3:
        text += f" {plural(report['num_groups'], by).capitalize()} cannot tell what to expect of"
        text += " others."
    else:
        low, high = report["ci95"]
        others = {"track": "", "artist": ", by other artists,"}.get(by, f", of other {by}s,")
        text += f" On other music of this kind{others} expect between {100 * low:.0f} and"
        text += f" {100 * high:.0f} in a hundred."
        if high < random:
            text += " That is worse than guessing."
        elif low <= random:
            text += " It is not distinguishable from guessing."
        elif low <= size / n:
            text += f" It is not distinguishable from always answering {largest}."
    ranked = sorted(
        (name for name in report["labels"] if report["per_class"][name]["support"]),
        key=lambda name: -report["per_class"][name]["f1"],
    )
    if len(ranked) > 2:
        best, worst = ranked[0], ranked[-1]
        f1 = {name: report["per_class"][name]["f1"] for name in (best, worst)}
        text += f" It does best on {best} (F1 {f1[best]:.2f}), worst on {worst} ({f1[worst]:.2f})."
    return text + _confusion(report)


def heard_before(protocol: str, part: str, system: str) -> tuple[str, ...]:
    """Return the reason why a part is no unseen music to a system, if there is one."""
    if protocol == splits.IMPORTED:
        reason = "the model was trained elsewhere, perhaps on these very tracks"
    elif part == "train":
        reason = "the run learned from these tracks"
    elif part == "valid" and system not in WITHOUT_CHOICE:
        reason = "the run chose the model on these tracks"
    else:
        return ()
    return (f"{reason}: this is no accuracy on unseen music",)


def warnings(report: dict[str, Any]) -> list[str]:
    """Return the reasons why the accuracy may be too high or incomplete."""
    lines = [*heard_before(report["protocol"], report["part"], report["system"])]
    if leakage(report):
        lines.append(leakage(report))
    for field, what in (("skipped", "cannot be read"), ("missing", "missing from the data")):
        names = list(report[field])
        if names:
            more = ", ..." if names[5:] else ""
            lines.append(f"{plural(len(names), 'track')} {what}: {', '.join(names[:5])}{more}")
    after = report["calibrated"]
    if after and report["log_loss"] and (after["log_loss"] or math.inf) > 1.02 * report["log_loss"]:
        lines.append(
            f"the temperature {after['temperature']:.2f}, fitted on other tracks, makes confidences"
            " fit worse here: these tracks differ"
        )
    if report["times_evaluated"] > 1 and report["part"] == "test":
        lines.append(
            f"the test part was evaluated {report['times_evaluated']} times in this workdir; a"
            " choice made after looking makes the accuracy too high"
        )
    return lines


def leakage(report: Mapping[str, Any]) -> str:
    """Return the sentence on artists and recordings on both sides; empty if there are none.

    The report may lack these fields, as those of earlier versions do: then nothing is known.
    """
    shared = [report.get(f"shared_{field}s") or [] for field in ("artist", "recording")]
    if any(shared):
        return (
            f"this split leaks: {plural(len(shared[0]), 'artist')} and"
            f" {plural(len(shared[1]), 'recording')} are on both sides of the test part, so the"
            " accuracy is too high"
        )
    if not report.get("artists_known") and report["protocol"] != splits.IMPORTED:
        return UNKNOWN_ARTISTS
    return ""


def artists(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return a short form of `leakage` and its tone, `good` or `bad`."""
    if report["protocol"] == splits.IMPORTED:
        return "training tracks unknown", "bad"
    if report.get("shared_artists") or report.get("shared_recordings"):
        return "artists or recordings leak", "bad"
    if not report.get("artists_known"):
        return "artists unknown", "bad"
    unknown = report["n"] - report["artists_known"] + (report.get("learned_artists_unknown") or 0)
    more = f"; of {plural(unknown, 'track')} it is unknown" if unknown else ""
    return f"no known artist on both sides{more}", "good"


def badges(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return short facts, each with a tone: `good`, `bad` or `plain`."""
    common = [(f"protocol: {report['protocol']}", "plain"), (f"n = {report['n']}", "plain")]
    if report["part"] != "test" and report["protocol"] != splits.IMPORTED:
        return [*common, (f"{report['part']} part, not test", "bad")]
    return [*common, artists(report)]


def facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of the metrics, with intervals and counts."""
    rows = [("accuracy", accuracy(report, report))]
    if report["without_faulty"] and report["without_faulty"]["left_out"]:
        left_out, rest = report["without_faulty"]["left_out"], report["without_faulty"]
        value = accuracy(rest, report) if "n" in rest else "no track is left"
        rows.append((f"without the {plural(left_out, 'track')} known to be faulty", value))
    origin = f"(n = {report['n']}, {report['protocol']})"
    missing = f", no interval {method(report)}"
    ends = report["balanced_accuracy_ci95"]
    interval = f" {stats.describe_interval(ends)} {method(report)}" if ends else missing
    value = f"{100 * report['balanced_accuracy']:.1f} %{interval} {origin}"
    rows.append(("balanced accuracy", value))
    for k, row in report["top_k"].items():
        rows.append((f"genre among the first {k}", accuracy(row, report)))
    ends = report["f1_ci95"]["macro avg"]
    interval = f" [{ends[0]:.3f}, {ends[1]:.3f}] {method(report)}" if ends else missing
    rows.append(("macro F1", f"{report['per_class']['macro avg']['f1']:.3f}{interval} {origin}"))
    rows.append(("ROC AUC, one against the rest, macro", _number(report["roc_auc"]["macro"])))
    after = report["calibrated"]
    if after:
        none = " (no other was better on held-back tracks)" if after["temperature"] == 1 else ""
        rows.append(("temperature, from other tracks", f"{after['temperature']:.2f}{none}"))
    for name, what, describe in (
        ("log_loss", "log loss (nats)", _number),
        ("brier", "Brier score (0 to 2)", _number),
        ("calibration_error", "expected calibration error", calibration_error.describe),
    ):
        value = describe(report[name])
        if after and after["temperature"] != 1:
            value += f"; at temperature {after['temperature']:.2f}: {describe(after[name])}"
        rows.append((what, value))
    return rows


def classes(report: dict[str, Any]) -> Table:
    """Return scikit-learn's classification report as a table, with intervals of F1."""
    rows = []
    for name, row in report["per_class"].items():
        ends = report["f1_ci95"].get(name)
        interval = f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else "none"
        if name == "weighted avg":
            interval = ""
        values = [f"{row[key]:.3f}" for key in ("precision", "recall", "f1")]
        rows.append([name, *values, interval, str(row["support"])])
    head = ["class", "precision", "recall", "F1", f"95 % interval of F1 {method(report)}"]
    return [*head, "support"], rows


def abstention(report: dict[str, Any]) -> Table:
    """Return the table of coverage and accuracy by least confidence."""
    kind = "calibrated confidence" if report["calibrated"] else "confidence"
    rows = [
        [
            f"{row['confidence']:.2f}",
            f"{row['n']} of {report['n']}",
            accuracy(row, report) if row["n"] else "",
        ]
        for row in report["abstention"]
    ]
    return [f"answers at a {kind} of", "answered", "accuracy of these"], rows


def mistakes(report: dict[str, Any]) -> Table:
    """Return the table of the mistakes of highest confidence."""
    rows = [
        [m["id"], m["file"], m["true"], m["predicted"], f"{m['probability']:.2f}"]
        for m in report["mistakes"]
    ]
    probability = (
        "calibrated probability" if report["calibrated"] else "probability, not calibrated"
    )
    return ["track", "file", "true", "predicted", probability], rows


def provenance(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values on the origin of the results."""
    origin = report["provenance"]
    trained, evaluated = origin["trained_with"], origin["evaluated_with"]
    packages = ", ".join(f"{name} {v}" for name, v in trained["versions"].items())
    data = f"{report['data']}, hash {report['data_hash'][:12]}"
    if report.get("scored_data_hash"):
        data += f"; scored on another file, hash {report['scored_data_hash'][:12]}"
    return [
        ("data", data),
        ("split", f"{report['protocol']}, hash {report['split_hash'][:12]}; split.csv lists it"),
        ("checkpoint", f"of step {report['checkpoint_step']}"),
        ("seeds", f"training {origin['seed']}, split {origin['split_seed']}"),
        ("trained by", f"commit {_commit(trained)}; {packages}"),
        ("evaluated by", f"commit {_commit(evaluated)}, {evaluated['device']}"),
        ("training took", _seconds(trained["seconds"], "not measured (fitted in one call)")),
        ("evaluation took", _seconds(evaluated["seconds"], "not measured")),
        ("evaluated", f"{plural(report['times_evaluated'], 'time')}; this one {evaluated['at']}"),
    ]


def table(report: dict[str, Any]) -> str:
    """Format scikit-learn's classification report for the terminal."""
    width = max(len(name) for name in report["per_class"])
    lines = [f"{'':{width}}  precision  recall      f1  support"]
    for name, row in report["per_class"].items():
        lines.append(
            f"{name:{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  {row['f1']:6.3f}"
            f"  {row['support']:7d}"
        )
    return "\n".join(lines)


def to_text(report: dict[str, Any]) -> str:
    """Format headline, warnings and classification report for the terminal."""
    notes = [line for line in (caveat(report), *warnings(report)) if line]
    lines = [headline(report), *notes, *sets_text.lines(report)]
    if text := few_tracks.describe(report):
        lines += [f"{text}:", f"  {report['cross_validation']}"]
    return "\n".join([*lines, "", table(report)])


def largest_class(report: dict[str, Any]) -> tuple[str, int]:
    """Return the class with the most tracks and their number."""
    size_of = {name: report["per_class"][name]["support"] for name in report["labels"]}
    return max(size_of.items(), key=lambda item: item[1])


def _confusion(report: dict[str, Any]) -> str:
    most, pair = 0, ("", "")
    for name, row in zip(report["labels"], report["confusion_matrix"], strict=True):
        for other, times in zip(report["labels"], row, strict=True):
            if name != other and times > most:
                most, pair = times, (name, other)
    if most < 2:
        return ""
    total = report["per_class"][pair[0]]["support"]
    return f" Its commonest mistake: {pair[0]} taken for {pair[1]}, {most} times of {total}."


def _commit(code: dict[str, Any]) -> str:
    commit, plus, changes = code["git_commit"].partition("+")
    return f"{commit[:12] or 'unknown'}{plus}{changes}"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _seconds(value: float | None, otherwise: str) -> str:
    if value is None:
        return otherwise
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"
