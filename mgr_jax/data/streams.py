"""The streams of an audio file, one after the other, and what their headers say about them.

libsndfile decodes the first stream of a file alone, trusts sizes that a recorder never wrote, and
gives up at tags and holes. Here a file is cut into streams, each of which is a file to libsndfile.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

from mgr_jax.data import chunks, mpeg, ogg
from mgr_jax.data.byte_ranges import Read, Stream, find_bytes, reader

# What libsndfile does not read: first bytes, their position, our name of the format, ffmpeg's name.
_FOREIGN = (
    (b"ftyp", 4, "MPEG-4 (m4a)", "mov"),
    (b"moov", 4, "QuickTime", "mov"),
    (b"mdat", 4, "QuickTime", "mov"),
    (b"wide", 4, "QuickTime", "mov"),
    (b"free", 4, "QuickTime", "mov"),
    (b"\x1aE\xdf\xa3", 0, "Matroska or WebM", "matroska"),
    (b"0&\xb2u\x8ef\xcf\x11", 0, "Windows Media (wma)", "asf"),
    (b"\xff\xf1", 0, "AAC", "aac"),
    (b"\xff\xf9", 0, "AAC", "aac"),
    (b"ADIF", 0, "AAC (ADIF)", "aac"),
    (b"\x0bw", 0, "AC-3", "ac3"),
    (b"\x7f\xfe\x80\x01", 0, "DTS", "dts"),
    (b"\xf8ro\xba", 4, "TrueHD", "truehd"),
    (b"\xf8ro\xbb", 4, "MLP", "mlp"),
    (b"#!AMR", 0, "AMR", "amr"),
    (b"MAC ", 0, "Monkey's Audio", "ape"),
    (b"wvpk", 0, "WavPack", "wv"),
    (b"TTA1", 0, "True Audio", "tta"),
    (b"tBaK", 0, "TAK", "tak"),
    (b"MPCK", 0, "Musepack", "mpc8"),
    (b"MP+", 0, "Musepack", "mpc"),
    (b"DSD ", 0, "DSD (dsf)", "dsf"),
    (b"FRM8", 0, "DSD (dff)", "iff"),
    (b"ajkg", 0, "Shorten", "shn"),
    (b".SoX", 0, "SoX", "sox"),
    (b"XoS.", 0, "SoX", "sox"),
    (b".RMF", 0, "RealMedia", "rm"),
    (b"FLV\x01", 0, "Flash video", "flv"),
    (b"nut/multimedia", 0, "NUT", "nut"),
    (b"\0\0\x01\xba", 0, "MPEG video", "mpeg"),
    (b"AVI ", 8, "AVI", "avi"),
)
# Where another file of the format begins, if ffmpeg decodes one of them alone: WavPack's first
# block has the number 0 and the mark of the first of its channels.
_FIRST = b"[" + b"".join(b"\\x%02x" % n for n in range(256) if n & 8) + b"]"
_AGAIN_PATTERNS = {
    "mov": rb"\0\0\0[\x10-\x40]ftyp[\w ]{4}",
    "matroska": rb"\x1aE\xdf\xa3[\x01-\xff]",
    "asf": rb"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa",
    "flv": rb"FLV\x01[\x01-\x05]\0\0\0\x09",
    "tta": rb"TTA1[\x01-\x03]\0[\x01-\x08]\0",
    "wv": rb"wvpk(?s:.{4}).\x04(?s:.{6})\0{4}(?s:.{5})" + _FIRST,
}
_AGAIN = {name: re.compile(pattern) for name, pattern in _AGAIN_PATTERNS.items()}
_CODECS = {
    "mov": re.compile(rb"stsd\0{7}.\0\0(?s:..)(\w[\w -]{3})"),
    "matroska": re.compile(rb"\x86.(A_[A-Z0-9_/]+?)(?=V[\xaa\xbb]|[^A-Z0-9_/])"),
}
# Bytes at either end of a file in which the name of its codec is looked for.
_HEADERS = 1 << 20
_NAMES = {"mp4a": "AAC", "alac": "ALAC", "ac-3": "AC-3", "samr": "AMR"}


def find(file: Any, size: int, seconds: float = math.inf) -> Iterator[Stream]:
    """Yield the streams of an open binary file of `size` bytes.

    Args:
      seconds: duration after which nothing need be known.
    """
    read, position, is_first = reader(file), 0, True
    while position < size or is_first:
        start = begin = position
        while step := mpeg.tag_size(read(begin, 24)):
            begin += step
        for stream, end in _streams(read, begin, size, seconds):
            # By its name libsndfile takes MPEG audio for another format where macOS keeps a file
            # `._NAME` beside it.
            is_whole = stream.content == ((0, size),) and stream.container != "MPEG audio"
            yield dataclasses.replace(stream, content=None) if is_whole else stream
            is_first, position = False, end
        if is_first and (begin < size or not size):
            yield Stream()
        if position <= start:
            return


def find_mpeg(file: Any, size: int, seconds: float = math.inf) -> Iterator[Stream]:
    """Yield the streams of MPEG audio in a file that begins with something else."""
    return mpeg.streams(reader(file), 0, size, seconds, fewest=4)


def _streams(read: Read, start: int, size: int, seconds: float) -> Iterator[tuple[Stream, int]]:
    """Yield the stream, or all streams of MPEG audio, at `start`, with the end."""
    head, is_known = read(start, 16), chunks.begins(read, start)
    foreign = [row for row in _FOREIGN if head[row[1] :].startswith(row[0])]
    if head[:4] == b"fLaC":
        yield ogg.flac(read, start, size, seconds)
    elif head[:4] == b"OggS":
        yield ogg.ogg(read, start, size, seconds)
    elif is_known:
        yield from chunks.streams(read, start, size, seconds)
    elif foreign:
        yield _foreign(read, start, size, *foreign[0][2:])
    elif head[:1] == b"V" and head[1:2] >= b"\xe0":
        yield _foreign(read, start, size, "AAC (LOAS)", "loas")
    elif head[:1] == read(start + 188, 1) == read(start + 376, 1) == b"G":
        yield _foreign(read, start, size, "MPEG transport stream", "mpegts")
    elif mpeg.parse(head[:4]) or start:
        for stream in mpeg.streams(read, start, size, seconds):
            yield stream, size


def _foreign(read: Read, start: int, size: int, container: str, demuxer: str) -> tuple[Stream, int]:
    """Return the stream of a file for ffmpeg, and where the next one begins."""
    following = size
    if demuxer in _AGAIN:
        following = find_bytes(read, _AGAIN[demuxer], start + 1, size)
    headers = read(start, _HEADERS) + read(max(start, following - _HEADERS), _HEADERS)
    codec = _CODECS[demuxer].search(headers) if demuxer in _CODECS else None
    name = codec[1].decode().strip().removeprefix("A_") if codec else ""
    has_audio = demuxer != "mov" or b"moov" not in headers or b"soun" in headers
    return (
        Stream(
            container,
            codec=_NAMES.get(name, name),
            demuxer=demuxer,
            content=((start, following),),
            has_audio=has_audio,
        ),
        following,
    )
