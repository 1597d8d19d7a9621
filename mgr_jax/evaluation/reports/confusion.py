"""Confusion matrices that can be read at the width of a column, of few classes or many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mgr_jax.evaluation.reports.figure_files import COLUMN, FONT

_INK = "#222222"
# Points: below these, numbers and names cannot be read in print.
_LEAST_NUMBER, _LEAST_NAME = 3.3, 4.5
# Widths of a letter and of a digit relative to the size of their font.
_LETTER, _DIGIT = 0.56, 0.636
# From so many classes on, every other name stands on the opposite side.
_ALTERNATING = 25
Texts = dict[tuple[int, ...], str]


def figure(
    matrix: np.ndarray, labels: Sequence[str], title: str, *, normalised: bool = False
) -> Figure:
    """Return a heat map of counts [C, C] for a column, shaded by the share of the true class.

    Cells have counts, or percentages of the true class if `normalised`, as long as these can be
    read; otherwise a scale says what the shades mean.
    """
    sides = 1 if len(labels) < _ALTERNATING else 2
    names = abbreviate(labels, 14 if sides == 1 else 9)
    longest = max(map(len, names)) * _LETTER
    # Points: the names beside the matrix and below it, its side, and a class of it.
    beside = sides * longest * (FONT if sides == 1 else 0.75 * FONT)
    below = beside * (0.75 if sides == 1 else 1)
    side = 72 * COLUMN - beside - 3 * FONT
    pitch = side / len(labels)
    numbered = _number_size(_texts(matrix, normalised), pitch) >= _LEAST_NUMBER
    num_lines = 1 + title.count("\n") if title else 0
    height = side + below + (3 + 1.5 * num_lines + (0 if numbered else 3.5)) * FONT
    result = Figure(figsize=(COLUMN, height / 72), layout="constrained")
    result.get_layout_engine().set(w_pad=0.02, h_pad=0.02)  # pyright: ignore
    axes = result.add_subplot()
    shades = _draw_cells(axes, matrix, pitch, normalised=normalised)
    size = min(FONT, max(_LEAST_NAME, 0.85 * sides * pitch))
    step = max(1, int(np.ceil(_LEAST_NAME / (sides * pitch))))
    _name_classes(axes, names, size, sides=sides, step=step)
    unit = "%" if normalised else "shade: share of the true class"
    axes.set_xlabel(f"predicted ({unit})" if numbered else "predicted", size=FONT, labelpad=2)
    axes.set_ylabel("true", size=FONT, labelpad=2)
    if not numbered:
        bar = result.colorbar(
            shades, ax=axes, location="bottom", fraction=0.02, pad=0.01, aspect=50
        )
        bar.set_label("share of the true class", size=FONT, labelpad=1)
        bar.ax.tick_params(labelsize=FONT - 1, length=2, pad=1)
        bar.outline.set_linewidth(0.3)  # pyright: ignore
    axes.set_title(title, size=FONT, parse_math=False)
    return result


def draw(axes: Any, matrix: np.ndarray, labels: Sequence[str], font: float) -> None:
    """Draw counts [C, C] as one of several panels, with text of `font` points."""
    _draw_cells(axes, matrix, 2 * _DIGIT * font, normalised=False)
    _name_classes(axes, abbreviate(labels, 24), font + 1, sides=1, step=1)


def abbreviate(labels: Sequence[str], length: int) -> list[str]:
    """Return `labels` with at most `length` characters each, all different if `labels` are.

    Of longer ones the end is cut off, or the middle where that makes two alike.
    """
    cut = [_cut(label, length, 0) for label in labels]
    short: list[str] = []
    for label, name in zip(labels, cut, strict=True):
        if cut.count(name) > 1:
            name = _cut(label, length, (length - 1) // 2)
        if name in short and label not in labels[: len(short)]:
            number = f"…{len(short) + 1}"
            name = name[: length - len(number)] + number
        short.append(name)
    return short


def _cut(label: str, length: int, tail: int) -> str:
    if len(label) <= length:
        return label
    start = label[: length - 1 - tail].rstrip(" -/&(,.")
    return f"{start}…{label[len(label) - tail :]}"


def _texts(matrix: np.ndarray, normalised: bool) -> Texts:
    """Return (row, column) -> the number of each cell that is not empty."""
    totals = np.maximum(matrix.sum(axis=1), 1)
    return {
        cell: f"{100 * count / totals[cell[0]]:.0f}" if normalised else str(count)
        for cell, count in np.ndenumerate(matrix)
        if count > 0
    }


def _number_size(texts: Texts, pitch: float) -> float:
    """Return the size of numbers that fit into cells of `pitch` points."""
    digits = max(map(len, texts.values()), default=1)
    return min(FONT, 0.9 * pitch / (_DIGIT * max(digits, 2)))


def _draw_cells(axes: Any, matrix: np.ndarray, pitch: float, *, normalised: bool) -> Any:
    """Draw shades, and numbers if they fit into cells of `pitch` points; return the shades."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ends = np.arange(len(matrix) + 1) - 0.5
    line = {"edgecolors": "#dddddd", "linewidth": min(0.5, pitch / 20)}
    mesh = axes.pcolormesh(ends, ends, shares, cmap="Blues", vmin=0, vmax=1, **line)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    texts = _texts(matrix, normalised)
    size = _number_size(texts, pitch)
    for (row, column), text in texts.items() if size >= _LEAST_NUMBER else ():
        color = "white" if shares[row, column] > 0.55 else _INK
        axes.text(column, row, text, ha="center", va="center", color=color, size=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)
    return mesh


def _name_classes(axes: Any, names: Sequence[str], size: float, *, sides: int, step: int) -> None:
    """Name every `step`-th class, on the left and below, or in turns on two sides."""
    text = {"size": size, "parse_math": False}
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    positions = range(0, len(names), step)
    near, far = positions[::sides], positions[1::2] if sides == 2 else ()
    angle = slanted if sides == 1 else {"rotation": 90}
    axes.set_xticks(near, [names[i] for i in near], **text, **angle)
    axes.set_yticks(near, [names[i] for i in near], **text)
    axes.tick_params(pad=1)
    if sides == 1:
        return
    top, right = axes.secondary_xaxis("top"), axes.secondary_yaxis("right")
    top.set_xticks(far, [names[i] for i in far], **text, rotation=90)
    right.set_yticks(far, [names[i] for i in far], **text)
    for axis in (top, right):
        axis.tick_params(length=0, pad=1)
        for spine in axis.spines.values():
            spine.set_visible(False)
