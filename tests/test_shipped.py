"""The GTZAN model of the package hears audio as its two parts do, and says when it should not."""

import jax
import numpy as np
import pytest
import soxr

import mgr_jax
from mgr_jax import pretrained
from mgr_jax.classical import fusion, tag_head
from mgr_jax.errors import UserError
from mgr_jax.features import array_spectrogram, musicnn
from mgr_jax.pretrained import gtzan

RATE = 22050


@pytest.fixture(name="model", scope="module")
def _model():
    model = mgr_jax.load("gtzan")
    yield model
    model.decoders.close()


def _song(seconds, seed=0):
    """Decaying notes of a melody over a beat."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    beat = np.exp(-8 * (t % 0.5))
    notes = 220 * 2 ** (rng.choice([0, 2, 4, 7, 9], size=int(2 * seconds) + 1) / 12)
    pitch = notes[(2 * t).astype(int)]
    tones = sum(np.sin(2 * np.pi * k * pitch * t) / k for k in (1, 2, 3, 4))
    return (0.1 * tones * beat + 0.02 * rng.normal(size=t.size) * beat).astype(np.float32)


def _babble(seconds, seed=0):
    """Syllables of a gliding voice with random formants and lengths, as in speech."""
    rng = np.random.default_rng(seed)
    syllables = []
    while sum(map(len, syllables)) < seconds * RATE:
        t = np.arange(round(rng.uniform(0.08, 0.35) * RATE)) / RATE
        phase = (
            2 * np.pi * np.cumsum(rng.uniform(90, 140) * (1 + rng.uniform(-0.5, 0.5) * t)) / RATE
        )
        centers, order = rng.uniform((300, 900, 2200), (900, 2200, 3500)), np.arange(1, 40)
        gains = np.exp(-((120 * order[:, None] - centers) ** 2) / 2e4).sum(axis=1)
        syllables += [gains @ np.sin(order[:, None] * phase) * np.hanning(len(t))]
        syllables += [np.zeros(round(rng.choice([0.02, 0.2, 0.5], p=[0.7, 0.2, 0.1]) * RATE))]
    waveform = np.concatenate(syllables)[: round(seconds * RATE)]
    return (0.05 * waveform + 1e-3 * rng.normal(size=waveform.size)).astype(np.float32)


def test_strangeness_marks_syllables_without_a_beat():
    params = gtzan.load().params
    pieces = [_babble(30.0), _song(30.0), np.resize(_babble(20.0), 30 * RATE)]
    frames = np.stack([array_spectrogram.array_spectrogram(piece) for piece in pieces])
    measures = fusion.strangeness(params, frames, np.zeros((3, 50)), np.array([30.0, 30.0, 20.0]))
    np.testing.assert_array_equal(measures["repetition"] > 1, [True, False, True])


def _expected(waveform):
    """Log-probabilities [10] of 30 s by the parts, one after the other."""
    model = gtzan.load()
    module, variables, _ = pretrained.load_musicnn()
    windows = musicnn.windows(soxr.resample(waveform, RATE, 16000, quality="HQ"))
    tags = jax.nn.sigmoid(jax.jit(module.apply)(variables, windows).logits)
    frames = array_spectrogram.array_spectrogram(waveform)[None]
    summary = tag_head.summarize([np.asarray(tags)])
    return fusion.log_probabilities(model.params, frames, summary)[0]


def test_predict_is_the_fusion_of_spectrogram_and_tags(model):
    song = _song(30.0)
    result = model.predict(song, RATE)
    got = [result.probabilities[label] for label in model.labels]
    np.testing.assert_allclose(got, np.exp(_expected(song)), atol=2e-3)
    assert sum(got) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(result.windows.sum(axis=1), 1, atol=1e-9)
    assert result.confidence == result.probabilities[result.label] == max(got)
    assert model.calibrated and result.window_seconds == 30.0


def test_predict_hears_all_of_a_long_song_and_no_sliver_twice(model):
    short = model.predict(_song(30.1), RATE)
    assert len(short.windows) == 1 and not short.unlike.any()
    long = model.predict(_song(62.0), RATE)
    np.testing.assert_allclose(long.window_starts_seconds, [0, 30, 32])
    mean = np.log(long.windows).mean(axis=0)
    expected = np.exp(mean) / np.exp(mean).sum()
    np.testing.assert_allclose([long.probabilities[n] for n in model.labels], expected, atol=1e-9)


def test_predict_repeats_short_audio_and_says_so(model):
    short = _song(10.0)
    result = model.predict(short, RATE)
    again = model.predict(np.resize(short, 30 * RATE), RATE)
    assert result.probabilities == pytest.approx(again.probabilities, abs=1e-5)
    assert result.cautions == ("heard 10 s, less than 30 s",) and not again.cautions


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "bursts", "clicks"])
def test_predict_marks_noise_as_unlike_its_training_music(model, kind):
    white = np.random.default_rng(0).normal(size=30 * RATE)
    t = np.arange(white.size) / RATE
    spectrum, steps = np.fft.rfft(white), np.maximum(np.arange(white.size // 2 + 1), 1)
    noise = {
        "white": white,
        "pink": np.fft.irfft(spectrum / np.sqrt(steps)),
        "brown": np.fft.irfft(spectrum / steps),
        "bursts": white * np.exp(-8 * (t % 0.5)),
        "clicks": (np.arange(white.size) % (RATE // 2) == 0).astype(float),
    }[kind]
    result = model.predict(0.2 * noise / np.abs(noise).max(), RATE)
    assert result.unlike.all() and result.uncertain
    assert "unlike the music that the model was trained on" in result.cautions


def test_load_reads_a_folder_of_fit_gtzan(model, tmp_path):
    gtzan.write(tmp_path, gtzan.load())
    other = mgr_jax.load(str(tmp_path))
    song = _song(30.0)
    assert other.predict(song, RATE).probabilities == model.predict(song, RATE).probabilities
    with pytest.raises(UserError, match=r"gives tags, not genres; use mgr_jax.tagger.load"):
        mgr_jax.load("musicnn")
    with pytest.raises(ValueError, match="paths is one path"):
        model.predict_proba("song.mp3")


def test_describe_has_n_intervals_and_protocol(model):
    facts = gtzan.load().facts
    low, high = (100 * value for value in facts["ci95_by_artist"])
    text = model.describe()
    share = 100 * facts["num_correct"] / facts["n"]
    assert f"accuracy {share:.1f} % [{low:.1f}, {high:.1f}] by artist (n = {facts['n']}" in text
    assert "artist_kfold; Wilson by track [" in text
