"""The findings of an audit as a table for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Rows of a list that a terminal shows; the JSON has all.
_SHOWN = 8


def to_text(found: Mapping[str, Any]) -> str:
    """The findings of `audit` for a terminal."""
    near = found["near_identical_pairs_rows"]
    sizes = ", ".join(f"{size} {part}" for part, size in found["n"].items())
    if found["has_folds"]:
        sizes = "folds of " + ", ".join(f"{size}" for size in found["n"].values())
    side = "another fold" if found["has_folds"] else "train or valid"
    who = "tracks" if found["has_folds"] else "test tracks"
    lines = [
        f"data      {found['data']}: {found.get('protocol', 'split')}: {sizes};"
        f" {len(found['left_out'])} left out",
        "",
        f"{'':34}  count  in two parts",
    ]
    for what, crossing in (
        ("artists", found["crossing_artists"]),
        ("recordings", found["crossing_recordings"]),
    ):
        lines.append(f"{what:34}  {'':5}  {len(crossing):12d}")
    for what, rows in (
        ("byte-identical pairs", found["identical_pairs_rows"]),
        ("near-identical pairs", near),
        ("same audio under two labels, pairs", found["label_conflicts_rows"]),
    ):
        if rows is None:
            lines.append(f"{what:34}  not compared: no audio, or too short")
        else:
            crossing = sum(row["crosses"] for row in rows)
            lines.append(f"{what:34}  {len(rows):5d}  {crossing:12d}")
    lines.append("")
    for what in ("artist", "recording"):
        spread = found.get(f"{what}_overlap_sd")
        over = f" (mean of {found['num_seeds']} seeds, sd {100 * spread:.1f})" if spread else ""
        share = 100 * found[f"{what}_overlap"]
        lines.append(f"{share:5.1f} % of the {who} share their {what} with {side}{over}")
    if found["unknown_artists"]:
        lines.append(
            f"{found['unknown_artists']} track(s) have no known artist: of them nothing is said"
        )
    lines += ["", *_balance_table(found["class_balance"])]
    if "folds" in found:
        lines += ["", f"tracks in each of the {found['num_folds']} folds:"]
        folds = {label: dict(enumerate(row)) for label, row in found["folds"].items()}
        lines += _balance_table(folds)
    if found["durations"]:
        d = found["durations"]
        lines += [
            "",
            f"durations {d['min_seconds']:.2f} to {d['max_seconds']:.2f} s, median"
            f" {d['median_seconds']:.2f} s, {d['total_hours']:.2f} h in all",
        ]
    for title, rows in (
        ("artists in two parts", _crossing_lines(found["crossing_artists"], "artist")),
        ("recordings in two parts", _crossing_lines(found["crossing_recordings"], "recording")),
        ("byte-identical", _pair_lines(found["identical_pairs_rows"])),
        ("near-identical", _pair_lines(near or [])),
        ("same audio under two labels", _pair_lines(found["label_conflicts_rows"])),
        ("in two parts", found["tracks_in_two_parts"]),
        ("left out", found["left_out"]),
        ("unreadable", [f"{name}: {why}" for name, why in found["unreadable"].items()]),
        ("in the file, but no track of the data", found["unknown_names"]),
    ):
        if rows:
            lines += ["", f"{title} ({len(rows)}):", *(f"  {row}" for row in rows[:_SHOWN])]
            if rows[_SHOWN:]:
                lines.append(f"  ... and {len(rows) - _SHOWN} more; --json=FILE has all")
    verdict = f"{found['leaks']} leak(s)" if found["leaks"] else "nothing leaks"
    return "\n".join([*lines, "", f"verdict   {verdict}"])


def _balance_table(balance: Mapping[str, Mapping[Any, int]]) -> list[str]:
    parts = list(next(iter(balance.values())))
    width = max(len(label) for label in balance)
    wide = [max(5, len(str(part))) for part in parts]
    head = (f"{part:>{w}}" for part, w in zip(parts, wide, strict=True))
    lines = [" ".join([" " * width, *head])]
    for label, counts in balance.items():
        cells = (f"{counts[p]:{w}d}" for p, w in zip(parts, wide, strict=True))
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
