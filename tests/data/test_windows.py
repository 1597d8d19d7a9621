"""Windows of audio that arrives in blocks."""

import numpy as np
import pytest

from mgr_jax.data import audio, batches, windows


def _blocks(waveform, generator):
    position = 0
    while position < len(waveform):
        size = int(generator.integers(1, 230))
        yield waveform[position : position + size]
        position += size
    return "a note"


def _collect(generator):
    items = []
    while True:
        try:
            items.append(next(generator))
        except StopIteration as end:
            return items, end.value


@pytest.mark.parametrize("length", [1, 99, 100, 101, 199, 200, 201, 950, 1003])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.95])
def test_cut_gives_the_windows_of_the_whole_waveform(length, overlap):
    generator = np.random.default_rng(length)
    waveform = generator.normal(size=length).astype(np.float32)
    hop = windows.hop_length(100, overlap)
    blocks = _blocks(waveform, generator)
    cuts, (counted, note) = _collect(windows.cut(blocks, window=100, hop=hop))
    assert (counted, note) == (length, "a note")
    last = max(0, length - 100)
    assert [start for start, _, _ in cuts] == [*range(0, last, hop), last]
    if not overlap:
        assert [start for start, _, _ in cuts] == batches.window_starts(length, 100)
    for start, piece, num_samples in cuts:
        own = audio.fit(waveform[start : start + 100], 100)
        np.testing.assert_array_equal(piece, windows.repeat(own, num_samples))
        assert num_samples == min(100, length)


@pytest.mark.parametrize("length", [0, 1, 3, 98, 99, 100])
def test_repeat_fills_more_than_one_percent_of_padding_with_the_audio(length):
    waveform = np.where(np.arange(100) < length, np.arange(100), 0)
    expected = np.resize(np.arange(length), 100) if 0 < length < 99 else waveform
    np.testing.assert_array_equal(windows.repeat(waveform, length), expected)


def test_repeat_without_tolerance_fills_all_padding():
    waveform = np.append(np.arange(1, 100), 0)
    np.testing.assert_array_equal(windows.repeat(waveform, 99), waveform)
    filled = windows.repeat(waveform, 99, tolerance=0)
    np.testing.assert_array_equal(filled, [*range(1, 100), 1])
    np.testing.assert_array_equal(windows.repeat(waveform[:7], 3, tolerance=0), [1, 2, 3] * 2 + [1])
    np.testing.assert_array_equal(windows.repeat(waveform, 0, tolerance=0), waveform)


@pytest.mark.parametrize("overlap", [-0.1, 0.951, 1.0, float("nan")])
def test_hop_length_refuses_an_overlap_out_of_range(overlap):
    with pytest.raises(ValueError, match="overlap is"):
        windows.hop_length(100, overlap)


def test_hop_length_is_at_least_a_sample():
    assert windows.hop_length(10, 0.95) == 1
    assert windows.hop_length(100, 0.25) == 75


@pytest.mark.parametrize(("length", "starts"), [(60, [0]), (119, [0]), (120, [0, 20]), (0, [])])
def test_cut_leaves_out_a_last_window_with_too_little_that_is_new(length, starts):
    waveform = np.arange(length, dtype=np.float32)
    blocks = _blocks(waveform, np.random.default_rng(0))
    cuts, (counted, _) = _collect(windows.cut(blocks, window=100, hop=100, least=20))
    assert [start for start, _, _ in cuts] == starts and counted == length
