"""FLAC: frames behind a hole, and lengths that its header states wrongly."""

import io
import struct

import numpy as np
import pytest

from mgr_jax.data import byte_ranges, flac
from tests.data.audio_files import RATE, decode, encode

_SAMPLES = (np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE) * 2**15).astype(np.int16)
_CONTENT = encode(_SAMPLES, "FLAC", "PCM_16")
_BLOCK_SIZE = 4096


def _states(length, content=_CONTENT):
    """Return the file with another number of samples in its header; 0 is unknown."""
    content = bytearray(content)
    content[21] &= 0xF0
    content[22:26] = struct.pack(">I", length)
    return bytes(content)


@pytest.mark.parametrize("hole", ["missing", "zeros", "junk", "extra"])
@pytest.mark.parametrize("stated", [len(_SAMPLES), 0])
def test_decode_hears_flac_behind_a_hole(tmp_path, hole, stated):
    content, junk = _states(stated), np.random.default_rng(0).bytes(3000)
    middle = len(content) // 2
    inserted = {"missing": b"", "zeros": bytes(3000), "junk": junk, "extra": junk}[hole]
    rest = middle if hole == "extra" else middle + 3000
    (tmp_path / "a").write_bytes(content[:middle] + inserted + content[rest:])
    waveform, note = decode(tmp_path / "a")
    lost = len(_SAMPLES) - len(waveform)
    assert 0 < lost <= 2 * _BLOCK_SIZE and lost % _BLOCK_SIZE == 0
    assert note == f"truncated or damaged: only {len(waveform) / RATE:.2f} s of it can be read"
    np.testing.assert_array_equal(waveform[-RATE:] * 2**15, _SAMPLES[-RATE:])
    np.testing.assert_array_equal(waveform[:RATE] * 2**15, _SAMPLES[:RATE])


def test_decode_hears_flac_behind_many_holes_and_between_files(tmp_path):
    content = bytearray(_CONTENT)
    for place in range(20_000, len(content) - 20_000, 40_000):
        content[place : place + 100] = bytes(100)
    (tmp_path / "a").write_bytes(content + _CONTENT)
    waveform, note = decode(tmp_path / "a")
    assert note.startswith("truncated or damaged") and len(waveform) > 1.4 * len(_SAMPLES)
    np.testing.assert_array_equal(waveform[-len(_SAMPLES) :] * 2**15, _SAMPLES)


@pytest.mark.parametrize("stated", [RATE, 0])
def test_decode_hears_flac_whose_header_states_too_little_or_nothing(tmp_path, stated):
    (tmp_path / "a").write_bytes(_states(stated))
    waveform, note = decode(tmp_path / "a")
    np.testing.assert_array_equal(waveform * 2**15, _SAMPLES)
    assert note == ""


def test_find_frame_gives_position_and_first_sample_of_each_frame():
    read, position = byte_ranges.reader(io.BytesIO(_CONTENT)), 0
    for first in range(0, len(_SAMPLES), _BLOCK_SIZE):
        position, sample = flac.find_frame(read, position, len(_CONTENT), first)
        assert sample == first
        assert _CONTENT[position] == 0xFF
        position += 1
    end = flac.find_frame(read, position, len(_CONTENT), len(_SAMPLES))
    assert end == (len(_CONTENT), len(_SAMPLES))


def test_tail_leaves_out_bytes_and_ranges():
    content = (b"abcd", (10, 20), b"xy")
    assert byte_ranges.tail(content, 0) == content
    assert byte_ranges.tail(content, 3) == (b"d", (10, 20), b"xy")
    assert byte_ranges.tail(content, 9) == ((15, 20), b"xy")
    assert byte_ranges.tail(content, 16) == ()
