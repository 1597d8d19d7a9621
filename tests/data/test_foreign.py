"""Streams for ffmpeg: whether the bytes that their own headers promise are there."""

import io
import struct
import time

import numpy as np
import pytest

from mgr_jax.data import streams

_BODY = np.random.default_rng(0).integers(32, 64, 1000, np.uint8).tobytes()


def _adts(size):
    head = b"\xff\xf1\x50" + bytes([0x80 | size >> 11, size >> 3 & 255, (size & 7) << 5 | 31, 252])
    return head + _BODY[: size - 7]


def _box(name, body):
    return struct.pack(">I4s", 8 + len(body), name) + body


def _element(name, body, *, is_open=False):
    size = b"\x01" + (b"\xff" * 7 if is_open else len(body).to_bytes(7, "big"))
    return bytes.fromhex(name) + size + body


def _matroska(*, is_open):
    block = _element("a3", _BODY)
    clusters = 3 * _element("1f43b675", 3 * block, is_open=is_open)
    return _element("1a45dfa3", bytes(20)) + _element("18538067", clusters, is_open=is_open)


def _asf():
    facts = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365") + struct.pack("<Q", 104) + bytes(80)
    header = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
    header += struct.pack("<Q", 30 + 104) + bytes(6) + facts
    return header + bytes(16) + struct.pack("<Q", 1024) + _BODY


def _avi():
    movie = b"LIST" + struct.pack("<I", 1004) + b"movi" + _BODY
    header = b"LIST" + struct.pack("<I", 16) + b"hdrl" + bytes(12)
    return b"RIFF" + struct.pack("<I", 4 + len(header + movie)) + b"AVI " + header + movie


_AC3 = b"\x0bw\0\0\x00\x40" + _BODY[:122]  # 32 kbit/s at 48 kHz: 128 bytes.
_EAC3 = b"\x0bw\0\x3f\x00\x80" + _BODY[:122]
_LOAS = b"\x56\xe0\x64" + _BODY[:100]
_DTS = b"\x7f\xfe\x80\x01\xfc\x00\x06\x30" + _BODY[:92]
_PACK = b"\0\0\1\xba\x44" + bytes(8) + b"\xf8" + b"\0\0\1\xbd\0\x64" + _BODY[:100]
WHOLE = {
    "aac": 9 * _adts(200),
    "ac3": 9 * _AC3,
    "amr": b"#!AMR\n" + 9 * (b"\x3c" + _BODY[:31]),
    "avi": _avi(),
    "asf": _asf(),
    "dsf": b"DSD " + struct.pack("<QQQ", 28, 1028, 0) + _BODY,
    "dff": b"FRM8" + struct.pack(">Q", 1000) + _BODY,
    "dts": 9 * _DTS,
    "eac3": 9 * _EAC3,
    "flv": b"FLV\x01\x04\0\0\0\x09\0\0\0\0" + 9 * (b"\x08\0\0\x64" + bytes(7) + _BODY[:104]),
    "latm": 9 * _LOAS,
    "mkv": _matroska(is_open=False),
    "live mkv": _matroska(is_open=True),
    "mp4": _box(b"ftyp", b"M4A ") + _box(b"moov", b"soun" * 9) + _box(b"mdat", _BODY),
    "rm": b".RMF\0\0\0\x12" + bytes(10) + b"DATA" + struct.pack(">I", 1008) + _BODY,
    "sox": b".SoX" + struct.pack("<IQdII", 28, 250, 8000, 1, 0) + _BODY,
    "ts": 9 * (b"G" + _BODY[:187]),
    "vob": 9 * _PACK,
    "wv": 9 * (b"wvpk" + struct.pack("<I", 100) + bytes(4) + _BODY[:96]),
}


def _is_damaged(content):
    (stream, *_) = streams.find(io.BytesIO(content), len(content))
    assert stream.demuxer
    return stream.is_damaged


@pytest.mark.parametrize("name", WHOLE)
def test_find_takes_whole_files_for_whole_with_tags_or_padding_too(name):
    content = WHOLE[name]
    assert not _is_damaged(content)
    if name != "amr":  # Whose frames have no mark.
        for rest in (b"TAG" + bytes(125), bytes(3000)):
            assert not _is_damaged(content + rest)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("num_bytes", [20, 150])
def test_find_notes_that_the_end_is_cut(name, num_bytes):
    assert _is_damaged(WHOLE[name][:-num_bytes])


@pytest.mark.parametrize("name", ["aac", "ac3", "eac3", "latm", "dts", "wv"])
def test_find_notes_a_hole_between_frames(name):
    content = WHOLE[name]
    assert _is_damaged(content[:500] + bytes(150) + content[650:])


def test_find_promises_nothing_for_what_is_not_known():
    assert not _is_damaged(WHOLE["asf"][:-500].replace(bytes(80), b"\1" * 80))  # A broadcast.
    avi = bytearray(WHOLE["avi"])
    place = avi.index(b"movi") - 4
    avi[place : place + 4] = b"\xff" * 4  # Never written.
    assert not _is_damaged(bytes(avi))
    box = struct.pack(">I4s", 0, b"mdat") + _BODY  # To the end of the file.
    assert not _is_damaged(_box(b"ftyp", b"M4A ") + box)


@pytest.mark.slow
def test_find_of_mutated_files_ends_soon_and_without_an_error():
    generator, slowest = np.random.default_rng(0), 0.0
    for number in range(4000):
        content = bytearray([*WHOLE.values()][number % len(WHOLE)])
        for _ in range(generator.integers(1, 9)):
            place, size = generator.integers(min(len(content), 200)), int(generator.integers(1, 9))
            content[place : place + size] = generator.bytes(size)
        began = time.process_time()
        assert list(streams.find(io.BytesIO(content), len(content)))
        slowest = max(slowest, time.process_time() - began)
    assert slowest < 1
