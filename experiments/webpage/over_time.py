"""The song over time: its mel spectrogram, the genres, and a slider over both that plays it."""

import json

import numpy as np

from experiments.webpage import spectrogram
from experiments.webpage.text import clock, escape
from mgr_jax.evaluation.prediction import Prediction
from mgr_jax.predictor import Predictor

_MAX_COLUMNS = 120  # Of the picture of genres over time.
_TICKS = (300.0, 1000.0, 3000.0, 8000.0)  # Hz


def figure(prediction: Prediction, waveform: np.ndarray, predictor: Predictor) -> str:
    """Return the spectrogram and the genres, one above the other, on one axis of time.

    The waveform [T] is at the sample rate of the model.
    """
    features = spectrogram.features_of(predictor.config)
    picture = spectrogram.to_png(spectrogram.decibels(waveform, features))
    ticks = "".join(
        f'<span style="bottom:{100 * height:.1f}%">{_pitch(frequency)}</span>'
        for frequency, height in spectrogram.heights(_TICKS, features).items()
    )
    columns, edges = _columns(prediction)
    duration = prediction.duration_seconds
    lefts, widths = edges[:-1] / duration * 1000, np.diff(edges) / duration * 1000
    rows = ""
    for label in prediction.probabilities:
        values = columns[:, predictor.labels.index(label)]
        cells = "".join(
            f'<rect x="{left:.2f}" width="{width:.2f}" height="1" opacity="{value:.3f}"/>'
            for value, left, width in zip(values, lefts, widths, strict=True)
        )
        rows += (
            f'<li><span class="genre">{escape(label)}</span>'
            f'<svg viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true">{cells}</svg>'
            "</li>"
        )
    count = len(prediction.windows)
    heard = "one window" if count == 1 else f"{count} windows"
    times = "".join(
        f"<span>{clock(duration * share, duration)}</span>" for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        '<section class="card" aria-label="The song over time"><h3>Mel spectrogram</h3>'
        f'<div class="time"><div class="picture"><div class="ticks" aria-hidden="true">{ticks}'
        f'</div><img src="{picture}" alt="Mel spectrogram: energy of the song over time and pitch">'
        f'</div><h3>Genre over time</h3><ol class="timeline" role="list">{rows}</ol>'
        f"{_slider(columns, edges, predictor.labels)}</div>"
        f'<div class="clock" aria-hidden="true">{times}</div>'
        '<p class="small"><span class="hint">Click a moment to hear it; on the keyboard, arrow keys'
        f" move and Enter plays.</span> Heard in {heard} of {prediction.window_seconds:g} s; the"
        " stronger the colour, the more probable the genre. The answer is the mean over time.</p>"
        "</section>"
    )


def _slider(columns: np.ndarray, edges: np.ndarray, labels: tuple[str, ...]) -> str:
    """Return the slider of the playing time, with what the model heard in each column [N, C]."""
    moments = [
        [round(float(end), 2), f"{labels[row.argmax()]} {100 * row.max():.0f} %"]
        for end, row in zip(edges[1:], columns, strict=True)
    ]
    duration = float(edges[-1])
    return (
        f'<input class="seek" type="range" min="0" max="{duration:.2f}" step="0.01" value="0"'
        ' aria-label="Moment of the song; Enter plays or pauses"'
        f' aria-valuetext="{clock(0, duration)}, {escape(moments[0][1])}"'
        f' data-moments="{escape(json.dumps(moments))}">'
    )


def _columns(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Average the windows to N columns, at most `_MAX_COLUMNS`; [N, C], and edges [N + 1] in s."""
    count = len(prediction.windows)
    groups = np.linspace(0, count, min(count, _MAX_COLUMNS) + 1).astype(int)
    sums = np.add.reduceat(prediction.windows, groups[:-1], axis=0)
    starts = prediction.window_starts_seconds[groups[:-1]]
    return sums / np.diff(groups)[:, None], np.append(starts, prediction.duration_seconds)


def _pitch(frequency: float) -> str:
    return f"{frequency / 1000:g} kHz" if frequency >= 1000 else f"{frequency:g} Hz"
