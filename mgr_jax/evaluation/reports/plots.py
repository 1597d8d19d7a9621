"""Figures of a report, as PNG, SVG or PDF files by the ending of their path."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from matplotlib.figure import Figure

from mgr_jax.evaluation.reports import confusion, figure_files

_INK = "#222222"
# Of a title in a figure of the width of a column.
_COLUMN_CHARACTERS = 54
_TRAIN, _VALID = "#1f77b4", "#d95f02"
_MACRO = "#5b6770"


def confusion_matrix(
    path: pathlib.Path | BinaryIO,
    matrix: np.ndarray,
    labels: Sequence[str],
    title: str,
    *,
    normalised: bool = False,
) -> None:
    """Draw a heat map of counts [C, C], see `confusion.figure`."""
    wrapped = "\n".join(textwrap.fill(line, _COLUMN_CHARACTERS) for line in title.split("\n"))
    _save(confusion.figure(matrix, labels, wrapped, normalised=normalised), path)


def confusion_matrices(
    path: pathlib.Path | BinaryIO,
    systems: Sequence[tuple[str, np.ndarray]],
    labels: Sequence[str],
    title: str,
) -> None:
    """Draw the counts [C, C] of several systems side by side, three in a row: (name, counts)."""
    num_rows, width = -(-len(systems) // 3), 0.9 + 0.27 * len(labels)
    figure = Figure(figsize=(3 * width, num_rows * width + 0.5), layout="constrained")
    grid = figure.subplots(num_rows, 3, squeeze=False).ravel()
    for axes, (name, matrix) in zip(grid, systems, strict=False):
        confusion.draw(axes, matrix, labels, 7)
        axes.set_title(name, size=9, parse_math=False)
    for axes in grid[len(systems) :]:
        axes.remove()
    figure.supxlabel("predicted (shade: share of the true class)", size=9)
    figure.supylabel("true", size=9)
    figure.suptitle(_wrapped(figure, title), size=10, parse_math=False)
    _save(figure, path)


def learning_curves(path: pathlib.Path, records: Sequence[dict[str, Any]], title: str) -> None:
    """Draw loss and accuracy of the training and validation parts by epoch."""
    epochs = [record["epoch"] for record in records]
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    for axes, quantity, scale in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), strict=True
    ):
        for part, name, color in (
            ("train", "train (windows, while learning)", _TRAIN),
            ("valid", "validation (tracks)", _VALID),
        ):
            if any(f"{part}_{quantity}" not in record for record in records):
                continue  # With `train.refit` there is no validation part.
            values = [scale * record[f"{part}_{quantity}"] for record in records]
            axes.plot(epochs, values, color=color, marker=".", label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross entropy (nats)" if quantity == "loss" else "correct (%)")
        axes.set_xlim(0, epochs[-1] + max(0.5, 0.02 * epochs[-1]))
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[1].set_ylim(0, 102)
    handles, names = figure.axes[1].get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, loc="outside lower center", ncols=2)
    figure.suptitle(_wrapped(figure, title), size=10, parse_math=False)
    _save(figure, path)


def regularisation_path(path: pathlib.Path, records: Sequence[dict[str, Any]], title: str) -> None:
    """Draw the accuracy of the training and validation parts by penalty."""
    penalties = [record["l2"] for record in records]
    figure = Figure(figsize=(5.4, 3.9), layout="constrained")
    axes = figure.add_subplot()
    for part, name, color in (("train", "train", _TRAIN), ("valid", "validation", _VALID)):
        values = [100 * record[f"{part}_accuracy"] for record in records]
        axes.plot(penalties, values, color=color, marker="o", label=name)
    chosen = next(record for record in records if record["chosen"])
    axes.axvline(chosen["l2"], color=_INK, linestyle=":", label="chosen", zorder=0)
    smallest = min([p for p in penalties if p > 0], default=1.0)
    if min(penalties) > 0:
        axes.set_xscale("log")
    else:  # A log scale with a linear section around 0.
        axes.set_xscale("symlog", linthresh=smallest)
        axes.set_xlim(-0.2 * smallest, 2 * max(*penalties, smallest))
    axes.set_xlabel("L2 penalty")
    axes.set_ylabel("windows correct (%)")
    axes.set_ylim(0, 102)
    _plain(axes)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    _set_title(axes, title)
    _save(figure, path)


def f1_bars(
    path: pathlib.Path,
    per_class: Mapping[str, dict[str, float]],
    intervals: Mapping[str, Sequence[float] | None],
    title: str,
    *,
    method: str = "by track",
    unit: str = "tracks",
) -> None:
    """Draw bars of F1 by class and of the macro average, with intervals where defined."""
    names = [name for name in per_class if name != "weighted avg"]
    values = [per_class[name]["f1"] for name in names]
    positions = np.arange(len(names))
    figure = Figure(figsize=(6.4, min(1.4 + 0.3 * len(names), 40)), layout="constrained")
    axes = figure.add_subplot()
    colors = [_MACRO if name == "macro avg" else _TRAIN for name in names]
    axes.barh(positions, values, color=colors, height=0.7, alpha=0.85)
    for position, name in zip(positions, names, strict=True):
        ends = intervals.get(name)
        if ends:
            axes.plot(ends, [position, position], color=_INK, linewidth=1.4, marker="|")
    labels = [f"{_short(name)} ({per_class[name]['support']})" for name in names]
    axes.set_yticks(positions, labels, size=9, parse_math=False)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(0, 1)
    line = f"line: 95 % interval {method}; " if any(map(intervals.get, names)) else ""
    axes.set_xlabel(f"F1 ({line}in brackets: {unit})")
    _plain(axes, grid="x")
    axes.set_axisbelow(True)
    _set_title(axes, title)
    _save(figure, path)


def reliability(path: pathlib.Path, report: Mapping[str, Any], title: str) -> None:
    """Draw accuracy and number of tracks by confidence, before and after temperature scaling."""
    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color="#888888", linestyle=":", label="as sure as right")
    curves = [(report, "as the model says", _VALID)]
    if report["calibrated"]:
        temperature = report["calibrated"]["temperature"]
        curves.append((report["calibrated"], f"at temperature {temperature:.2f}", _TRAIN))
    for values, name, color in curves:
        bins = values["reliability"]
        name = f"{name} (error {values['calibration_error']['error']:.3f})"
        x, y = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
        sizes = [12 + 160 * b["n"] / report["n"] for b in bins]
        axes.plot(x, y, color=color, linewidth=1, alpha=0.4)
        axes.scatter(x, y, s=sizes, color=color, label=name, alpha=0.8)
        starts, counts = [b["from"] for b in bins], [b["n"] for b in bins]
        width = bins[0]["to"] - bins[0]["from"]
        below.bar(starts, counts, width=width, align="edge", color=color, alpha=0.5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("share that is right")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    below.set_xlim(0, 1)
    below.set_xlabel("confidence")
    below.set_ylabel("tracks")
    for each in (axes, below):
        _plain(each)
    _set_title(axes, title)
    _save(figure, path)


def abstention(path: pathlib.Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw the accuracy of the answered tracks by their share."""
    rows = [row for row in rows if row["n"]]
    coverage = [100 * row["coverage"] for row in rows]
    accuracy = [100 * row["accuracy"] for row in rows]
    figure = Figure(figsize=(5.4, 3.9), layout="constrained")
    axes = figure.add_subplot()
    low, high = 100 * np.array([row["ci95"] or (np.nan, np.nan) for row in rows]).T
    if not np.isnan(low).all():
        label = f"95 % interval by {rows[0]['grouped_by']}"
        axes.fill_between(coverage, low, high, color=_TRAIN, alpha=0.18, label=label)
    axes.plot(coverage, accuracy, color=_TRAIN, marker="o", label="accuracy")
    last = np.inf
    for row, x, y in zip(rows, coverage, accuracy, strict=True):
        if abs(last - x) > 6:  # Numbers must not overlap.
            axes.annotate(
                f"{row['confidence']:.2g}", (x, y), xytext=(0, 7), textcoords="offset points",
                ha="center", size=8,
            )  # fmt: skip
            last = x
    axes.set_xlabel("tracks answered (%); at each point: the least confidence answered")
    axes.set_ylabel("accuracy of these (%)")
    axes.set_xlim(102, min(coverage) - 5)
    axes.set_ylim(0, 108)
    _plain(axes)
    axes.legend(frameon=False, loc="lower left")
    _set_title(axes, title)
    _save(figure, path)


def accuracies(
    path: pathlib.Path, systems: Sequence[Mapping[str, Any]], title: str, *, width: float = 6.4
) -> None:
    """Draw the accuracies of systems with their intervals, the first at the top; inches wide."""
    positions = np.arange(len(systems))
    is_column = width <= figure_files.COLUMN
    height = (0.6 if is_column else 1.5) + (0.3 if is_column else 0.42) * len(systems)
    font, between = (figure_files.FONT, "\n") if is_column else (9, " ")
    figure = Figure(figsize=(width, min(height, 40)), layout="constrained")
    axes = figure.add_subplot()
    for position, system in zip(positions, systems, strict=True):
        if system["ci95"]:
            ends = [100 * end for end in system["ci95"]]
            axes.plot(ends, [position, position], color=_TRAIN, linewidth=5, alpha=0.35)
        axes.plot(100 * system["accuracy"], position, color=_TRAIN, marker="o")
    names = [f"{_short(s['name'])}{between}(n = {s['n']}, {s['protocol']})" for s in systems]
    axes.set_yticks(positions, names, size=font, parse_math=False)
    if is_column:
        axes.tick_params(axis="x", labelsize=font)
    axes.invert_yaxis()
    axes.margins(y=0.2)
    axes.set_xlim(0, 100)
    seeds = " and seed" if systems[0].get("num_seeds", 1) > 1 else ""
    by = f", with 95 % interval by {systems[0]['grouped_by']}{seeds}" if systems[0]["ci95"] else ""
    axes.set_xlabel(f"accuracy (%){by}", size=font if is_column else None)
    _plain(axes, grid="x")
    _set_title(axes, title)
    _save(figure, path)


def _short(label: str) -> str:
    return label if len(label) <= 24 else label[:23] + "…"


def _set_title(axes: Any, title: str) -> None:
    axes.set_title(_wrapped(axes.figure, title), size=10, parse_math=False)


def _wrapped(figure: Figure, title: str) -> str:
    """Break lines of `title` that are too long for the figure, at a size of 10 points."""
    width = int(11 * figure.get_size_inches()[0])
    return "\n".join(textwrap.fill(line, width) for line in title.split("\n"))


def _plain(axes: Any, *, grid: str = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e6e6e6", linewidth=0.6)


def _save(figure: Figure, path: pathlib.Path | BinaryIO) -> None:
    figure_files.save(figure, path)
