"""The streams of an audio file, one after the other, and what their headers say about them.

libsndfile decodes the first stream of a file alone, trusts sizes that a recorder never wrote, and
gives up at tags and holes. Here a file is cut into streams, each of which is a file to libsndfile.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from mgr_jax.data import chunks, flac, foreign, mpeg, ogg
from mgr_jax.data.byte_ranges import Read, Stream, find_bytes, reader

# Bytes behind the last stream that are passed over without a note.
_MAX_TAG = 1 << 12


def find(file: Any, size: int, seconds: float = math.inf) -> Iterator[Stream]:
    """Yield the streams of an open binary file of `size` bytes.

    Args:
      seconds: duration after which nothing need be known.
    """
    read = reader(file)
    begin = following = _skip_tags(read, 0, size)
    is_first = True
    while is_first or begin < size:
        for stream, end in _streams(read, begin, size, seconds):
            following = _next_stream(read, end, size)
            num_unknown = _num_unknown(read, end, size) if following == size else 0
            # By its name libsndfile takes MPEG audio for another format where macOS keeps a file
            # `._NAME` beside it.
            is_whole = stream.content == ((0, size),) and stream.container != "MPEG audio"
            content = None if is_whole else stream.content
            yield dataclasses.replace(stream, content=content, num_unknown=num_unknown)
            is_first = False
        if is_first and (begin < size or not size):
            yield Stream()
        if following <= begin:
            return
        begin = following


def _skip_tags(read: Read, start: int, size: int) -> int:
    """Return where the first stream begins behind tags, whose sizes may be wrong."""
    position = start
    while step := mpeg.tag_size(read(position, 24)):
        position += step
    if position == start or (position < size and _is_known(read, position)):
        return position
    # A header of a stream that is too long for chance, or MPEG audio.
    mark = find_bytes(read, chunks.MARK, start, size)
    return mark if mark < size else position if position <= size else start + 10


def _next_stream(read: Read, end: int, size: int) -> int:
    """Return where the next stream begins at `end`, behind tags and a few odd bytes, or `size`."""
    for position in range(end, min(end + 4, size)):
        while step := mpeg.tag_size(read(position, 24)):
            position += step
        if position < size and _is_known(read, position):
            return position
    return size


def _is_known(read: Read, position: int) -> bool:
    return bool(
        chunks.begins(read, position)
        or foreign.names(read, position, least=4)
        or mpeg.begins(read, position)
    )


def _num_unknown(read: Read, end: int, size: int) -> int:
    """Return the bytes from `end` on, or 0 if they are no more than tags and padding have."""
    if size - end > _MAX_TAG and read(end, _MAX_TAG).strip(b"\0"):
        return size - end
    return 0


def find_mpeg(file: Any, size: int, seconds: float = math.inf) -> Iterator[Stream]:
    """Yield the streams of MPEG audio in a file that begins with something else."""
    return mpeg.streams(reader(file), 0, size, seconds, fewest=4)


def _streams(read: Read, start: int, size: int, seconds: float) -> Iterator[tuple[Stream, int]]:
    """Yield the stream, or all streams of MPEG audio, at `start`, with the end."""
    head, is_known = read(start, 16), chunks.begins(read, start)
    if head[:4] == b"fLaC":
        yield flac.streams(read, start, size, seconds)
    elif head[:4] == b"OggS":
        yield ogg.streams(read, start, size, seconds)
    elif is_known:
        yield from chunks.streams(read, start, size, seconds)
    elif names := foreign.names(read, start):
        yield foreign.streams(read, start, size, seconds, *names)
    elif mpeg.parse(head[:4]) or start:
        streams = list(mpeg.streams(read, start, size, seconds))
        for number, stream in enumerate(streams, 1):
            yield stream, (number == len(streams) and stream.end) or size
