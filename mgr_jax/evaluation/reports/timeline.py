"""Genre over time: the windows of a prediction as lines of text and as a picture."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mgr_jax.evaluation.prediction import Prediction


def lines(prediction: Prediction, labels: Sequence[str]) -> Iterator[str]:
    """Yield a line for each window with its time, its most probable genre and the probability.

    A window that is unlike the music that the model was trained on is marked.
    """
    width = max(map(len, labels))
    ends = _ends(prediction)
    for start, end, row, unlike in zip(
        prediction.window_starts_seconds, ends, prediction.windows, prediction.unlike, strict=True
    ):
        best = int(row.argmax())
        bar = "(unlike the training music)" if unlike else "#" * round(40 * row[best])
        yield f"{_clock(start)} - {_clock(end)}  {labels[best]:{width}}  {row[best]:6.4f}  {bar}"


def draw(
    path: str | os.PathLike, prediction: Prediction, labels: Sequence[str], title: str
) -> None:
    """Write a PNG with time to the right and a row for each genre, darker if more probable."""
    starts, ends = prediction.window_starts_seconds, _ends(prediction)
    # Where windows overlap, each is drawn up to the start of the next one.
    edges = np.append(starts, ends[-1])
    figure = Figure(figsize=(9, 1.2 + 0.3 * len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    mesh = axes.pcolormesh(
        edges, np.arange(len(labels) + 1), prediction.windows.T, vmin=0, vmax=1, cmap="Blues"
    )
    axes.set_yticks(np.arange(len(labels)) + 0.5, labels, parse_math=False)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: _clock(value))
    axes.set_xlabel("time")
    # Labels and the names of files may contain dollar signs.
    axes.set_title(title, parse_math=False)
    figure.colorbar(mesh, label="probability")
    figure.savefig(path, dpi=120, format="png")


def _ends(prediction: Prediction) -> np.ndarray:
    ends = prediction.window_starts_seconds + prediction.window_seconds
    return np.minimum(ends, prediction.duration_seconds)


def _clock(seconds: float) -> str:
    """Format a time as `1:02:03.4`, without the hours if they are 0."""
    tenths = round(10 * float(seconds))
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{clock}" if hours else clock
