"""The explanation of the answer for one track: a value, its picture and its JSON."""

import base64
import dataclasses
import io
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mgr_jax.escape import printable
from mgr_jax.evaluation.reports import figure_files

_FOR, _AGAINST = "#d62728", "#1f77b4"
_METHODS = {
    "linear": "exact contributions",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
}
_TICKS = (100, 300, 1000, 3000, 10000)
_RANGE_DB = 70  # of the spectrogram
# Cells that a picture shows at most; finer attributions are added up.
_COLUMNS, _BANDS = 120, 32
_LONGEST = 60  # Characters of a title.
LARGE_ERROR = 0.2  # Of completeness: the cells miss more than a fifth of the score.


@dataclasses.dataclass(frozen=True, repr=False, eq=False)  # Arrays have no truth value.
class Explanation:
    """Which times and which bands of a track carried a label.

    Attributes:
      label: the explained label. probability: its probability.
      method: `integrated_gradients`, `linear` or `occlusion`.
      score: in words, the score whose parts the attributions are.
      baseline: in words, what the attributions are relative to.
      attributions: [F, M], above 0 where a cell speaks for the label.
      seconds: edges of the cells in time [F + 1]. hz: edges in frequency [M + 1].
      change: score of the track minus that of the baseline; None if `method` is `occlusion`.
      completeness_error: |sum of the attributions - change| / |change|; None likewise.
      features: contribution of each feature of a linear system, largest first; else empty.
      decibels: mel spectrogram for the picture [G, H], of its own resolution over the same time.
      decibel_hz: edges of its bands [H + 1].
      remark: in words, what a reader has to know of the method; else empty.
    """

    label: str
    probability: float
    method: str
    score: str
    baseline: str
    attributions: np.ndarray
    seconds: np.ndarray
    hz: np.ndarray
    change: float | None
    completeness_error: float | None
    features: dict[str, float]
    decibels: np.ndarray
    decibel_hz: np.ndarray
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all but the spectrogram as JSON values, with four digits."""
        names = ("label", "probability", "method", "remark", "score", "baseline")
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        values |= {"change": self.change, "completeness_error": self.completeness_error}
        for name in ("seconds", "hz", "attributions"):
            values[name] = _rounded(getattr(self, name))
        return values | {"features": self.features}

    def coarse(self, num_columns: int, num_bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sums of attributions over at most so many columns and bands, and the edges.

        All but the last are as wide as each other, so that none has more for its size. They are
        [F, M], in seconds [F + 1] and in Hz [M + 1].
        """
        values, edges = self.attributions, []
        for axis, limit in enumerate((num_columns, num_bands)):
            count = values.shape[axis]
            starts = np.arange(0, count, -(-count // limit))
            values = np.add.reduceat(values, starts, axis=axis)
            edges.append((self.seconds, self.hz)[axis][[*starts, count]])
        return values, edges[0], edges[1]

    def to_png(self, title: str = "") -> bytes:
        """Return a picture: the spectrogram in grey, red cells for the label, blue ones against.

        Below are the sums over time, at the right those over frequency. `title`, such as the name
        of the file, is put before label, probability and method.
        """
        return _draw(self, title)

    def describe(self) -> str:
        """Return in words when and where most speaks for the label, by which method."""
        values, seconds, hz = self.coarse(20, 16)
        time, band = (int(values.sum(axis=axis).argmax()) for axis in (1, 0))
        error = self.completeness_error
        exact = f" ({self.remark})" if self.remark else ""
        if error is not None:
            exact += f", completeness error {100 * error:{'.0f' if error > 0.1 else '.2g'}} %"
            exact += " (do not rely on it)" if error > LARGE_ERROR else ""
        return (
            f"{self.label}: most at {seconds[time]:.1f} to {seconds[time + 1]:.1f} s and at"
            f" {hz[band]:.0f} to {hz[band + 1]:.0f} Hz, by {_METHODS[self.method]}{exact}"
        )

    def __repr__(self) -> str:
        return f"Explanation({100 * self.probability:.0f} % {self.describe()})"

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.to_png()).decode()
        text = escape(printable(repr(self)))
        return f'<img alt="{text}" style="max-width:100%" src="data:image/png;base64,{picture}">'


def _rounded(values: np.ndarray) -> list:
    """Return an array as nested lists of numbers with four digits."""
    size = np.abs(values).max(initial=0)
    digits = 0 if size == 0 else 4 - int(np.floor(np.log10(size)))
    return np.round(values.astype(np.float64), digits).tolist()


def _draw(explanation: Explanation, title: str) -> bytes:
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    main, by_band, by_time, _ = figure.subplots(
        2, 2, width_ratios=(8, 1), height_ratios=(4, 1)
    ).ravel()
    figure.axes[3].set_axis_off()
    mel = np.log1p(explanation.decibel_hz / 700)  # A mel scale up to a factor.
    duration = explanation.seconds[-1]
    decibels = explanation.decibels
    main.imshow(
        decibels.T,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        vmin=decibels.max() - _RANGE_DB,
        extent=(0, duration, mel[0], mel[-1]),
    )
    values, seconds, hz = explanation.coarse(_COLUMNS, _BANDS)
    edges = np.log1p(hz / 700)
    largest = max(np.abs(values).max(), 1e-12)
    colors = np.zeros((*values.T.shape, 4))
    colors[..., :3] = np.where((values.T > 0)[..., None], to_rgb(_FOR), to_rgb(_AGAINST))
    colors[..., 3] = 0.85 * np.sqrt(np.abs(values.T) / largest)
    main.pcolormesh(seconds, edges, colors)
    ticks = [tick for tick in _TICKS if tick < explanation.decibel_hz[-1]]
    main.set_yticks([np.log1p(tick / 700) for tick in ticks], [f"{tick:,}" for tick in ticks])
    main.set_ylabel("Hz")
    main.set_xlim(0, duration)
    main.set_ylim(mel[0], mel[-1])
    main.tick_params(labelbottom=False)
    _bars(by_band, edges, values.sum(axis=0), horizontal=True)
    by_band.set_ylim(mel[0], mel[-1])
    _bars(by_time, seconds, values.sum(axis=1), horizontal=False)
    by_time.set_xlim(0, duration)
    by_time.set_xlabel("seconds")
    method = _METHODS[explanation.method]
    answer = f"{explanation.label} {100 * explanation.probability:.0f} %, by {method}"
    # Labels and the names of files may contain dollar signs.
    shown = title if len(title) <= _LONGEST else f"{title[:_LONGEST]}..."
    figure.suptitle(": ".join(filter(None, (shown, answer))), parse_math=False, fontsize=11)
    main.set_title(
        f"red: for it, blue: against it; {explanation.score}, relative to {explanation.baseline}",
        parse_math=False,
        fontsize=8,
    )
    buffer = io.BytesIO()
    figure_files.save(figure, buffer)
    return buffer.getvalue()


def _bars(axes: Axes, edges: np.ndarray, values: np.ndarray, *, horizontal: bool) -> None:
    """Draw sums between their edges, without a scale."""
    centers, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    colors = [_FOR if value > 0 else _AGAINST for value in values]
    if horizontal:
        axes.barh(centers, values, height=widths, color=colors)
        axes.axvline(0, color="black", linewidth=0.5)
    else:
        axes.bar(centers, values, width=widths, color=colors)
        axes.axhline(0, color="black", linewidth=0.5)
    axes.set_xticks([]) if horizontal else axes.set_yticks([])
    axes.tick_params(labelleft=False, left=False) if horizontal else None
