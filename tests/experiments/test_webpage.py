"""What the page says, without a server."""

import base64
import io
import types

import librosa
import matplotlib.image
import numpy as np
import pytest

from experiments.webpage import answer, spectrogram
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


def song(predicted, **options):
    waveform = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    return answer.song("<b>.wav", predicted, waveform, predictor(**options))


def test_song_is_text_whatever_labels_and_names_hold():
    text = song(prediction()) + answer.error(EVIL, EVIL) + answer.waiting([EVIL])
    assert "<script" not in text and "<b>.wav" not in text
    assert "{{" not in text and "${" not in text
    assert "&lt;b&gt;.wav" in text and "About the file: truncated." in text


def test_escape_leaves_no_character_that_controls_or_reorders_text():
    hostile = "a\x1b[31m\x00\n\u202egnp.exe\u2066\ufeff<&\"'"
    shown = answer.escape(hostile)
    assert shown.isprintable() and not set("<>\"'\u202e") & set(shown)
    assert answer.escape("日本語 é 👩\u200d🎤") == "日本語 é 👩\u200d🎤"


def test_song_says_in_words_whether_it_is_certain():
    assert "This sounds like" in song(prediction())
    assert "Uncertain: perhaps" in song(prediction(uncertain=True))
    assert "not calibrated" in song(prediction())
    assert "not calibrated" not in song(prediction(), calibrated=True)


def test_columns_average_neighbouring_windows_and_cover_the_song():
    predicted = prediction(1000)
    columns, edges = answer._columns(predicted)
    assert len(columns) <= 120 and len(edges) == len(columns) + 1
    assert edges[0] == 0 and edges[-1] == 2000 and (np.diff(edges) > 0).all()
    weights = np.diff(edges) / 2000
    np.testing.assert_allclose(weights @ columns, predicted.windows.mean(axis=0), atol=1e-9)
    np.testing.assert_array_equal(answer._columns(prediction(5))[0], prediction(5).windows)


def test_behind_gives_accuracy_with_n_interval_and_protocol_or_none():
    text = answer.behind(predictor())
    assert "not evaluated" in text and "holdout: " in text and "too high" in text
    report = {"num_correct": 45, "n": 60, "protocol": "listed", "shared_artists": ["a", "b"]}
    text = answer.behind(predictor(report | {"shared_recordings": []}))
    assert "75.0 % [62.8, 84.2] (n = 60, listed)" in text
    assert "this split leaks: 2 artists and 0 recordings are on both sides of the test part" in text
    known = report | {"shared_artists": [], "shared_recordings": [], "artists_known": 59}
    assert "no known artist on both sides; of 1 track it is unknown" in answer.behind(
        predictor(known)
    )
    assert "not known whether artists are on both sides" in answer.behind(
        predictor(known | {"artists_known": 0})
    )


def test_behind_names_the_best_constant_guess_where_classes_are_unequal():
    report = {"num_correct": 45, "n": 60, "protocol": "listed"}
    assert "<dt>Chance</dt><dd>50 %</dd>" in answer.behind(predictor(report))
    support = {"blues": {"support": 45}, EVIL: {"support": 15}}
    report |= {"labels": list(support), "per_class": support}
    text = answer.behind(predictor(report))
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
