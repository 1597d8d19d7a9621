"""FLAC streams, which may be joined, and their frames behind a hole."""

import re

from mgr_jax.data import chunks
from mgr_jax.data.byte_ranges import Content, Read, Stream, find_bytes, number

_HEADER_SIZE = 42
# Sync code, codes of block size and rate, channels and resolution (RFC 9639, section 9.1).
_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xaf]")
# Bytes: that of a header, and far from the end of a stream the last frame must have begun.
_MAX_FRAME_HEADER, _MAX_FRAME = 16, 1 << 16


def streams(read: Read, start: int, size: int, seconds: float) -> tuple[Stream, int]:
    """Return the FLAC stream at `start`, and where the next one begins."""
    rate, length = _rate_and_length(read, start)
    following = size
    rate = max(1, rate)
    if not length / rate > seconds:
        following = find_bytes(read, chunks.MARK, start + _HEADER_SIZE, size)
    content: Content = ((start, following),)
    if length > 0 and length / rate <= seconds and has_more(read, start, following, length):
        content, length = (_header(read, start), (start + _HEADER_SIZE, following)), 0
    return Stream("FLAC", content=content, is_exact=length > 0), following


def last_header(read: Read) -> bytes:
    """Return the header of the stream at 0, of unknown length and without further blocks."""
    data = bytearray(_header(read, 0))
    data[4] |= 0x80
    return bytes(data)


def _header(read: Read, start: int) -> bytes:
    data = bytearray(read(start, _HEADER_SIZE))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def has_more(read: Read, start: int, stop: int, length: int) -> bool:
    """Return whether the stream from `start` to `stop` ends with frames behind `length` samples."""
    block_size, position = number(">H", read(start + 8, 2)), max(start, stop - _MAX_FRAME)
    while (position := find_bytes(read, _FRAME, position, stop)) < stop:
        if _first_sample(read(position, _MAX_FRAME_HEADER), block_size) >= length:
            return True
        position += 1
    return False


def find_frame(read: Read, start: int, size: int, sample: int) -> tuple[int, int]:
    """Return the position from `start` on of a frame of `sample` or later, and its first sample.

    The stream begins at 0. Without such a frame the position is `size`.
    """
    _, length = _rate_and_length(read, 0)
    block_size, position = number(">H", read(8, 2)), start
    while (position := find_bytes(read, _FRAME, position, size)) < size:
        first = _first_sample(read(position, _MAX_FRAME_HEADER), block_size)
        if first >= sample and (not length or first < length):
            return position, first
        position += 1
    return size, sample


def _rate_and_length(read: Read, start: int) -> tuple[int, int]:
    # 20 bits of rate, 3 of channels, 5 of resolution, 36 of length.
    facts = int.from_bytes(read(start + 18, 8), "big")
    return facts >> 44, facts & (1 << 36) - 1


def _first_sample(head: bytes, block_size: int) -> int:
    """Return the first sample of the frame with this header, or -1 if its checksum is wrong."""
    # The number of the frame, or of its sample, is coded as a character of UTF-8.
    ones = 8 - (head[4] ^ 0xFF).bit_length() if len(head) > 4 else 1
    if ones == 1 or ones > 7:
        return -1
    value = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + max(1, ones)]:
        value = value << 6 | byte & 0x3F
    end = 4 + max(1, ones)
    end += {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    remainder = 0
    for byte in head[: end + 1]:  # With its checksum, the remainder of a header is 0.
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ 0x107 * (remainder >> 7)) & 0x1FF
    if remainder or end >= len(head):
        return -1
    return value if head[1] & 1 else value * block_size
