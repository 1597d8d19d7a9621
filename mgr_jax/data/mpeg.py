"""Streams of MPEG audio (MP3, MP2, MP1): their frames, whatever lies between and around them.

libsndfile stops at the length that the first frame states, or at its own estimate, and at the first
byte that belongs to no frame. Here the frames are counted, so that all of them are decoded.
"""

import dataclasses
import functools
import math
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from mgr_jax.data.byte_ranges import Content, Read, Stream

# kbit/s by MPEG-1 or not, and layer.
_BITRATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# Hz, by the two bits of the version.
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_SYNC = re.compile(rb"\xff[\xe2-\xff]|ID3[\x02-\x04]|APETAGEX|TAG")
# Bytes of a frame that are read to know it: its header and the mark of an Info frame.
_HEAD = 48
_BLOCK_SIZE = 1 << 16
# Frames in a row that are no chance.
_FEW = 4
# Positions that look like a frame and are none, before the rest counts as no audio.
_MOST_TRIES = 1 << 17


class Header(NamedTuple):
    """The header of a frame: bytes, samples, Hz, position of the mark of an Info frame.

    Frames of one stream have the same `kind`.
    """

    size: int
    samples: int
    rate: int
    mark: int
    kind: tuple


@dataclasses.dataclass
class _Frames:
    """Frames that belong together.

    Attributes:
      first: header of the first frame.
      info: the Info (or Xing) frame, which states the number of frames; empty if there is none.
      info_end: position after it.
      pieces: first and last position (exclusive) of runs of frames.
      num_frames: frames without the Info frame.
      num_lost: bytes between frames that are none.
      is_cut: whether the last frame is, which no player decodes.
      whole: whether all frames were counted.
    """

    first: bytes
    info: bytes = b""
    info_end: int = 0
    pieces: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    num_frames: int = 0
    num_lost: int = 0
    is_cut: bool = False
    whole: bool = True

    @property
    def states_length(self) -> bool:
        """Whether the Info frame states at least as many frames as there are.

        Encoders differ in whether they count the Info frame itself.
        """
        stated = self._stated()
        return stated > 0 and (stated >= self.num_frames - 1 or not self.whole)

    def content(self) -> Content:
        """Return what libsndfile decodes to the last frame; nothing if there are no frames."""
        if not self.pieces:
            return ()
        if self.states_length:
            (begin, _), *others = self.pieces
            if begin == self.info_end:
                return (begin - len(self.info), self.pieces[0][1]), *others
            return self.info, *self.pieces
        if parse(self.first).kind[0] < 3:
            return tuple(self.pieces)
        return _info_frame(self.first, self.num_frames), *self.pieces

    @property
    def is_damaged(self) -> bool:
        """Whether bytes of frames are missing."""
        return bool(self.num_lost) or (self.is_cut and not 0 < self._stated() <= self.num_frames)

    def _stated(self) -> int:
        mark = parse(self.first).mark
        if self.info[mark : mark + 4] not in (b"Xing", b"Info"):
            return 0
        flags, count = struct.unpack(">II", self.info[mark + 4 : mark + 12].ljust(8, b"\0"))
        return count if flags & 1 else 0


@functools.lru_cache(1 << 12)
def parse(head: bytes) -> Header | None:
    """Return the header in the first four bytes of a frame, or None if they are none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer, bitrate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4
    rate_index, padding, is_mono = head[2] >> 2 & 3, head[2] >> 1 & 1, head[3] >> 6 == 3
    if version == 1 or layer == 4 or rate_index == 3 or not 0 < bitrate < 15:
        return None
    rate, is_first = _RATES[version][rate_index], version == 3
    bits = 1000 * _BITRATES[is_first, layer][bitrate]
    if layer == 1:
        samples, size = 384, 4 * (12 * bits // rate + padding)
    else:
        samples = 1152 if layer == 2 or is_first else 576
        size = samples // 8 * bits // rate + padding
    mark = 4 + ((17 if is_mono else 32) if is_first else (9 if is_mono else 17))
    # Only an Info frame says how long a stream of varying bit rate is, and only layer III has one.
    return Header(size, samples, rate, mark, (layer, rate, is_mono, layer < 3 and bits))


def begins(read: Read, position: int) -> bool:
    """Return whether several frames follow each other from `position` on."""
    kinds = []
    while len(kinds) < _FEW and (header := parse(read(position, 4))):
        kinds.append(header.kind)
        position += header.size
    return len(kinds) == _FEW and len(set(kinds)) == 1


def streams(
    read: Read, start: int, stop: int, seconds: float = math.inf, *, fewest: int = 0
) -> Iterator[Stream]:
    """Yield the streams of MPEG audio between two positions.

    Args:
      seconds: duration after which frames are not counted.
      fewest: frames that a stream must have.
    """
    for frames in _find(read, start, stop, seconds):
        if frames.num_frames >= fewest:
            yield Stream(
                "MPEG audio",
                content=frames.content(),
                is_damaged=frames.is_damaged,
                is_exact=frames.states_length,
                end=frames.pieces[-1][1] if frames.pieces and frames.whole else 0,
            )


def _find(read: Read, start: int, stop: int, seconds: float = math.inf) -> Iterator[_Frames]:
    """Yield the streams between two positions; stop counting after `seconds` of frames."""
    stream, lost, total, tries = None, 0, 0.0, 0
    position = start
    while position + 4 <= stop:
        head = read(position, _HEAD)
        header = parse(head[:4])
        known = stream and header and header.kind == parse(stream.first).kind
        if not header or not (known or is_frame(read, position, stop)):
            step = tag_size(head)
            if not step:
                following, tries = _resync(read, position + 1, stop, tries)
                step = following - position
                lost += step
            position += step
            continue
        end = min(position + header.size, stop)
        if end - position < header.size and stream:
            stream.is_cut = True
            break
        is_info = (
            head[header.mark : header.mark + 4] in (b"Xing", b"Info") or head[36:40] == b"VBRI"
        )
        # After a hole the decoder begins anew, since frames use bits of those before them.
        if not known or is_info or lost:
            if stream:
                yield stream
            is_hole = known and not is_info and stream.num_frames
            stream, lost = _Frames(head[:4], num_lost=lost if is_hole else 0), 0
        if is_info:
            stream.info, stream.info_end = read(position, header.size), end
        else:
            if stream.pieces and stream.pieces[-1][1] == position:
                stream.pieces[-1] = stream.pieces[-1][0], end
            else:
                stream.pieces.append((position, end))
            stream.num_frames += 1
            total += header.samples / header.rate
            if total > seconds:
                stream.whole = False
                break
        position = end
    if stream:
        yield stream


def tag_size(head: bytes) -> int:
    """Return the bytes of the tag (ID3, APE) that begins with `head`; 0 if none does."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
        size = functools.reduce(lambda total, digit: total << 7 | digit, head[6:10])
        return 10 + size + 10 * (head[5] >> 4 & 1)
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        size, _, flags = struct.unpack("<III", head[12:24])
        return size + 32 * (flags >> 29 & 1)
    return 128 if head[:3] == b"TAG" else 0


def is_frame(read: Read, position: int, stop: int) -> bool:
    """Return whether a frame begins here: the next one of its kind, or the end, follows."""
    header = parse(read(position, 4))
    if not header:
        return False
    following = position + header.size
    head = read(following, 10)
    other = parse(head[:4])
    return (
        following == stop
        or (following < stop and bool(other and other.kind == header.kind))
        or (following < stop and bool(tag_size(head.ljust(24, b"\0"))))
    )


def _resync(read: Read, position: int, stop: int, tries: int) -> tuple[int, int]:
    """Return the position of the next frame or tag, or `stop`, and the positions tried so far."""
    while position < stop:
        block = read(position, min(_BLOCK_SIZE, stop - position))
        for match in _SYNC.finditer(block):
            if match[0][0] != 0xFF or is_frame(read, position + match.start(), stop):
                return position + match.start(), tries
            tries += 1
            if tries > _MOST_TRIES:
                return stop, tries
        position += max(1, len(block) - 8)
        if len(block) < _BLOCK_SIZE:
            break
    return stop, tries


def _info_frame(first: bytes, num_frames: int) -> bytes:
    """Return an Info frame for a stream of layer III that has none."""
    # No checksum, and a bit rate of which a frame has room.
    head = bytes([first[0], first[1] | 1, 0x90 | first[2] & 0x0C, first[3]])
    header = parse(head)
    mark = b"Info" + struct.pack(">II", 1, num_frames)
    return (head + bytes(header.mark - 4) + mark).ljust(header.size, b"\0")
