"""The layout of the page: a song is dropped in, the answer appears beside it."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator

import gradio
import numpy as np

from experiments.webpage import about, answer, examples, spectrogram
from mgr_jax import hearing
from mgr_jax.data.audio import AudioError
from mgr_jax.predictor import Predictor
from mgr_jax.tagger import Tagger

_MAX_CONCURRENT, _MAX_QUEUED = 2, 32  # Songs; a visitor beyond them is sent away.
_REMEDY = "Try another file: wav, mp3, flac, ogg and aiff work everywhere."


def make_page(
    predictor: Predictor,
    tagger: Tagger | None,
    folder: pathlib.Path,
    *,
    max_mb: float,
    max_minutes: float,
) -> gradio.Blocks:
    """Return the page for a model, ready to be launched.

    Args:
      predictor: the model.
      tagger: shows tags beside the answer; None shows none.
      folder: that of the uploads.
      max_mb: size of an upload in MiB. max_minutes: length of a song.
    """

    def predict(path: str | None) -> Iterator[str]:
        if path is None:
            yield answer.waiting(predictor.labels)
            return
        name = os.path.basename(path)
        yield answer.listening(name)
        rate = predictor.config.features.sample_rate
        try:
            waveform, note = _read(predictor, path, 60 * max_minutes)
            prediction = predictor.predict(waveform, rate)
        except AudioError as error:
            yield answer.error(name, f"{error}. {_REMEDY}")
            return
        notes = dict.fromkeys(filter(None, (note, prediction.note)))
        prediction = dataclasses.replace(prediction, note="; ".join(notes))
        tags = tagger.tag(waveform, rate).mean if tagger else {}
        yield answer.song(name, prediction, waveform, predictor, tags=tags)

    with gradio.Blocks(title="mgr_jax: what does it sound like?", analytics_enabled=False) as page:
        gradio.HTML(answer.hero(predictor))
        with gradio.Row(elem_classes="columns"):
            with gradio.Column(elem_id="input"):
                song = gradio.Audio(
                    label="Your song",
                    sources=["upload", "microphone"],
                    type="filepath",
                    elem_id="song",
                    buttons=[],
                    # The player of the browser, which the timeline can move.
                    waveform_options={"show_recording_waveform": False},
                )
                gradio.HTML(answer.limits(max_mb, max_minutes))
                gradio.HTML(answer.examples())
                with gradio.Row(elem_id="examples"):
                    buttons = {style: gradio.Button(style, size="sm") for style in examples.STYLES}
            shown = gradio.HTML(answer.waiting(predictor.labels), elem_id="answer")
            gradio.HTML(about.behind(predictor), elem_id="behind")
        song.change(
            predict,
            song,
            shown,
            api_visibility="private",
            concurrency_limit=_MAX_CONCURRENT,
            trigger_mode="always_last",
        )
        for style, button in buttons.items():
            write = functools.partial(examples.write, folder, style, max_seconds=60 * max_minutes)
            button.click(write, None, song, api_visibility="private", concurrency_limit=1)
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


def warm_up(predictor: Predictor, tagger: Tagger | None) -> None:
    """Compile the programs for songs of one and of many windows, before the first visitor comes."""
    rate = predictor.config.features.sample_rate
    window = hearing.window_length(predictor.config)
    noise = np.random.default_rng(0).normal(size=2 * window).astype(np.float32)
    for waveform in (noise[:window], noise):
        predictor.predict(0.1 * waveform, rate)
    if tagger:
        tagger.tag(noise, rate)
    spectrogram.decibels(noise, spectrogram.features_of(predictor.config))
