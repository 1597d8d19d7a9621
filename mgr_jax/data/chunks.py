"""Streams in containers of chunks (WAV, AIFF, W64, CAF) and in AU files.

The size of the samples may be one that a recorder never wrote, or a placeholder of a program that
wrote to a pipe; then the samples end with the file.
"""

import dataclasses
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from mgr_jax.data import mpeg
from mgr_jax.data.byte_ranges import Content, Read, Stream, number

# Mu-law, integers of 8 to 32 bits, floats, G.721, G.723 and A-law.
_AU_CODECS = (1, 2, 3, 4, 5, 6, 7, 23, 25, 26, 27)
# Far more than any file has, so that a hostile one cannot take long.
_MOST_CHUNKS = 1 << 12
# What programs write to a pipe, where they cannot return to the header: sizes near 2 or 4 GiB.
_PLACEHOLDERS = (range(0x7FFF0000, 0x80010000), range(0xFFFF0000, 1 << 32))
# The beginning of a file in bytes of any kind, too long for chance.
MARK = re.compile(
    rb"fLaC[\x00\x80]\x00\x00\x22|OggS\x00\x02|RIFF(?s:.{4})WAVE|FORM(?s:.{4})AIF[FC]"
    rb"|riff\x2e\x91\xcf\x11|caff\x00\x01\x00\x00|RF64(?s:.{4})WAVE|\.snd\x00\x00"
)


class _Layout(NamedTuple):
    """A container of chunks, each a name, a size and content.

    Attributes:
      container: its name.
      demuxer: ffmpeg's name of it.
      first: bytes before the first chunk.
      name: bytes of the name of a chunk.
      size: format of the size of a chunk (`struct`).
      counts_head: whether this size includes name and size.
      align: chunks begin at multiples of it.
      data: name of the chunk with the samples.
      format: name of the chunk with the codec.
      codec: where the codec lies in there.
      codecs: those that libsndfile reads.
    """

    container: str
    demuxer: str
    first: int
    name: int
    size: str
    counts_head: bool
    align: int
    data: bytes
    format: bytes
    codec: slice
    codecs: frozenset[bytes]


def _tags(order: str) -> frozenset[bytes]:
    # PCM, ADPCM of Microsoft and IMA, float, A-law, mu-law, GSM, NMS and G.721 ADPCM, NMS again.
    tags = (1, 2, 3, 6, 7, 0x11, 0x14, 0x31, 0x38, 0x40, 0x64)
    return frozenset(struct.pack(order + "H", tag) for tag in tags)


_WAV = _Layout("WAV", "wav", 12, 4, "<I", False, 2, b"data", b"fmt ", slice(0, 2), _tags("<"))
_AIFF_CODECS = b"NONEtwossowtraw fl32FL32fl64FL64in24in3242ni23niulawULAWalawALAWima4GSM DWVWDWVN"
_AIFF = _Layout(
    "AIFF",
    "aiff",
    12,
    4,
    ">I",
    False,
    2,
    b"SSND",
    b"COMM",
    slice(18, 22),
    frozenset(re.findall(b"....", _AIFF_CODECS)),
)
_LAYOUTS = {
    (b"RIFF", b"WAVE"): _WAV,
    (b"RF64", b"WAVE"): _WAV,
    (b"BW64", b"WAVE"): _WAV,
    (b"RIFX", b"WAVE"): _WAV._replace(size=">I", codecs=_tags(">")),
    (b"FORM", b"AIFF"): _AIFF._replace(codecs=frozenset()),
    (b"FORM", b"AIFC"): _AIFF,
    (b"riff", b""): _WAV._replace(
        container="W64", demuxer="w64", first=40, name=16, size="<Q", counts_head=True, align=8
    ),
    (b"caff", b""): _Layout(
        "CAF",
        "caf",
        8,
        4,
        ">Q",
        False,
        1,
        b"data",
        b"desc",
        slice(8, 12),
        frozenset({b"lpcm", b"alaw", b"ulaw", b"alac"}),
    ),
}


def _layout(head: bytes) -> _Layout | None:
    return _LAYOUTS.get((head[:4], head[8:12])) or _LAYOUTS.get((head[:4], b""))


def begins(read: Read, position: int) -> bool:
    """Return whether an audio file begins here."""
    head = read(position, 16)
    return bool(_layout(head)) or head[:4] in (b"fLaC", b"OggS", b".snd", b"dns.")


def streams(read: Read, start: int, size: int, seconds: float) -> Iterator[tuple[Stream, int]]:
    """Yield the streams of the container at `start`, if there is one, with the end of it."""
    head = read(start, 16)
    if layout := _layout(head):
        yield from _chunked(read, start, size, layout, seconds)
    elif head[:4] in (b".snd", b"dns."):
        yield _au(read, start, size)


def _chunked(
    read: Read, start: int, size: int, layout: _Layout, seconds: float
) -> Iterator[tuple[Stream, int]]:
    """Yield the stream in a container of chunks, or those of MPEG audio in it."""
    head_size = layout.name + struct.calcsize(layout.size)
    position, form, big = start + layout.first, b"", 0
    for _ in range(_MOST_CHUNKS):
        head, body = read(position, head_size), position + head_size
        if len(head) < head_size or head[:4] == layout.data:
            break
        length = number(layout.size, head[layout.name :]) - head_size * layout.counts_head
        if head[:4] == b"ds64":  # RF64 has its sizes in here.
            big = body
        elif head[:4] == layout.format:
            form = read(body, 64)
        position = body + max(0, length) + -length % layout.align
    if len(head) < head_size or head[:4] != layout.data:
        yield Stream(layout.container, content=((start, size),)), size  # libsndfile says why.
        return
    field, kind = position + layout.name, layout.size
    if big and head[4:8] == b"\xff\xff\xff\xff":
        field, kind = big + 8, "<Q"
    length = number(kind, read(field, 8)) - head_size * layout.counts_head
    outer = _outer_end(read, start, layout, big)
    is_open = _is_placeholder(length, body, size) or (
        length <= 0 and outer <= body < size and not begins(read, body)
    )
    # More than 32 bits can count: the size has lost its highest bits.
    is_open |= size - body - length >= 1 << 32 and not begins(read, body + length)
    end = size if is_open else min(body + length, size)
    parts = [(body, end)]
    while layout.size == "<I" and read(place := end + -(end - start) % 2, 4) == b"data":
        end = min(place + 8 + number("<I", read(place + 4, 4)), size)
        parts.append((place + 8, end))
    following = size if is_open else _following(read, end, size, layout)
    codec = form[layout.codec]
    if layout.format == b"fmt " and codec in (b"\xfe\xff", b"\xff\xfe"):
        codec = form[24:26]  # The identifier of the codec begins with its old number.
    is_cut = not is_open and body + length > size + 1
    if codec in (b"P\0", b"U\0"):
        for stream in mpeg.streams(read, body, end, seconds):
            is_damaged = stream.is_damaged or is_cut
            yield dataclasses.replace(stream, is_damaged=is_damaged), following
        return
    # libsndfile reads what follows the samples of W64 as more of them.
    content: Content = ((start, end if layout.counts_head else following),)
    if is_open or len(parts) > 1:
        value = sum(last - first for first, last in parts) + head_size * layout.counts_head
        content = (_patched(read(start, body - start), field - start, kind, value), *parts)
    is_foreign = bool(codec and layout.codecs and codec not in layout.codecs)
    yield (
        Stream(
            layout.container,
            codec=_codec_name(codec) if is_foreign else "",
            demuxer=layout.demuxer if is_foreign else "",
            content=content,
            is_damaged=is_cut,
        ),
        following,
    )


def _following(read: Read, position: int, size: int, layout: _Layout) -> int:
    """Return where the chunks from `position` on end, or another file begins behind them."""
    head_size = layout.name + struct.calcsize(layout.size)
    for _ in range(_MOST_CHUNKS):
        for place in (position + -position % layout.align, position):
            if place < size and begins(read, place):
                return place
        position += -position % layout.align
        head = read(position, head_size)
        length = number(layout.size, head[layout.name :])
        length += 0 if layout.counts_head else head_size
        name = head[:4].strip(b" \0")
        if len(head) < head_size or not name.isalnum() or position + length > size + 1:
            break
        position += max(length, head_size)
    return min(position, size)


def _patched(head: bytes, position: int, form: str, value: int) -> bytes:
    most = (1 << 8 * struct.calcsize(form)) - 1
    data = struct.pack(form, min(value, most))
    return head[:position] + data + head[position + len(data) :]


def _is_placeholder(length: int, body: int, size: int) -> bool:
    """Return whether `length` bytes at `body` stand for as many as there are."""
    is_usual = any(length in sizes for sizes in _PLACEHOLDERS) or length >= 1 << 62
    return is_usual and body + length > size


def _outer_end(read: Read, start: int, layout: _Layout, big: int) -> int:
    """Return where the container says that it ends."""
    if big:
        return start + 8 + number("<Q", read(big, 8))
    if layout.counts_head:
        return start + number(layout.size, read(start + 16, 8))
    return start + 8 + number(layout.size, read(start + 4, 8)) if layout.first == 12 else start


def _codec_name(codec: bytes) -> str:
    if len(codec) == 2:
        return f"codec 0x{int.from_bytes(codec, 'little'):04x}"
    return f"codec {codec.decode('latin-1').strip()!r}"


def _au(read: Read, start: int, size: int) -> tuple[Stream, int]:
    order = ">" if read(start, 1) == b"." else "<"
    offset, length = struct.unpack(order + "II", read(start + 4, 8).ljust(8, b"\0"))
    body = start + offset
    is_open = _is_placeholder(length, body, size) or (
        length == 0 and body < size and not begins(read, body)
    )
    end = size if is_open else min(body + length, size)
    content: Content = ((start, end),)
    if is_open:
        head = _patched(read(start, min(offset, size - start)), 8, order + "I", end - body)
        content = (head, (body, end))
    is_damaged = not is_open and body + length > size
    encoding = number(order + "I", read(start + 12, 4))
    is_foreign = encoding not in _AU_CODECS
    return (
        Stream(
            "AU",
            codec=f"codec {encoding}" if is_foreign else "",
            demuxer="au" if is_foreign else "",
            content=content,
            is_damaged=is_damaged,
        ),
        end,
    )
