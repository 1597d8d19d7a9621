"""The texts of the page as HTML: the answer for a song, errors, and the facts about the model."""

import html
from collections.abc import Sequence

import numpy as np

from experiments.webpage import spectrogram
from mgr_jax import hearing
from mgr_jax.data import splits
from mgr_jax.escape import printable
from mgr_jax.evaluation import stats
from mgr_jax.evaluation.reports import wording
from mgr_jax.predictor import Prediction, Predictor

_MAX_COLUMNS = 120  # Of the picture of genres over time.
_TICKS = (300.0, 1000.0, 3000.0, 8000.0)  # Hz
_PROTOCOLS = {
    "holdout": "a tenth of each genre was kept for the test, drawn at random; artists may stand on"
    " both sides, which makes the number too high",
    "kfold": "one fold of several was kept for the test, drawn at random; artists may stand on"
    " both sides, which makes the number too high",
    "artist_kfold": "one fold of several was kept for the test; the songs of an artist stay"
    " together",
    "listed": "tested on the part that the data set lists for it",
    "fault_filtered": "the published split of GTZAN without its faults; no artist stands on both"
    " sides",
    splits.IMPORTED: "the model was trained elsewhere, perhaps on the very music it was tested on",
}
_MODELS = {
    "bbnn": "Bottom-up Broadcast network (bbnn)",
    "cnn": "convolutional network (cnn)",
    "cnn_lstm": "convolutional and LSTM network (cnn_lstm)",
    "rnn": "recurrent network (rnn)",
    "logistic": "logistic regression",
    "svm": "support vector machine",
    "ensemble": "ensemble of discriminants",
}
_INPUTS = {
    "logmel": "log-mel spectrogram",
    "mel_image": "picture of the mel spectrogram",
    "mfcc": "MFCCs over time",
    "mfcc_stats": "mean and covariance of the MFCCs",
    "flattened": "picture of the mel spectrogram",
    "spectrogram": "spectrogram",
    "musicnn": "embedding of MusiCNN, a network that has learned to tag other music",
}
_DATA = {
    "band": "the embedded band, which is music made by a program",
    "gtzan": "GTZAN",
    "folder": "a folder of songs",
    "manifest": "a list of songs",
    "arrays": "a file of spectrograms",
}


def escape(text: object) -> str:
    """Return `text` as HTML without markup or control characters, also for a template engine."""
    safe = html.escape(printable(str(text)))
    return safe.replace("{", "&#123;").replace("$", "&#36;").replace("@", "&#64;")


def hero(predictor: Predictor) -> str:
    """Return the head of the page."""
    seconds = hearing.window_length(predictor.config) / predictor.config.features.sample_rate
    return (
        '<header class="hero"><h1>What does it sound like?</h1>'
        f"<p>Drop in a song. A model hears all of it, {seconds:g} seconds at a time, and says"
        f" which of {len(predictor.labels)} genres it is.</p></header>"
    )


def limits(max_mb: float, max_minutes: float) -> str:
    """Return the note below the place to drop a song."""
    return (
        f'<p class="small">wav, mp3, flac, ogg or aiff, up to {max_mb:g} MB and {max_minutes:g}'
        " minutes. The song stays on the computer that serves this page, and is deleted there"
        " within two hours.</p>"
    )


def waiting(labels: Sequence[str]) -> str:
    """Return the card in place of the answer, before the first song."""
    chips = "".join(f"<li>{escape(label)}</li>" for label in labels)
    return (
        '<section class="card waiting"><p class="lead">The answer appears here.</p>'
        f'<ul class="chips" aria-label="genres">{chips}</ul></section>'
    )


def error(name: str, reason: str) -> str:
    """Return the card for a song that failed: what is wrong with it, and what to do."""
    return (
        '<section class="card error" role="alert"><p class="lead">That did not work.</p>'
        f"<p><b>{escape(name)}</b> {escape(reason)}</p></section>"
    )


def song(name: str, prediction: Prediction, waveform: np.ndarray, predictor: Predictor) -> str:
    """Return the answer for a song; its waveform [T] is at the sample rate of the model."""
    return (
        '<section class="card answer">'
        f"{_verdict(name, prediction, predictor.calibrated)}{_bars(prediction.probabilities)}"
        "</section>"
        f'<section class="card">{_over_time(prediction, waveform, predictor)}</section>'
    )


def _verdict(name: str, prediction: Prediction, calibrated: bool) -> str:
    first, second = list(prediction.probabilities)[:2]
    if prediction.uncertain:
        lead = f"Uncertain: perhaps <em>{escape(first)}</em>, perhaps <em>{escape(second)}</em>."
    else:
        lead = f"This sounds like <em>{escape(first)}</em>."
    origin = "calibrated on music that the model had not learned from"
    if not calibrated:
        origin = "its own estimate, not calibrated"
    notes = [f"About the file: {prediction.note}."] if prediction.note else []
    notes += [f"{caution[0].upper()}{caution[1:]}." for caution in prediction.cautions]
    note = "".join(f'<p class="note">{escape(text)}</p>' for text in notes)
    length = _clock(prediction.duration_seconds, prediction.duration_seconds)
    return (
        f'<p class="name">{escape(name)} · {length}</p>'
        f'<h2 class="lead">{lead}</h2>'
        f'<p class="sure">The model is {100 * prediction.confidence:.1f} % sure ({origin}).</p>'
        f"{note}"
    )


def _bars(probabilities: dict[str, float]) -> str:
    rows = "".join(
        f'<li><span class="genre">{escape(label)}</span>'
        f'<span class="track"><span class="bar" style="width:{100 * value:.2f}%"></span></span>'
        f'<span class="value">{100 * value:.1f} %</span></li>'
        for label, value in probabilities.items()
    )
    return f'<ol class="bars" aria-label="probabilities">{rows}</ol>'


def _over_time(prediction: Prediction, waveform: np.ndarray, predictor: Predictor) -> str:
    """Return the spectrogram and the genres, one above the other, on one axis of time."""
    features = spectrogram.features_of(predictor.config)
    picture = spectrogram.to_png(spectrogram.decibels(waveform, features))
    ticks = "".join(
        f'<span style="bottom:{100 * height:.1f}%">{_pitch(frequency)}</span>'
        for frequency, height in spectrogram.heights(_TICKS, features).items()
    )
    order = [predictor.labels.index(label) for label in prediction.probabilities]
    columns, edges = _columns(prediction)
    rows, width = "", prediction.duration_seconds
    for index in order:
        cells = "".join(
            f'<rect x="{left / width * 1000:.2f}" width="{(right - left) / width * 1000:.2f}"'
            f' height="1" opacity="{value:.3f}"/>'
            for value, left, right in zip(columns[:, index], edges[:-1], edges[1:], strict=True)
        )
        rows += (
            f'<li><span class="genre">{escape(predictor.labels[index])}</span>'
            f'<svg viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true">{cells}</svg>'
            "</li>"
        )
    count = len(prediction.windows)
    heard = "one window" if count == 1 else f"{count} windows"
    clock = "".join(
        f"<span>{_clock(width * share, width)}</span>" for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        "<h3>Mel spectrogram</h3>"
        f'<div class="picture"><div class="ticks" aria-hidden="true">{ticks}</div>'
        f'<img src="{picture}" alt="Mel spectrogram: energy of the song over time and pitch"></div>'
        f'<h3>Genre over time</h3><ol class="timeline">{rows}</ol>'
        f'<div class="clock" aria-hidden="true">{clock}</div>'
        f'<p class="small">Heard in {heard} of {prediction.window_seconds:g} s; the stronger the'
        " colour, the more probable the genre. The answer is the mean over time.</p>"
    )


def _columns(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Average the windows to N columns, at most `_MAX_COLUMNS`; [N, C], and edges [N + 1] in s."""
    count = len(prediction.windows)
    groups = np.linspace(0, count, min(count, _MAX_COLUMNS) + 1).astype(int)
    sums = np.add.reduceat(prediction.windows, groups[:-1], axis=0)
    starts = prediction.window_starts_seconds[groups[:-1]]
    return sums / np.diff(groups)[:, None], np.append(starts, prediction.duration_seconds)


def behind(predictor: Predictor) -> str:
    """Return the facts about the model: data, accuracy and protocol of its evaluation."""
    config, report = predictor.config, predictor.system.report
    name, kind, data = config.model.name, config.features.kind, config.data.name
    rows = {
        "Model": f"{_MODELS.get(name, name)}, from the {_INPUTS.get(kind, kind)}",
        "Learned from": _DATA.get(data, data),
    }
    if predictor.system.title:
        rows = {"Model": predictor.system.title, "Learned from": "GTZAN, its tracks without faults"}
    if report is None:
        protocol = predictor.system.facts["protocol"]
        rows["Accuracy"] = "not evaluated: nobody has measured how often it is right"
    else:
        protocol = report["protocol"]
        rows["Accuracy"] = f"{stats.describe(report, protocol)}; 95 % intervals in brackets"
        rows["Chance"] = _chance(report, len(predictor.labels)).removeprefix("chance ")
    rows["Protocol"] = f"{protocol}: {_PROTOCOLS.get(protocol, 'see the README')}"
    if report is not None and not predictor.system.title:  # Its protocol says it.
        rows["Artists"] = wording.leakage(report) or wording.artists(report)[0]
    table = "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in rows.items())
    return (
        f'<section class="card behind"><h3>Behind the answer</h3><dl>{table}</dl>'
        f"{_interval(report, len(predictor.labels))}"
        '<p class="small">Expect less on other music than it was tested on. A song of none of these'
        " genres is given one of them all the same.</p></section>"
    )


def _chance(report: dict, num_labels: int) -> str:
    """Return what a random guess would get, and the best constant one where it is known."""
    if "per_class" in report:
        return wording.chance(report)
    return f"chance {100 / num_labels:.0f} %"


def _interval(report: dict | None, num_labels: int) -> str:
    """Draw the accuracy, its interval and chance on one axis from 0 to 100 %."""
    if report is None:
        return ""
    accuracy, chance = 100 * report["num_correct"] / report["n"], 100 / num_labels
    # Of a single artist there is none.
    low, high = (100 * value for value in report.get("ci95") or (accuracy / 100, accuracy / 100))
    between = f"interval {low:.1f} to {high:.1f} %" if low < high else "no interval"
    return (
        f'<div class="interval" role="img" aria-label="accuracy {accuracy:.1f} %, {between},'
        f' {escape(_chance(report, num_labels))}"><div class="axis">'
        f'<span class="range" style="left:{low:.2f}%;width:{high - low:.2f}%"></span>'
        f'<span class="point" style="left:{accuracy:.2f}%"></span>'
        f'<span class="chance" style="left:{chance:.2f}%"><i>chance</i></span></div>'
        '<div class="clock"><span>0 %</span><span>50 %</span><span>100 %</span></div></div>'
    )


def _clock(seconds: float, total: float) -> str:
    """Format a time within `total` seconds; short songs need tenths."""
    if total < 10:
        return f"{seconds:.1f} s"
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def _pitch(frequency: float) -> str:
    return f"{frequency / 1000:g} kHz" if frequency >= 1000 else f"{frequency:g} Hz"
