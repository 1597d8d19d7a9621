"""The front end of MusiCNN: as librosa computes it, and in chunks as for the whole track."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from mgr_jax.config import Features
from mgr_jax.features import musicnn
from mgr_jax.features.frontend import make_frontend, num_frames

FEATURES = Features(kind="musicnn", sample_rate=16_000, n_fft=512, hop_length=256, n_mels=96)


def _track(seconds, seed=0):
    """Decaying chords with noise, [T] at 16 kHz."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    tones = sum(np.sin(2 * np.pi * f * time + f) for f in 110 * 2.0 ** random.integers(0, 60, 5))
    sound = 0.1 * tones * np.exp(-4 * (time % 0.5)) + 0.01 * random.normal(size=len(time))
    return sound.astype(np.float32)


def _librosa(waveform):
    power = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
    )
    return np.log10(10_000 * power + 1).T


def _blocks(waveform, size):
    for start in range(0, len(waveform), size):
        yield waveform[start : start + size]
    return "a note"


def _collect(waveform, block, **settings):
    """All windows of a track by `chunks`, and what it returns."""
    reader, windows = musicnn.chunks(_blocks(waveform, block), **settings), []
    hop = {"hop": settings["hop"]} if "hop" in settings else {}
    while True:
        try:
            chunk, count = next(reader)
        except StopIteration as end:
            return np.concatenate(windows) if windows else None, end.value
        every = musicnn.cut_windows(musicnn.log_mel(chunk, center=False), **hop)
        assert len(every) == settings["size"] >= count
        windows.append(np.asarray(every[:count]))


@pytest.mark.parametrize("samples", [512, 5_000, 47_616, 160_123])
def test_log_mel_equals_librosa(samples):
    waveform = _track(samples / 16_000)
    expected = _librosa(waveform)
    ours = jax.jit(musicnn.log_mel)(waveform)
    assert ours.shape == expected.shape and ours.dtype == jnp.float32
    power, expected_power = (10.0 ** np.asarray(x, np.float64) - 1 for x in (ours, expected))
    assert np.abs(power - expected_power).max() <= 1e-5 * expected_power.max()
    assert np.abs(ours - expected).max() <= 1e-4  # 0.001 dB, in quiet bands beside loud ones


def test_log_mel_of_silence_is_zero():
    np.testing.assert_array_equal(musicnn.log_mel(np.zeros(4_000, np.float32)), 0)


def test_windows_are_cut_from_the_spectrogram_of_the_track():
    waveform = _track(8)
    expected = _librosa(waveform)
    windows = np.asarray(musicnn.windows(waveform))
    assert windows.shape == (musicnn.num_windows(len(waveform)), 187, 96)
    for i, window in enumerate(windows):
        np.testing.assert_allclose(window, expected[61 * i : 61 * i + 187], atol=1e-4)
    both = np.stack([waveform, waveform[::-1]])
    np.testing.assert_allclose(musicnn.windows(both)[0], windows, atol=1e-5)


@pytest.mark.parametrize("hop", [1, 61, 187, 1000])
def test_num_windows_counts_the_windows(hop):
    lengths = [47_616, 47_871, 47_872, 63_231, 63_232, 95_000, 480_000]
    counts = [
        jax.eval_shape(
            lambda x: musicnn.windows(x, hop=hop), jax.ShapeDtypeStruct((n,), jnp.float32)
        ).shape[0]
        for n in lengths
    ]
    assert [musicnn.num_windows(n, hop=hop) for n in lengths] == counts
    np.testing.assert_array_equal(musicnn.num_windows(jnp.asarray(lengths), hop=hop), counts)
    assert musicnn.num_windows(47_615, hop=hop) == 0


def test_thirty_seconds_give_one_chunk_of_28_windows():
    assert musicnn.num_windows(30 * 16_000) == 28
    ((chunk, count),) = musicnn.chunks(_blocks(np.ones(30 * 16_000, np.float32), 16_384))
    assert chunk.shape == (musicnn.chunk_length(28),) and count == 28


@pytest.mark.parametrize(("size", "hop"), [(1, 61), (3, 61), (2, 200)])
@pytest.mark.parametrize("block", [100, 16_384, 10**6])
def test_chunks_give_the_windows_of_the_whole_track(size, hop, block):
    for samples in (47_616, 80_000, 100_001):
        waveform = _track(samples / 16_000)
        windows, (length, note) = _collect(waveform, block, size=size, hop=hop)
        expected = np.asarray(musicnn.windows(waveform, hop=hop))
        assert (length, note) == (samples, "a note") and windows.shape == expected.shape
        np.testing.assert_allclose(windows, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("samples", [1, 300, 20_000, 47_615])
def test_a_track_shorter_than_a_window_is_repeated(samples):
    waveform = _track(3)[100 : 100 + samples]
    windows, (length, _) = _collect(waveform, 700, size=2)
    expected = np.asarray(musicnn.windows(np.resize(waveform, 47_616)))
    assert length == samples and windows.shape == expected.shape == (1, 187, 96)
    np.testing.assert_allclose(windows, expected, atol=1e-5 * max(expected.max(), 1))


def test_chunks_of_nothing_are_none_and_errors_pass():
    assert _collect(np.zeros(0, np.float32), 5, size=1) == (None, (0, "a note"))

    def broken():
        yield np.ones(90_000, np.float32)
        raise OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        list(musicnn.chunks(broken(), size=1))


def test_the_kind_of_the_config_gives_windows():
    waveform = _track(6)[None]
    windows = make_frontend(FEATURES)(waveform)
    np.testing.assert_array_equal(windows, musicnn.windows(waveform))
    assert windows.shape[1] == num_frames(FEATURES, waveform.shape[1]) == 4


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="511 samples, fewer than a frame"):
        musicnn.log_mel(np.zeros(511, np.float32))
    with pytest.raises(ValueError, match="floating point"):
        musicnn.log_mel(np.zeros(5_000, np.int16))
    with pytest.raises(ValueError, match="186 frames are fewer than the 187"):
        musicnn.windows(np.zeros(47_615, np.float32))
    with pytest.raises(ValueError, match="hop is 0"):
        musicnn.cut_windows(jnp.zeros((200, 96)), hop=0)
