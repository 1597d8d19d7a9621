"""What deformations of the music do to the answers: accuracies, paired tests and flips."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.evaluation import intervals, stats
from mgr_jax.evaluation.compare import format_p
from mgr_jax.evaluation.results import count

_ALPHA = 0.05


class Row(NamedTuple):
    """The answers to tracks that were deformed in one way.

    Attributes:
      deformation: its name.
      strength: in `unit`.
      unit: of the strength.
      predicted: classes of the answers, int [N].
    """

    deformation: str
    strength: float
    unit: str
    predicted: np.ndarray

    @property
    def name(self) -> str:
        """Return deformation and strength, such as `lowpass 4000 Hz`."""
        sign = "+" if self.deformation in ("gain", "pitch", "tempo", "shift") else ""
        return f"{self.deformation} {self.strength:{sign}g} {self.unit}"


def compare(
    clean: np.ndarray,
    rows: Sequence[Row],
    truth: np.ndarray,
    *,
    ids: Sequence[str],
    labels: Sequence[str],
    groups: intervals.Groups,
    grouped_by: str = "artist",
) -> dict[str, Any]:
    """Compare the answers to deformed tracks with those to the tracks as they are, as JSON values.

    Each row has its accuracy with interval (`results.count`); the `difference` to the clean tracks
    with its interval; `p` of the sign-flip test by artist, or McNemar's mid-p where no artist
    repeats; `p_holm` after Holm's correction over all rows; `flips`, the tracks whose answer
    changes; and `per_class`, hits by class.

    Args:
      clean: classes of the answers to the tracks as they are, int [N].
      rows: the deformed ones.
      truth: true classes, int [N].
      ids: names of the tracks [N]. labels: names of the classes [C].
      groups: name of the group of each track [N], which shares an artist or a recording.
      grouped_by: what a group is, `artist` or `recording`.
    """
    right = clean == truth
    repeats = len(set(groups)) < len(groups)
    own_groups = groups if repeats else None
    results = []
    for row in rows:
        correct = row.predicted == truth
        test = stats.mcnemar(right, correct)
        p = stats.sign_flip_test(right, correct, groups) if repeats else test.mid_p
        interval = stats.paired_interval(right, correct, own_groups)
        results.append(
            {
                "name": row.name,
                "deformation": row.deformation,
                "strength": float(row.strength),
                "unit": row.unit,
                **count(correct, groups, grouped_by=grouped_by),
                "difference": float(correct.mean() - right.mean()),
                "difference_ci95": interval and list(interval),
                "only_clean": test.only_first,
                "only_deformed": test.only_second,
                "p": p,
                "per_class": per_class(row.predicted, truth, labels),
                "flips": [
                    {
                        "id": ids[i],
                        "true": labels[truth[i]],
                        "clean": labels[clean[i]],
                        "deformed": labels[row.predicted[i]],
                    }
                    for i in np.flatnonzero(row.predicted != clean).tolist()
                ],
            }
        )
    for result, p in zip(results, stats.holm([r["p"] for r in results]), strict=True):
        result["p_holm"] = p
        result["distinguishable"] = p < _ALPHA
    return {
        "clean": count(right, groups, grouped_by=grouped_by)
        | {"per_class": per_class(clean, truth, labels)},
        "test": f"sign-flip test by {grouped_by}" if repeats else "McNemar's mid-p test",
        "correction": "holm",
        "labels": list(labels),
        "rows": results,
    }


def per_class(
    predicted: np.ndarray, truth: np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return the tracks of each class, and how many of them are recognised."""
    return {
        label: {
            "n": int((truth == i).sum()),
            "num_correct": int(((truth == i) & (predicted == i)).sum()),
        }
        for i, label in enumerate(labels)
        if (truth == i).any()
    }


def worst_class(row: Mapping[str, Any], clean: Mapping[str, Any]) -> str:
    """Return the classes that lose most, such as `pop 6 -> 0 of 6`; empty if none loses."""
    hits = {label: counts["num_correct"] for label, counts in row["per_class"].items()}
    lost = {
        label: (counts["num_correct"] - hits[label]) / counts["n"]
        for label, counts in clean["per_class"].items()
    }
    most = max(lost.values())
    if most <= 0:
        return ""
    return ", ".join(
        f"{label} {counts['num_correct']} -> {hits[label]} of {counts['n']}"
        for label, counts in clean["per_class"].items()
        if lost[label] == most
    )


def verdict(report: Mapping[str, Any]) -> str:
    """Return the sentences on what the system depends on."""
    rows, clean = report["rows"], report["clean"]
    shown = [row for row in rows if row["distinguishable"]]
    names: dict[str, list[dict[str, Any]]] = {}
    for row in shown:
        names.setdefault(row["deformation"], []).append(row)
    tests = f"{report['test']}, Holm over {len(rows)} rows"
    if not shown:
        least = min((row["p_holm"] for row in rows), default=1.0)
        return (
            f"No deformation changes the accuracy distinguishably ({tests}, least p ="
            f" {format_p(least)}), which does not show that none does: see the intervals."
        )
    parts = []
    for own in names.values():
        row = max(own, key=lambda row: abs(row["difference"]))
        lost = worst_class(row, clean)
        parts.append(
            f"{row['name']} {100 * row['accuracy']:.1f} % ({100 * row['difference']:+.1f} points,"
            f" p = {format_p(row['p_holm'])}{f'; {lost}' if lost else ''})"
        )
    rest = sorted({row["deformation"] for row in rows} - names.keys())
    text = f"Distinguishable from the {100 * clean['accuracy']:.1f} % of the tracks as they are:"
    text += f" {', '.join(parts)} ({tests}; of each deformation the strength that changes most)."
    return f"{text} Not distinguishable: {', '.join(rest)}." if rest else text


def flips_by_track(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tracks whose answer changes, those that change most often first.

    Each has `id`, `true`, `clean`, and `answers`: the other answers, with the names of the rows.
    """
    tracks: dict[str, dict[str, Any]] = {}
    for row in report["rows"]:
        for flip in row["flips"]:
            known = {name: flip[name] for name in ("id", "true", "clean")}
            track = tracks.setdefault(flip["id"], known | {"answers": {}})
            track["answers"].setdefault(flip["deformed"], []).append(row["name"])
    return sorted(tracks.values(), key=lambda t: -sum(map(len, t["answers"].values())))
