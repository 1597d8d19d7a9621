"""What the page says, without a server."""

import base64
import dataclasses
import html
import io
import json
import os
import pathlib
import re
import types

import librosa
import matplotlib.image
import numpy as np
import pytest
import soundfile

from experiments.webpage import about, answer, examples, over_time, spectrogram
from experiments.webpage.text import escape
from mgr_jax import config as config_lib
from mgr_jax.predictor import Prediction

EVIL = "<script>{{x}}${y}"
RATE = 22_050


def predictor(report=None, *, calibrated=False, labels=("blues", EVIL)):
    return types.SimpleNamespace(
        labels=labels,
        config=config_lib.Config(),
        calibrated=calibrated,
        system=types.SimpleNamespace(report=report, facts={"protocol": "holdout"}, title=""),
    )


def prediction(num_windows=3, *, uncertain=False):
    rising = np.linspace(0, 1, num_windows)
    return Prediction(
        label=EVIL,
        probabilities={EVIL: 0.75, "blues": 0.25},
        labels=("blues", EVIL),
        windows=np.stack([1 - rising, rising], axis=1),
        unlike=np.zeros(num_windows, bool),
        window_starts_seconds=np.arange(num_windows) * 2.0,
        window_seconds=2.0,
        duration_seconds=2.0 * num_windows,
        note="truncated",
        cautions=("heard 1.0 s, less than 2 s", EVIL),
        confidence=0.75,
        uncertain=uncertain,
    )


def song(predicted, *, tags=None, **options):
    waveform = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    return answer.song("<b>.wav", predicted, waveform, predictor(**options), tags=tags or {})


def test_song_is_text_whatever_labels_and_names_hold():
    text = song(prediction(), tags={EVIL: 0.5}) + answer.error(EVIL, EVIL) + answer.listening(EVIL)
    text += answer.waiting([EVIL]) + song(prediction(uncertain=True))
    assert "<script" not in text and "<b>.wav" not in text
    assert "{{" not in text and "${" not in text
    assert "&lt;b&gt;.wav" in text and "About the file: truncated." in text


def test_escape_leaves_no_character_that_controls_or_reorders_text():
    hostile = "a\x1b[31m\x00\n\u202egnp.exe\u2066\ufeff<&\"'"
    shown = escape(hostile)
    assert shown.isprintable() and not set("<>\"'\u202e") & set(shown)
    assert escape("日本語 é 👩\u200d🎤") == "日本語 é 👩\u200d🎤"


def test_song_says_in_words_whether_it_is_certain():
    assert "This sounds like" in song(prediction())
    doubt = song(prediction(uncertain=True))
    assert f"Not sure: perhaps <em>{escape(EVIL)}</em>." in doubt
    assert f'data-status="Not sure: perhaps {escape(EVIL)}. The model is 75.0 % sure of' in doubt
    two = dataclasses.replace(prediction(uncertain=True), threshold=0.9)
    assert f"Not sure: <em>{escape(EVIL)}</em> or <em>blues</em>." in song(two)
    assert "not calibrated" in song(prediction())
    assert "not calibrated" not in song(prediction(), calibrated=True)


def test_song_shows_the_first_tags_if_there_are_any():
    assert "Tags" not in song(prediction())
    text = song(prediction(), tags={f"tag{i}": 0.9 - i / 50 for i in range(50)})
    tags = re.findall(r">(tag\d+)</span>.*?>([\d.]+) %<", text)
    assert tags == [(f"tag{i}", f"{90 - 2 * i:.1f}") for i in range(8)]


def test_slider_tells_what_was_heard_at_each_moment():
    text = song(prediction(3))
    (moments,) = re.findall(r'data-moments="(.*?)"', text)
    ends, heard = zip(*json.loads(html.unescape(moments)), strict=True)
    assert ends == (2, 4, 6) and heard == ("blues 100 %", "blues 50 %", f"{EVIL} 100 %")
    assert (
        'type="range" min="0" max="6.00"' in text and 'aria-valuetext="0.0 s, blues 100 %"' in text
    )
    long = json.loads(html.unescape(re.findall(r'data-moments="(.*?)"', song(prediction(1000)))[0]))
    assert len(long) == 120 and long[-1][0] == 2000


def test_reads_musicnn_of_the_models_that_do():
    model = predictor()
    assert not about.reads_musicnn(model)
    model.config.features.kind = "musicnn"
    assert about.reads_musicnn(model)
    shipped = predictor()
    shipped.system.title = "GTZAN model"
    assert about.reads_musicnn(shipped)


def test_example_is_written_once_and_again_when_it_was_deleted(tmp_path, monkeypatch):
    calls = []

    def render(path, *, sample_rate, seconds):
        calls.append(path)
        return np.zeros(round(sample_rate * seconds), np.float32)

    monkeypatch.setattr(examples.render, "render", render)
    path = pathlib.Path(examples.write(tmp_path, "jazz", max_seconds=0.5))
    os.utime(path, (0, 0))
    assert examples.write(tmp_path, "jazz", max_seconds=0.5) == str(path) and len(calls) == 1
    assert path.stat().st_mtime > 0  # It is not old.
    assert soundfile.info(path).duration == 0.5 and list(path.parent.iterdir()) == [path]
    path.unlink()
    examples.write(tmp_path, "jazz", max_seconds=0.5)
    assert path.exists() and len(calls) == 2


def test_examples_are_tracks_of_the_band_that_no_config_trains_on(tmp_path, monkeypatch):
    rendered = []
    monkeypatch.setattr(
        examples.render, "render", lambda path, **_: rendered.append(path) or np.zeros(9)
    )
    for style in examples.STYLES:
        examples.write(tmp_path, style, max_seconds=60)
    seeds, styles, _, _ = zip(*map(examples.render.parse, rendered), strict=True)
    assert styles == examples.STYLES and config_lib.Config().data.seed not in seeds


def test_columns_average_neighbouring_windows_and_cover_the_song():
    predicted = prediction(1000)
    columns, edges = over_time._columns(predicted)
    assert len(columns) <= 120 and len(edges) == len(columns) + 1
    assert edges[0] == 0 and edges[-1] == 2000 and (np.diff(edges) > 0).all()
    weights = np.diff(edges) / 2000
    np.testing.assert_allclose(weights @ columns, predicted.windows.mean(axis=0), atol=1e-9)
    np.testing.assert_array_equal(over_time._columns(prediction(5))[0], prediction(5).windows)


def test_behind_gives_accuracy_with_n_interval_and_protocol_or_none():
    text = about.behind(predictor())
    assert "not evaluated" in text and "holdout: " in text and "too high" in text
    report = {"num_correct": 45, "n": 60, "protocol": "listed", "shared_artists": ["a", "b"]}
    text = about.behind(predictor(report | {"shared_recordings": []}))
    assert "75.0 % [62.8, 84.2] (n = 60, listed)" in text
    assert "this split leaks: 2 artists and 0 recordings are on both sides of the test part" in text
    known = report | {"shared_artists": [], "shared_recordings": [], "artists_known": 59}
    assert "no known artist on both sides; of 1 track it is unknown" in about.behind(
        predictor(known)
    )
    assert "not known whether artists are on both sides" in about.behind(
        predictor(known | {"artists_known": 0})
    )


def test_behind_names_the_best_constant_guess_where_classes_are_unequal():
    report = {"num_correct": 45, "n": 60, "protocol": "listed"}
    assert "<dt>Chance</dt><dd>50 %</dd>" in about.behind(predictor(report))
    support = {"blues": {"support": 45}, EVIL: {"support": 15}}
    report |= {"labels": list(support), "per_class": support}
    text = about.behind(predictor(report))
    assert "<dt>Chance</dt><dd>50 %, always blues 75 %</dd>" in text
    assert 'chance 50 %, always blues 75 %"' in text


@pytest.mark.parametrize("num_samples", [100, 30_000, 700_000])
def test_decibels_are_librosas(num_samples):
    waveform = np.random.default_rng(1).normal(size=num_samples).astype(np.float32)
    features = config_lib.Features()
    decibels = spectrogram.decibels(waveform, features)
    power = librosa.feature.melspectrogram(
        y=np.pad(waveform, (0, max(0, 2048 - num_samples))),
        sr=RATE,
        n_fft=2048,
        hop_length=1024,
        center=False,
    )
    expected = librosa.power_to_db(power, ref=np.max, amin=1e-10, top_db=80).T
    np.testing.assert_allclose(decibels, expected, atol=1e-3)


def test_decibels_of_a_long_song_fit_the_picture():
    tone = np.sin(2 * np.pi * 1000 * np.arange(90 * RATE) / RATE).astype(np.float32)
    features = config_lib.Features()
    decibels = spectrogram.decibels(tone, features)
    assert decibels.shape == (spectrogram.MAX_COLUMNS, 128)
    url = spectrogram.to_png(decibels)
    png = base64.b64decode(url.partition(",")[2])
    picture = matplotlib.image.imread(io.BytesIO(png))[:, :, :3].sum(axis=2)
    assert picture.shape == (128, spectrogram.MAX_COLUMNS)
    height = spectrogram.heights([1000.0], features)[1000.0]
    brightest = 1 - (picture.mean(axis=1).argmax() + 0.5) / 128  # From below.
    assert brightest == pytest.approx(height, abs=0.01)
