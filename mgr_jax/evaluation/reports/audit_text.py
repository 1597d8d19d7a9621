"""The findings of an audit as text for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mgr_jax.escape import printable
from mgr_jax.plural import plural

# Rows of a list that are printed; the JSON has all of them.
_SHOWN = 8


def to_text(findings: Mapping[str, Any]) -> str:
    """Format the findings of `audit` for the terminal."""
    near = findings["near_identical_pairs_rows"]
    sizes = ", ".join(f"{size} {part}" for part, size in findings["n"].items())
    if findings["has_folds"]:
        sizes = "folds of " + ", ".join(f"{size}" for size in findings["n"].values())
    side = "another fold" if findings["has_folds"] else "train or valid"
    who = "tracks" if findings["has_folds"] else "test tracks"
    lines = [
        f"data      {findings['data']}: {findings.get('protocol', 'split')}: {sizes};"
        f" {len(findings['left_out'])} left out",
        "",
        f"{'':34}  count  in two parts",
    ]
    for what in ("artist", "recording"):
        crossing: int | str = len(findings[f"crossing_{what}s"])
        if not crossing and findings[f"{what}_overlap"] is None:
            crossing = "not known"
        lines.append(f"{what + 's':34}  {'':5}  {crossing:>12}")
    for what, rows, why in (
        ("byte-identical pairs", findings["identical_pairs_rows"], "there are no files"),
        ("near-identical pairs", near, "no audio, or too short"),
        ("same audio under two labels, pairs", findings["label_conflicts_rows"], "see above"),
    ):
        if rows is None:
            lines.append(f"{what:34}  not compared: {why}")
        else:
            crossing = sum(row["crosses"] for row in rows)
            lines.append(f"{what:34}  {len(rows):5d}  {crossing:12d}")
    lines.append("")
    for what in ("artist", "recording"):
        share, spread = findings[f"{what}_overlap"], findings.get(f"{what}_overlap_sd")
        if share is None:
            known = sum(findings["n"].values()) - findings[f"unknown_{what}s"]
            reason = f"no {what} known" + (" on one side of the split" if known else "")
            lines.append(f"not known whether {who} share their {what} with {side}: {reason}")
            continue
        over = (
            f" (mean of {findings['num_seeds']} seeds, sd {100 * spread:.1f})"
            if spread is not None
            else ""
        )
        bound = " or more" if findings[f"unknown_{what}s"] else ""
        lines.append(
            f"{100 * share:5.1f} %{bound} of the {who} share their {what} with {side}{over}"
        )
    lines += ["", *_balance_table(findings["class_balance"])]
    if "folds" in findings:
        lines += ["", f"tracks in each of the {findings['num_folds']} folds:"]
        folds = {label: dict(enumerate(row)) for label, row in findings["folds"].items()}
        lines += _balance_table(folds)
    if findings["durations"]:
        d = findings["durations"]
        lines += [
            "",
            f"durations {d['min_seconds']:.2f} to {d['max_seconds']:.2f} s, median"
            f" {d['median_seconds']:.2f} s, {d['total_hours']:.2f} h in all",
        ]
    for title, rows in (
        ("artists in two parts", _crossing_lines(findings["crossing_artists"], "artist")),
        ("recordings in two parts", _crossing_lines(findings["crossing_recordings"], "recording")),
        ("byte-identical", _pair_lines(findings["identical_pairs_rows"] or [])),
        ("near-identical", _pair_lines(near or [])),
        ("same audio under two labels", _pair_lines(findings["label_conflicts_rows"] or [])),
        ("in two parts", findings["tracks_in_two_parts"]),
        ("left out", findings["left_out"]),
        ("unreadable", [f"{name}: {why}" for name, why in findings["unreadable"].items()]),
        ("in the file, but no track of the data", findings["unknown_names"]),
    ):
        if rows:
            lines += ["", f"{title} ({len(rows)}):"]
            lines += [f"  {printable(row)}" for row in rows[:_SHOWN]]
            if rows[_SHOWN:]:
                lines.append(f"  ... and {len(rows) - _SHOWN} more; --json=FILE has all")
    return "\n".join([*lines, "", f"verdict   {_verdict(findings)}"])


def _verdict(findings: Mapping[str, Any]) -> str:
    unknown, total = findings["unknown_artists"], sum(findings["n"].values())
    gaps = [f"{unknown} of {plural(total, 'track')} have no artist"] if unknown else []
    if findings["near_identical_pairs"] is None:
        gaps.append("the audio was not compared")
    if findings["leaks"]:
        text = plural(findings["leaks"], "leak")
    elif not unknown:
        return ", but ".join(["nothing leaks", *gaps])
    else:
        text = "no leak is known"
    return f"{text}; whether more leaks is not known: {', '.join(gaps)}" if gaps else text


def _balance_table(balance: Mapping[str, Mapping[Any, int]]) -> list[str]:
    parts = list(next(iter(balance.values())))
    width = max(len(label) for label in balance)
    widths = [max(5, len(str(part))) for part in parts]
    head = (f"{part:>{w}}" for part, w in zip(parts, widths, strict=True))
    lines = [" ".join([" " * width, *head])]
    for label, counts in balance.items():
        cells = (f"{counts[p]:{w}d}" for p, w in zip(parts, widths, strict=True))
        lines.append(" ".join([f"{label:{width}}", *cells]))
    return lines


def _crossing_lines(rows: Iterable[dict[str, Any]], field: str) -> list[str]:
    return [
        f"{' = '.join(row['spellings'])}: "
        + "; ".join(f"{part}: {_some(ids)}" for part, ids in row["parts"].items())
        for row in rows
    ]


def _some(names: Sequence[str]) -> str:
    return " ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")


def _pair_lines(rows: Iterable[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        sides = (
            f"{n} ({p or 'left out'})" for n, p in zip(row["tracks"], row["parts"], strict=True)
        )
        more = ""
        if "similarity" in row:
            more = f", similarity {row['similarity']:.2f}, {row['shift_seconds']:+.1f} s"
        lines.append(" = ".join(sides) + more)
    return lines
