"""Readers of the streams of a file: libsndfile, or ffmpeg where libsndfile does not read them."""

import os
import stat
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile

from mgr_jax.data import byte_ranges, ffmpeg, flac, levels, streams
from mgr_jax.data.byte_ranges import Content, RangesFile, Stream

# Values of a block, over all channels. The size that a header claims must not determine the memory
# used, and a damaged file loses no more than a block before the damage.
_BLOCK_SIZE = 1 << 14
# libsndfile's number of the error for a codec that it does not read.
_UNSUPPORTED = 4
# Frames of MPEG audio that an Info frame may count too many, in samples.
_TOLERANCE = 1152
# Blocks of a file of 24 or 32 bits that are read to know how many of the bits are used.
_MAX_LEVEL_BLOCKS = 1 << 11
# Holes in a file of FLAC behind which reading goes on.
_MAX_HOLES = 256
# Reads that may fail one after the other before the rest is given up.
_MAX_FAILURES = 16
_PLAIN = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


class AudioError(Exception):
    """A file gives no waveform; the message is for the list of skipped files."""


class _Reader:
    """A stream that is decoded.

    Attributes:
      samplerate: Hz.
      channels: their number.
      is_plain: whether its samples are not compressed.
      count: samples a channel that were read.
      seconds: duration of what can be read.
      is_damaged: whether fewer samples than promised could be read.
      notes: what else is odd.
    """

    is_plain = is_damaged = False
    count, seconds = 0, 0.0
    samplerate = channels = 0

    def __init__(self, stream: Stream):
        self.notes: list[str] = []
        self._stream, self.is_damaged = stream, stream.is_damaged

    def _note_unknown(self) -> None:
        if count := self._stream.num_unknown:
            self.notes.append(f"{count} bytes behind its sound are of no known format: not heard")

    def _mix(self, block: np.ndarray) -> np.ndarray:
        self.count += len(block)
        mono, cancels = levels.mix(block)
        if cancels and levels.CANCEL_NOTE not in self.notes:
            self.notes.append(levels.CANCEL_NOTE)
        return mono


class _SndfileReader(_Reader):
    """A stream that libsndfile reads."""

    def __init__(self, source: Any, stream: Stream):  # Any: soundfile declares no bytes as paths.
        super().__init__(stream)
        self._file: Any = soundfile.SoundFile(source)
        # soundfile would seek after each block, which corrupts MP3.
        self._file.seekable = lambda: False
        self.samplerate, self.channels = self._file.samplerate, self._file.channels
        self.is_plain = self._file.subtype in _PLAIN and self._file.format != "FLAC"

    def close(self) -> None:
        self._file.close()

    def blocks(self, seconds: float) -> Iterator[np.ndarray]:
        """Yield mono samples `[T]` at the stream's own rate, the first `seconds`."""
        gain, file = self._gain(), self._file
        wanted = int(min(file.frames, seconds * self.samplerate))
        size, failures = max(1, _BLOCK_SIZE // self.channels), 0
        while self.count < wanted:
            count = min(size, wanted - self.count)
            try:
                block = file.read(count, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                failures += 1
                if failures < _MAX_FAILURES:
                    continue  # Behind a hole there may be more.
                if not self.count and not self.is_damaged:
                    raise
                self.is_damaged = True
                break
            if not len(block):
                break
            self.is_damaged |= bool(failures)
            failures = 0
            yield self._mix(block if gain == 1 else block * np.float32(gain))
        is_whole = self.count < wanted or wanted == file.frames
        tolerance = _TOLERANCE if self._stream.container == "MPEG audio" else 0
        if is_whole and self._stream.is_exact and self.count < file.frames - tolerance:
            self.is_damaged = True
        if is_whole:
            self._note_unknown()
        self.seconds = (self.count if is_whole else file.frames) / self.samplerate

    def _gain(self) -> float:
        """Return the factor to full scale of 16 or 24 bits in the low end of 24 or 32."""
        if self._file.subtype not in ("PCM_24", "PCM_32"):
            return 1.0
        width = int(self._file.subtype[4:])
        size, peak = max(1, _BLOCK_SIZE // self.channels), 0
        # A loud file is known by its first blocks, and of a long quiet one some are read.
        step = size * -(-self._file.frames // (size * _MAX_LEVEL_BLOCKS))
        for position in range(0, self._file.frames, max(1, step)):
            self._file.seek(position)
            block = self._file.read(size, dtype="int32")
            if not len(block) or peak >= 1 << (width - 9):
                break
            peak = max(peak, -int(block.min() >> 32 - width), int(block.max() >> 32 - width))
        self._file.seek(0)
        bits = levels.used_bits(peak, width)
        if bits < width:
            self.notes.append(levels.narrow_note(bits, width))
        return 2.0 ** (width - bits)


class _FfmpegReader(_Reader):
    """A stream that ffmpeg reads."""

    def __init__(self, source: ffmpeg.Source, stream: Stream):
        super().__init__(stream)
        self._source = source
        self.samplerate, self.channels = source.samplerate, source.channels

    def close(self) -> None:
        self._source.close()

    def blocks(self, seconds: float) -> Iterator[np.ndarray]:
        """See `_SndfileReader.blocks`."""
        size = max(1, _BLOCK_SIZE // self.channels)
        while self.count < seconds * self.samplerate:
            block = self._source.read(size)
            if not len(block):
                self.seconds = self.count / self.samplerate
                if self._source.reached_cpu_limit():
                    raise AudioError(ffmpeg.TOO_LONG)
                if not self.count:
                    raise AudioError(self._source.reason())
                self.is_damaged |= self._source.is_damaged(self.seconds)
                self._note_unknown()
                return
            yield self._mix(block)
        # Nothing that was needed is missing.
        self.seconds, self.is_damaged = self.count / self.samplerate, False


def open_streams(path: str, seconds: float) -> Iterator[_SndfileReader | _FfmpegReader]:
    """Yield a reader of each stream of a file, of which `seconds` will be read.

    Raises:
      AudioError, OSError, soundfile.LibsndfileError: if a stream cannot be opened.
    """
    # Opening a pipe would block until a writer comes.
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise AudioError("is not a file")
    # As bytes, since a name may not be valid UTF-8; libsndfile takes those for Latin-1 on Windows.
    name: Any = path if os.name == "nt" else os.fsencode(path)
    with open(name, "rb") as file:
        for stream in streams.find(file, status.st_size, seconds):
            if stream.content == ():
                continue
            try:
                reader = _open(name, file, stream)
            except soundfile.LibsndfileError:
                if stream.container:
                    raise
                hidden = next(streams.find_mpeg(file, status.st_size, seconds), None)
                if hidden is None:
                    raise
                reader = _open(name, file, hidden)
            yield reader
            if stream.container in ("FLAC", "Ogg FLAC"):
                content = stream.content or ((0, status.st_size),)
                yield from _open_rest(file, content, reader.count)


def _open_rest(file: Any, content: Content, count: int) -> Iterator[_SndfileReader]:
    """Yield readers of what follows the first `count` samples of FLAC, where libsndfile ended."""
    read = byte_ranges.reader(RangesFile(file, content))
    size, position = RangesFile(file, content).seek(0, os.SEEK_END), 0
    for _ in range(_MAX_HOLES if flac.has_more(read, 0, size, max(1, count)) else 0):
        position, first = flac.find_frame(read, position, size, count)
        if position >= size:
            return
        rest = (flac.last_header(read), *byte_ranges.tail(content, position))
        position += 1
        try:
            reader = _SndfileReader(RangesFile(file, rest), Stream("FLAC", is_damaged=True))
        except soundfile.LibsndfileError:
            continue
        yield reader
        count = max(count, first + reader.count)


def _open(name: bytes, file: Any, stream: Stream) -> _SndfileReader | _FfmpegReader:
    """Open a stream with libsndfile, or with ffmpeg if libsndfile does not read it."""
    if not stream.has_audio:
        raise AudioError("has no audio in it")
    error = None
    if stream.codec or not stream.demuxer:
        try:
            return _SndfileReader(
                name if stream.content is None else RangesFile(file, stream.content), stream
            )
        except soundfile.LibsndfileError as caught:
            error = caught
    if not ffmpeg.is_installed():
        if stream.demuxer:
            raise AudioError(f"is {stream.name}, which needs ffmpeg to read; install ffmpeg")
        if error and error.code == _UNSUPPORTED and stream.container:
            raise AudioError(
                f"is {stream.container} with a codec that needs ffmpeg to read; install ffmpeg"
            )
        if error:
            raise error
    places = [piece for piece in stream.content or () if not isinstance(piece, bytes)]
    start, stop = (places[0][0], places[-1][1]) if places else (0, 0)
    source = ffmpeg.Source(name, stream.demuxer, start, stop)
    if not source.error:
        return _FfmpegReader(source, stream)
    if error is not None and not stream.demuxer:
        raise error
    raise AudioError(source.error)
