"""The picture of the leakage gap: the accuracies of both protocols, and their difference."""

import pathlib
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mgr_jax.evaluation.cross_validation import GROUPED, RANDOM
from mgr_jax.evaluation.reports import figure_files

_COLORS = {RANDOM: "#d95f02", GROUPED: "#1f77b4"}
_NAMES = {RANDOM: "tracks at random\n(kfold)", GROUPED: "no artist on both sides\n(artist_kfold)"}
_INK, _FAINT = "#222222", "#888888"


def draw(path: pathlib.Path, report: Mapping[str, Any], title: str, *, with_gap: bool) -> None:
    """Draw the accuracies of a report of `cross_validation.make_report` with their spread.

    A row a protocol has its interval as a bar, seeds as rings and folds as strokes. With
    `with_gap` a second panel has the gap and its interval, beside a line at 0.
    """
    protocols = report["protocols"]
    heights = [1.1 + len(protocols), 1.3] if with_gap else [1.1 + len(protocols)]
    figure = Figure(figsize=(7.2, 0.75 * sum(heights) + 0.9), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_accuracies(panels[0], report)
    if with_gap:
        _draw_gap(panels[1], report)
    for axes in panels:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.invert_yaxis()
    lines = [textwrap.fill(line, 104) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), size=10, parse_math=False)
    figure_files.save(figure, path)


def _draw_accuracies(axes: Any, report: Mapping[str, Any]) -> None:
    protocols = report["protocols"]
    for row, (name, values) in enumerate(protocols.items()):
        color = _COLORS.get(name, _INK)
        if values["ci95"]:
            ends = 100 * np.array(values["ci95"])
            axes.plot(ends, [row, row], color=color, linewidth=9, alpha=0.3, solid_capstyle="butt")
        seeds = values["seeds"]
        folds = [100 * fold["accuracy"] for seed in seeds for fold in seed["folds"]]
        axes.scatter(folds, [row + 0.26] * len(folds), marker="|", s=70, color=_FAINT, linewidth=1)
        if len(seeds) > 1:
            shares = [100 * seed["accuracy"] for seed in seeds]
            options = {"s": 42, "facecolors": "none", "edgecolors": color}
            axes.scatter(shares, [row] * len(shares), **options)
        share = 100 * values["accuracy"]
        axes.scatter([share], [row], s=64, color=color, zorder=3)
        axes.annotate(
            f"{share:.1f} %", (share, row), xytext=(0, 9), textcoords="offset points", ha="center",
            color=color, size=10, weight="bold",
        )  # fmt: skip
    chance = 100 / len(report["labels"])
    axes.axvline(chance, color=_FAINT, linestyle=":", linewidth=1)
    axes.annotate(
        " chance", (chance, 1), xycoords=("data", "axes fraction"), va="top", size=8, color=_FAINT
    )
    names = {
        RANDOM: "tracks at random\n(kfold)",
        GROUPED: "no artist on both sides\n(artist_kfold)",
    }
    axes.set_yticks(range(len(protocols)), [names.get(name, name) for name in protocols], size=9)
    axes.set_ylim(-0.6, len(protocols) - 0.4)
    axes.set_xlim(0, 101)
    rings = ", ring: a seed" if report["num_seeds"] > 1 else ""
    axes.set_xlabel(f"accuracy (%); bar: 95 % interval{rings}, stroke: a fold", size=9)


def _draw_gap(axes: Any, report: Mapping[str, Any]) -> None:
    gap = report["leakage_gap"]
    ends = [100 * end for end in gap["ci95"] or (gap["gap"], gap["gap"])]
    axes.axvline(0, color=_INK, linewidth=1)
    axes.plot(ends, [0, 0], color=_INK, linewidth=9, alpha=0.25, solid_capstyle="butt")
    axes.scatter([100 * gap["gap"]], [0], s=64, color=_INK, zorder=3)
    interval = f" [{ends[0]:.1f}, {ends[1]:.1f}]" if gap["ci95"] else ", no interval"
    axes.annotate(
        f"{100 * gap['gap']:+.1f}{interval}", (100 * gap["gap"], 0), xytext=(0, 9),
        textcoords="offset points", ha="center", size=10, weight="bold",
    )  # fmt: skip
    # 0 and room for the text beside the interval.
    low, high = min(0, *ends), max(0, *ends)
    margin = max(5, 0.35 * (high - low))
    axes.set_xlim(low - margin, high + margin)
    axes.set_yticks([0], ["leakage gap"], size=9)
    axes.set_ylim(-0.75, 0.5)
    by = report["grouped_by"]
    axes.set_xlabel(f"points of accuracy that come from knowing the {by}s (95 % interval)", size=9)
