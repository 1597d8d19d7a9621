"""Fingerprints: altered copies match, other music does not."""

import functools
import os
import pathlib
import tempfile
import time

import jax
import numpy as np
import pytest
import soundfile

from mgr_jax.data.band import render
from mgr_jax.features import fingerprint

SHARED = os.environ.get("MGR_JAX_SHARED", "")
RATE = 8000
SECONDS = 18
COMMON = 8.0


def _fit(x, length):
    return np.pad(x[:length], (0, max(0, length - len(x)))).astype(np.float32)


def _noisy(x, decibels):
    noise = np.random.default_rng(0).normal(size=len(x)) * np.sqrt(np.mean(x**2))
    return x + noise * 10 ** (-decibels / 20)


def _mp3(x, rate):
    # A file: libsndfile does not reliably read an MP3 back from memory.
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/copy.mp3"
        subtype = "MPEG_LAYER_III"
        soundfile.write(path, x, rate, format="MP3", subtype=subtype, compression_level=0.9)
        return soundfile.read(path, dtype="float32")[0]


# How a copy is altered, and how much later it has the audio, in seconds.
COPIES = {
    "gain": (lambda x, rate: 0.1 * x, 0.0),
    "clipped": (lambda x, rate: np.clip(2 * x, -np.abs(x).max(), np.abs(x).max()), 0.0),
    "noise": (lambda x, rate: _noisy(x, 15), 0.0),
    "mp3": (_mp3, 0.0),
    "half a frame later": (lambda x, rate: x[fingerprint.frame_hop(rate) // 2 :], 0.0),
    "cut": (lambda x, rate: x[round(7.31 * rate) :], -7.31),
    "delayed": (lambda x, rate: np.pad(x, (round(3.2 * rate), 0)), 3.2),
    "all": (lambda x, rate: _noisy(_mp3(0.3 * x[round(5.3 * rate) :], rate), 20), -5.3),
}


@functools.partial(jax.jit, static_argnames="rate")
def _print_of(batch, rate):
    return fingerprint.fingerprint(batch, sample_rate=rate)


def _prints(waveforms, rate):
    """Fingerprints of waveforms, six at a time: one program for all tests."""
    length = max(len(x) for x in waveforms)
    stack = np.zeros((len(waveforms) + -len(waveforms) % 6, length), np.float32)
    for row, waveform in zip(stack, waveforms, strict=False):
        row[: len(waveform)] = waveform
    parts = [np.asarray(_print_of(part, rate)) for part in np.split(stack, len(stack) // 6)]
    return np.concatenate(parts)[: len(waveforms)]


def _common(rate):
    return int(COMMON * rate / fingerprint.frame_hop(rate))


@pytest.fixture(scope="module", name="clips")
def _clips():
    """Five clips of the band, of five genres, and a second take of the first."""
    tracks = render.tracks(num_grooves=3, clips_per_groove=2, seed=0)
    paths = [tracks[0].path, *(track.path for track in tracks[1::12])]
    return [render.render(path, sample_rate=RATE, seconds=SECONDS) for path in paths]


@pytest.fixture(scope="module", name="prints")
def _clip_prints(clips):
    return _prints(clips, RATE)


@pytest.mark.parametrize("name", COPIES)
def test_similarity_finds_a_copy_and_its_offset(clips, prints, name):
    change, later = COPIES[name]
    copies = _prints([_fit(change(x, RATE), len(x)) for x in clips], RATE)
    score, offset = map(
        np.asarray, fingerprint.similarity(prints, copies, min_frames=_common(RATE))
    )
    assert np.diag(score).min() > fingerprint.THRESHOLD
    hop_seconds = fingerprint.frame_hop(RATE) / RATE
    np.testing.assert_allclose(np.diag(offset) * hop_seconds, later, atol=hop_seconds)
    # Neither other genres nor another take of the same groove.
    assert score[~np.eye(len(clips), dtype=bool)].max() < fingerprint.THRESHOLD - 0.05


def test_similarity_is_the_correlation_written_out():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(2, 1, 12, 5)).astype(np.float32)
    best = {}
    for offset in range(-8, 9):
        a = left[0][max(0, -offset) : 12 - max(0, offset)]
        b = right[0][max(0, offset) : 12 - max(0, -offset)]
        best[offset] = np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2))
    score, offset = fingerprint.similarity(left, right, min_frames=4)
    expected = max(best, key=best.get)
    assert int(offset[0, 0]) == expected
    np.testing.assert_allclose(score[0, 0], best[expected], rtol=1e-4)


def test_similarity_is_symmetric(prints):
    one, offset = fingerprint.similarity(prints[:3], prints[3:6], min_frames=40)
    other, back = fingerprint.similarity(prints[3:6], prints[:3], min_frames=40)
    np.testing.assert_allclose(one, np.asarray(other).T, atol=1e-5)
    np.testing.assert_array_equal(offset, -np.asarray(back).T)


def test_similarity_ignores_silence_in_common(clips):
    # Clips of 5 s of music each, padded with zeros: only their padding is alike.
    short = _prints([_fit(x[: 5 * RATE], len(x)) for x in clips], RATE)
    score, _ = fingerprint.similarity(short, short, min_frames=_common(RATE))
    assert np.asarray(score).max() == 0.0
    score, _ = fingerprint.similarity(short, short, min_frames=int(0.4 * _common(RATE)))
    assert np.diag(score).min() > 0.99
    assert np.asarray(score)[~np.eye(len(clips), dtype=bool)].max() < fingerprint.THRESHOLD


def test_near_identical_gives_each_pair_once_over_all_tiles():
    rng = np.random.default_rng(2)
    prints = rng.normal(size=(150, 30, 8)).astype(np.float32)
    pairs = {(3, 10): 0, (5, 149): 0, (70, 100): 4, (64, 127): -6}
    for (left, right), later in pairs.items():
        prints[right] = np.roll(prints[left], later, axis=0)
    matches = list(fingerprint.near_identical(prints, min_frames=20))
    assert {(i, j): offset for i, j, _, offset in matches} == pairs
    assert len(matches) == 4
    assert min(score for _, _, score, _ in matches) > 0.999
    assert list(fingerprint.near_identical(prints[:1], min_frames=20)) == []


def test_fingerprint_does_not_depend_on_gain_and_is_zero_in_silence(clips):
    wave = clips[0].copy()
    wave[: 4 * RATE] = 0
    prints = _prints([wave, 0.01 * wave, np.zeros_like(wave)], RATE)
    assert prints.shape == (3, 1 + len(wave) // fingerprint.frame_hop(RATE), 47)
    np.testing.assert_allclose(prints[0], prints[1], atol=1e-2)
    silent = int(3.7 * RATE / fingerprint.frame_hop(RATE))
    assert not prints[0, :silent].any()
    assert prints[0, silent + 6 :].any(axis=-1).mean() > 0.9
    assert not prints[2].any()
    np.testing.assert_allclose(prints[0].sum(axis=0), 0, atol=0.05)


def test_fingerprint_takes_any_leading_dimensions_and_rates():
    make = functools.partial(fingerprint.fingerprint, sample_rate=RATE)
    for shape in ((32_000,), (3, 32_000), (2, 1, 32_000)):
        waveform = jax.ShapeDtypeStruct(shape, np.float32)
        assert jax.eval_shape(make, waveform).shape == (*shape[:-1], 32, 47)
    assert [fingerprint.frame_hop(rate) for rate in (8000, 22_050, 44_100)] == [1024, 2048, 4096]


def test_bad_arguments_raise_and_are_named():
    with pytest.raises(ValueError, match="sample_rate is 0"):
        fingerprint.fingerprint(np.zeros(100, np.float32), sample_rate=0)
    with pytest.raises(ValueError, match="waveform is int16"):
        fingerprint.fingerprint(np.zeros(100, np.int16), sample_rate=8000)
    prints = np.zeros((2, 10, 3), np.float32)
    for min_frames in (0, 11):
        with pytest.raises(ValueError, match=f"min_frames is {min_frames}"):
            fingerprint.similarity(prints, prints, min_frames=min_frames)
    with pytest.raises(ValueError, match="left"):
        fingerprint.similarity(prints, prints[:, :5], min_frames=2)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED, reason="MGR_JAX_SHARED is unset")
def test_similarity_tells_real_excerpts_and_their_copies_apart():
    files = sorted(pathlib.Path(SHARED, "data/gtzan_mini").glob("*/*.wav"))
    assert len(files) == 30
    waves = [soundfile.read(path, dtype="float32")[0][:660_000] for path in files]
    rate = 22_050
    prints = _prints(waves, rate)
    for change, later in COPIES.values():
        copies = _prints([_fit(change(x, rate), len(x)) for x in waves], rate)
        score, offset = map(
            np.asarray, fingerprint.similarity(prints, copies, min_frames=_common(rate))
        )
        assert np.diag(score).min() > 0.8
        hop_seconds = fingerprint.frame_hop(rate) / rate
        np.testing.assert_allclose(np.diag(offset) * hop_seconds, later, atol=hop_seconds)
        assert score[~np.eye(30, dtype=bool)].max() < 0.4


@pytest.mark.slow
def test_near_identical_compares_1000_tracks_of_30_s_within_two_minutes():
    rng = np.random.default_rng(3)
    length = 30 * 22_050
    start = time.process_time()
    batches = []
    for _ in range(0, 1000, 8):
        batch = rng.standard_normal((8, length), np.float32)
        batches.append(np.asarray(fingerprint.fingerprint(batch, sample_rate=22_050)))
    prints = np.concatenate(batches)
    prints[700, 60:] = prints[13, :-60]
    matches = list(fingerprint.near_identical(prints, min_frames=_common(22_050)))
    assert [pair[:2] for pair in matches] == [(13, 700)]
    # CPU time, which other jobs on the machine do not change.
    assert time.process_time() - start < 120
