"""The texts of the page as HTML: its head, the answer for a song, and errors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.webpage import over_time
from experiments.webpage.text import clock, escape
from mgr_jax import hearing
from mgr_jax.evaluation.prediction import Prediction, verdict
from mgr_jax.predictor import Predictor

_NUM_TAGS = 8


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


def examples() -> str:
    """Return the text above the examples."""
    return (
        '<h2 id="try">Or try an example</h2><p class="small">Written and played by a program in the'
        " style named, not by musicians: the model may well hear it as something else.</p>"
    )


def waiting(labels: Sequence[str]) -> str:
    """Return the card in place of the answer, before the first song."""
    chips = "".join(f"<li>{escape(label)}</li>" for label in labels)
    return (
        '<section class="card waiting" aria-label="Answer"><p class="lead">The answer appears here.'
        f'</p><ul class="chips" role="list" aria-label="genres">{chips}</ul></section>'
    )


def listening(name: str) -> str:
    """Return the card while the model listens."""
    return (
        f'<section class="card waiting" aria-label="Answer" data-status="Listening to'
        f' {escape(name)}"><p class="lead">Listening to {escape(name)} …</p></section>'
    )


def error(name: str, reason: str) -> str:
    """Return the card for a song that failed: what is wrong with it, and what to do."""
    return (
        '<section class="card error" role="alert"><p class="lead">That did not work.</p>'
        f"<p><b>{escape(name)}</b> {escape(reason)}</p></section>"
    )


def song(
    name: str,
    prediction: Prediction,
    waveform: np.ndarray,
    predictor: Predictor,
    *,
    tags: Mapping[str, float],
) -> str:
    """Return the answer for a song.

    Args:
      name: that of its file.
      prediction: the answer.
      waveform: [T], at the sample rate of the model.
      predictor: the model.
      tags: probability of each tag, highest first; empty shows none.
    """
    sure = f"The model is {100 * prediction.confidence:.1f} % sure"
    if prediction.uncertain:
        sure += f" of {prediction.label}"
    return (
        '<section class="card answer" aria-label="Answer"'
        f' data-status="{escape(_lead(prediction))} {escape(sure)}.">'
        f"{_head(name, prediction, escape(sure), predictor.calibrated)}"
        f"{_bars(prediction.probabilities, 'probabilities')}</section>"
        f"{over_time.figure(prediction, waveform, predictor)}{_tags(tags)}"
    )


def _lead(prediction: Prediction, mark: Callable[[str], str] = str) -> str:
    text = verdict(prediction, mark)
    return f"{text[0].upper()}{text[1:]}." if prediction.uncertain else f"This sounds like {text}."


def _head(name: str, prediction: Prediction, sure: str, calibrated: bool) -> str:
    lead = _lead(prediction, lambda label: f"<em>{escape(label)}</em>")
    origin = "calibrated on music that the model had not learned from"
    if not calibrated:
        origin = "its own estimate, not calibrated"
    notes = [f"About the file: {prediction.note}."] if prediction.note else []
    notes += [f"{caution[0].upper()}{caution[1:]}." for caution in prediction.cautions]
    note = "".join(f'<p class="note">{escape(text)}</p>' for text in notes)
    length = clock(prediction.duration_seconds, prediction.duration_seconds)
    return (
        f'<p class="name">{escape(name)} · {length}</p><h2 class="lead">{lead}</h2>'
        f'<p class="sure">{sure} ({origin}).</p>{note}'
    )


def _bars(shares: Mapping[str, float], what: str) -> str:
    rows = "".join(
        f'<li><span class="genre">{escape(label)}</span>'
        f'<span class="track"><span class="bar" style="width:{100 * value:.2f}%"></span></span>'
        f'<span class="value">{100 * value:.1f} %</span></li>'
        for label, value in shares.items()
    )
    return f'<ol class="bars" role="list" aria-label="{what}">{rows}</ol>'


def _tags(tags: Mapping[str, float]) -> str:
    if not tags:
        return ""
    first = dict(list(tags.items())[:_NUM_TAGS])
    return (
        f'<section class="card tags" aria-label="Tags"><h3>Tags</h3>{_bars(first, "tags")}'
        '<p class="small">What MusiCNN hears, the network whose output the model reads. Each tag'
        " has a probability of its own; they need not add up to 100 %.</p></section>"
    )
