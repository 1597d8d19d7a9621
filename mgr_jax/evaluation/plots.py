"""Figures of a report, as PNG files."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INK = "#222222"
_TRAIN, _VALID = "#1f77b4", "#d95f02"


def confusion_matrix(
    path: pathlib.Path, matrix: np.ndarray, labels: Sequence[str], title: str
) -> None:
    """Heat map of counts `[C, C]`, shaded by the share of the true class, to `path`."""
    support = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shares = matrix / support
    size = 2.6 + 0.52 * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix > 0):
        color = "white" if shares[row, column] > 0.55 else _INK
        axes.text(
            column, row, str(matrix[row, column]), ha="center", va="center", color=color, size=9
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, size=10)
    _save(figure, path)


def learning_curves(path: pathlib.Path, records: Sequence[dict[str, Any]], title: str) -> None:
    """Loss and accuracy of the training and validation parts by epoch, to `path`."""
    epochs = [record["epoch"] for record in records]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, quantity, scale in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), strict=True
    ):
        for part, name, color in (
            ("train", "train (windows, while learning)", _TRAIN),
            ("valid", "validation (tracks)", _VALID),
        ):
            values = [scale * record[f"{part}_{quantity}"] for record in records]
            axes.plot(epochs, values, color=color, marker=".", label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross entropy (nats)" if quantity == "loss" else "accuracy (%)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[1].set_ylim(0, 102)
    figure.axes[1].legend(frameon=False, loc="lower right")
    figure.suptitle(title, size=10)
    _save(figure, path)


def regularisation_path(path: pathlib.Path, records: Sequence[dict[str, Any]], title: str) -> None:
    """Accuracy of the training and validation parts by penalty, to `path`."""
    penalties = [record["l2"] for record in records]
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for part, color in (("train", _TRAIN), ("valid", _VALID)):
        values = [100 * record[f"{part}_accuracy"] for record in records]
        axes.plot(penalties, values, color=color, marker="o", label=part)
    chosen = next(record for record in records if record["chosen"])
    axes.axvline(chosen["l2"], color=_INK, linestyle=":", label="chosen")
    axes.set_xscale("symlog", linthresh=min([p for p in penalties if p > 0], default=1.0))
    axes.set_xlabel("L2 penalty")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, 102)
    _plain(axes)
    axes.legend(frameon=False, loc="lower left")
    axes.set_title(title, size=10)
    _save(figure, path)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)


def _save(figure: Figure, path: pathlib.Path) -> None:
    # No pyplot: it keeps global state, and looks for a screen.
    FigureCanvasAgg(figure).print_figure(path, dpi=120)
