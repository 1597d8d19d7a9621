import os
import pathlib

import numpy as np
import pytest
import soundfile

from mgr_jax.features.array_spectrogram import (
    array_spectrogram,
    count_frames,
    persistence,
    repetition,
)

# Folder with `data/gtzan_logspec_trainvalid.npz` and `data/gtzan_mini/<genre>/*.wav`.
_SHARED = pathlib.Path(os.environ.get("MGR_JAX_SHARED", "absent"))


def _slow_formula(samples):
    """The steps one by one: Tukey frames, power, levels, columns, percentiles."""
    t = np.arange(256) / 256
    edge = 0.125
    window = np.ones(256)
    window[t < edge] = 0.5 * (1 + np.cos(np.pi * (t[t < edge] / edge - 1)))
    window[t > 1 - edge] = 0.5 * (1 + np.cos(np.pi * ((t[t > 1 - edge] - 1) / edge + 1)))
    frames = []
    for start in range(0, len(samples) - 255, 224):
        frame = samples[start : start + 256].astype(np.float64)
        power = np.abs(np.fft.fft((frame - frame.mean()) * window)[:129]) ** 2
        # Of a real signal all bins but the first and the last stand for two.
        frames.append(np.concatenate([power[:1], 2 * power[1:128], power[128:]]))
    with np.errstate(divide="ignore"):
        values = np.log(np.array(frames)[:-1, :-1])
    finite = np.isfinite(values)
    low, high = values[finite].min(), values[finite].max()
    levels = np.where(finite, np.clip(np.floor((values - low) / (high - low) * 256), 0, 255), 0)
    columns = [int(np.ceil((c + 1) * len(levels) / 496)) - 1 for c in range(496)]
    levels = levels[columns]
    inner = np.sort(levels[:, 1:].ravel())
    low, median, high = (np.percentile(inner, q) for q in (5, 50, 95))
    return (levels - median) / (high - low)


def _song(seconds, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 22050)) / 22050
    tone = 0.3 * np.sin(2 * np.pi * 440 * t) * (1 + np.sin(2 * np.pi * 2 * t))
    return np.rint((tone + 0.01 * rng.normal(size=t.size)).clip(-1, 1) * 32767) / 32768


@pytest.mark.parametrize("seconds", [30.0, 12.3, 0.1])
def test_array_spectrogram_equals_the_formula(seconds):
    song = _song(seconds)
    # One frame of digital silence: the logarithm of nothing is level 0.
    song[: min(600, song.size // 4)] = 0.0
    got, want = array_spectrogram(song), _slow_formula(np.rint(song * 32768))
    assert got.shape == (496, 128)
    # SciPy rounds window and power to single precision, which moves values over edges of levels.
    assert np.mean(np.abs(got - want) > 1e-5) < 3e-3
    assert np.abs(got - want).max() < 0.02  # One level.


def test_array_spectrogram_does_not_know_the_level_of_a_recording():
    song = _song(3.0)
    got, want = array_spectrogram(song / 4), array_spectrogram(song)
    assert np.mean(np.abs(got - want)) < 0.02


def test_array_spectrogram_of_silence_is_zero():
    assert not array_spectrogram(np.zeros(22050)).any()
    assert np.isfinite(array_spectrogram(np.full(22050, 0.25))).all()


@pytest.mark.parametrize("shape", [(479,), (2, 22050), ()])
def test_array_spectrogram_refuses(shape):
    with pytest.raises(ValueError, match=r"waveform has shape .* it must be \[T\]"):
        array_spectrogram(np.zeros(shape))


def test_array_spectrogram_gives_the_published_arrays():
    file = _SHARED / "data" / "gtzan_logspec_trainvalid.npz"
    if not file.exists():
        pytest.skip("the GTZAN arrays are not here")
    with np.load(file) as stored:
        rows = {name: i for i, name in enumerate(stored["track_id"].tolist())}
        spectrograms = stored["spectrogram"]
        scale, offset = float(stored["scale"]), float(stored["offset"])
    within, difference = [], []
    for path in sorted((_SHARED / "data" / "gtzan_mini").glob("*/*.wav")):
        if path.stem in rows:
            waveform, _ = soundfile.read(path)
            got = np.clip(np.rint((array_spectrogram(waveform) - offset) / scale), 0, 255)
            steps = np.abs(got - spectrograms[rows[path.stem]])
            within.append(np.mean(steps <= 1))
            difference.append(np.mean(steps) * scale)
    assert len(within) > 20
    # The pictures of jazz.00000 to jazz.00037 were drawn otherwise.
    assert np.median(within) > 0.99
    assert np.mean(within) > 0.88
    assert np.mean(difference) < 0.0125


def test_persistence_is_the_correlation_of_neighbouring_frames():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 128))
    assert abs(persistence(noise)) < 0.01
    # A first-order filter over time: the correlation of neighbours is its coefficient.
    slow = noise.copy()
    for i in range(1, len(slow)):
        slow[i] = 0.8 * slow[i - 1] + noise[i]
    assert persistence(slow) == pytest.approx(0.8, abs=0.02)
    # Neither a constant colour nor a level that goes up and down together counts.
    moved = slow + rng.normal(size=128) + 10 * rng.normal(size=(400, 1))
    assert persistence(moved) == pytest.approx(persistence(slow), abs=1e-9)
    assert persistence(np.zeros((400, 128))) == 0


def test_repetition_is_the_largest_autocorrelation_within_a_beat():
    random = np.random.default_rng(0)
    noise = random.normal(size=(496, 128))
    assert abs(repetition(noise)) < 0.02
    for lag, expected in ((9, 1.0), (19, 1.0), (30, 0.0)):  # 0.54, 1.15 and 1.8 s
        beat = np.resize(noise[:lag], noise.shape)
        if lag == 30:  # Within the pattern of 30 frames nothing repeats but by chance.
            assert repetition(beat) < 0.2
        else:
            assert repetition(beat) == pytest.approx(expected, abs=0.02)
    x = noise[:, 1:] - noise[:, 1:].mean(axis=0)
    rates = [(x[lag:] * x[:-lag]).sum() / (x * x).sum() * 496 / (496 - lag) for lag in range(6, 20)]
    assert repetition(noise) == pytest.approx(max(rates))
    assert repetition(3 * noise + 5) == pytest.approx(repetition(noise))
    assert repetition(np.ones((496, 128))) == repetition(noise[:39]) == 1
    assert [count_frames(seconds) for seconds in (3.0, 10.0, 30.0, 31.0)] == [50, 165, 496, 496]
