"""The layout of the page: a song is dropped in, the answer appears beside it."""

import dataclasses
import os

import gradio
import numpy as np

from experiments.webpage import answer, spectrogram
from mgr_jax import hearing
from mgr_jax.data.audio import AudioError
from mgr_jax.predictor import Predictor

_MAX_CONCURRENT, _MAX_QUEUED = 2, 32  # Songs; a visitor beyond them is sent away.
_REMEDY = "Try another file: wav, mp3, flac, ogg and aiff work everywhere."


def make_page(predictor: Predictor, *, max_mb: float, max_minutes: float) -> gradio.Blocks:
    """Return the page for a model, ready to be launched."""

    def predict(path: str | None) -> str:
        if path is None:
            return answer.waiting(predictor.labels)
        name = os.path.basename(path)
        try:
            waveform, note = _read(predictor, path, 60 * max_minutes)
            prediction = predictor.predict(waveform, predictor.config.features.sample_rate)
        except AudioError as error:
            return answer.error(name, f"{error}. {_REMEDY}")
        notes = dict.fromkeys(filter(None, (note, prediction.note)))
        prediction = dataclasses.replace(prediction, note="; ".join(notes))
        return answer.song(name, prediction, waveform, predictor)

    with gradio.Blocks(title="mgr_jax: what does it sound like?", analytics_enabled=False) as page:
        gradio.HTML(answer.hero(predictor))
        with gradio.Row(elem_classes="columns"):
            with gradio.Column(scale=5, min_width=320):
                song = gradio.Audio(
                    label="Your song",
                    sources=["upload", "microphone"],
                    type="filepath",
                    elem_id="song",
                    buttons=[],
                )
                gradio.HTML(answer.limits(max_mb, max_minutes))
                gradio.HTML(answer.behind(predictor), elem_id="behind")
            with gradio.Column(scale=7, min_width=320):
                shown = gradio.HTML(answer.waiting(predictor.labels), elem_id="answer")
        song.change(
            predict,
            song,
            shown,
            api_visibility="private",
            concurrency_limit=_MAX_CONCURRENT,
            trigger_mode="always_last",
        )
    return page.queue(max_size=_MAX_QUEUED)


def _read(predictor: Predictor, path: str, max_seconds: float) -> tuple[np.ndarray, str]:
    """Return the waveform [T] at the model's sample rate and a note; decode up to the limit only.

    Raises:
      AudioError: if the file cannot be read or is too long.
    """
    rate = predictor.config.features.sample_rate
    limit = round(max_seconds * rate)
    reading = predictor.decoders.read([path], sample_rate=rate, max_samples=limit + 1)
    for _, blocks in reading:
        pieces: list[np.ndarray] = []
        try:
            while True:
                pieces.append(next(blocks))
        except StopIteration as end:
            note = end.value
    waveform = np.concatenate(pieces)
    if len(waveform) > limit:
        raise AudioError(f"is longer than {max_seconds / 60:g} minutes")
    return waveform, note


def warm_up(predictor: Predictor) -> None:
    """Compile the programs for songs of one and of many windows, before the first visitor comes."""
    rate = predictor.config.features.sample_rate
    window = hearing.window_length(predictor.config)
    noise = np.random.default_rng(0).normal(size=2 * window).astype(np.float32)
    for waveform in (noise[:window], noise):
        predictor.predict(0.1 * waveform, rate)
    spectrogram.decibels(noise, spectrogram.features_of(predictor.config))
