"""Ranges of the bytes of a file that are decoded on their own, as files."""

import dataclasses
import io
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

# Position and number of bytes -> bytes, fewer at the end of the file.
Read = Callable[[int, int], bytes]
_BLOCK_SIZE = 1 << 20
# Bytes, or the first and last position (exclusive) of a range of the file.
Content = tuple[bytes | tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Stream:
    """A part of a file that is decoded on its own.

    Attributes:
      container: name of its format; empty if it is not known.
      codec: name of a codec that libsndfile does not read, else empty.
      demuxer: ffmpeg's name of the container; empty where ffmpeg is not needed.
      content: what libsndfile takes for a whole file; None for the file as it is.
      has_audio: whether there is any sound in it.
      is_damaged: whether bytes that its headers promise are missing.
      is_exact: whether its headers state the number of its samples, so that fewer are a damage.
      end: position behind its last byte, if that is known, else 0.
      num_unknown: bytes behind it that begin no stream.
    """

    container: str = ""
    codec: str = ""
    demuxer: str = ""
    content: Content | None = None
    has_audio: bool = True
    is_damaged: bool = False
    is_exact: bool = False
    end: int = 0
    num_unknown: int = 0

    @property
    def name(self) -> str:
        """Return container and codec in words."""
        return f"{self.container} with {self.codec}" if self.codec else self.container


class RangesFile(io.RawIOBase):
    """Bytes and ranges of a file, joined to a file."""

    def __init__(self, file: Any, content: Content):
        """Join `content` of the open binary `file`."""
        self._file, self._content, self._position = file, content, 0
        self._starts, self._size = [], 0
        for part in content:
            self._starts.append(self._size)
            self._size += len(part) if isinstance(part, bytes) else part[1] - part[0]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view, done = memoryview(buffer), 0
        while done < len(view) and self._position < self._size:
            index = bisect_right(self._starts, self._position) - 1
            part, offset = self._content[index], self._position - self._starts[index]
            if isinstance(part, bytes):
                data = part[offset : offset + len(view) - done]
            else:
                count = min(len(view) - done, part[1] - part[0] - offset)
                self._file.seek(part[0] + offset)
                data = self._file.read(count)
            if not data:
                break
            view[done : done + len(data)] = data
            done += len(data)
            self._position += len(data)
        return done


def tail(content: Content, position: int) -> Content:
    """Return what follows the first `position` bytes of `content`."""
    rest: list[bytes | tuple[int, int]] = []
    for part in content:
        size = len(part) if isinstance(part, bytes) else part[1] - part[0]
        skip, position = min(position, size), max(0, position - size)
        if skip < size:
            rest.append(part[skip:] if isinstance(part, bytes) else (part[0] + skip, part[1]))
    return tuple(rest)


def reader(file: Any) -> Read:
    """Return the function that reads bytes of an open binary file."""

    def read(position: int, count: int) -> bytes:
        if not 0 <= position < 1 << 62:  # From a damaged header.
            return b""
        file.seek(position)
        return file.read(max(0, count))

    return read


def number(form: str, data: bytes) -> int:
    """Return the number of the format `form` (`struct`) at the start of `data`; 0 without one."""
    size = struct.calcsize(form)
    return struct.unpack(form, data[:size].ljust(size, b"\0"))[0]


def find_bytes(read: Read, pattern: re.Pattern[bytes], start: int, size: int) -> int:
    """Return the first position of `pattern` (32 bytes at most) from `start` on, or `size`."""
    while start < size:
        block = read(start, _BLOCK_SIZE)
        match = pattern.search(block)
        if match:
            return start + match.start()
        if len(block) < _BLOCK_SIZE:
            break
        start += len(block) - 32
    return size
