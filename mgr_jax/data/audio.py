"""Decoding: any file that libsndfile or ffmpeg reads -> mono float32 at the requested rate."""

import contextlib
import os
import shutil
import stat
import struct
import subprocess
import tempfile
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import soundfile
import soxr

# Values of a block, over all channels. The size that a header claims must not determine the memory
# used, and a damaged file loses no more than a block before the damage.
_BLOCK_SIZE = 1 << 14
# A rate outside of this is a damaged header, and resampling from it would take all memory.
_MIN_RATE, _MAX_RATE = 1000, 1_000_000
# libsndfile shortens `frames` of a damaged file without an error; only its log of the headers
# reports it, for WAV, AU and AIFF, and for the Ogg formats.
_SIGNS_OF_DAMAGE = ("(should be ", "lacks an end-of-stream bit", "Corrupted bitstream")
# More columns than rows, and than this, are samples and not channels.
_MAX_CHANNELS = 64
# Float files of integer samples reach 2**31; squares of much more overflow float32.
_LOUDEST = 2.0**31
# Half a step of 16 bits: anything below is silence in the clip store, too.
_SILENCE = 0.5 / 32768
# What ffmpeg reads: first bytes, their position, its demuxer, our name of the format. ffmpeg must
# not guess the demuxer, since it also knows playlists, which open other files.
_FFMPEG_FORMATS = (
    (b"ftyp", 4, "mov", "MPEG-4 (m4a)"),
    (b"\x1aE\xdf\xa3", 0, "matroska", "Matroska or WebM"),
    (b"0&\xb2u\x8ef\xcf\x11", 0, "asf", "Windows Media (wma)"),
    (b"\xff\xf1", 0, "aac", "AAC"),
    (b"\xff\xf9", 0, "aac", "AAC"),
    (b"\x0bw", 0, "ac3", "AC-3"),
    (b"#!AMR", 0, "amr", "AMR"),
    (b"MAC ", 0, "ape", "Monkey's Audio"),
    (b"wvpk", 0, "wv", "WavPack"),
)


class AudioError(Exception):
    """A file gives no waveform; the message is for the list of skipped files."""


def decode(
    path: str, *, sample_rate: int, max_samples: int | None = None
) -> tuple[np.ndarray, str]:
    """Decode a file, mix it down to mono and resample it (soxr, high quality).

    Args:
      path: any format of libsndfile (WAV, AU, FLAC, OGG, MP3, AIFF, ...), any rate and channels;
        with ffmpeg installed also m4a, AAC, WebM, WMA and the like.
      sample_rate: rate in Hz to resample to.
      max_samples: samples at `sample_rate` to stop after; the rest is not read.

    Returns:
      The waveform, float32 `[T]` with full scale at +-1, and a note: empty, or what is odd about
      the file although it could be read.

    Raises:
      AudioError: if the file cannot be read, is empty or silent, or holds NaN or Inf.
    """
    blocks, reader = [], stream(path, sample_rate=sample_rate, max_samples=max_samples)
    while True:
        try:
            blocks.append(next(reader))
        except StopIteration as end:
            return np.concatenate(blocks), end.value


def stream(
    path: str, *, sample_rate: int, max_samples: int | None = None
) -> Generator[np.ndarray, None, str]:
    """Yield the waveform of `decode`, bit for bit the same, in blocks `[T]` of any length.

    However long the file is, only a block of it is in memory. The generator returns the note, and
    raises `AudioError` as `decode` does, but for silence only at the end.
    """
    count, peak = 0, 0.0
    try:
        with _open(path) as file:
            rate = file.samplerate
            if not _MIN_RATE <= rate <= _MAX_RATE:
                raise AudioError(f"cannot be decoded (sample rate of {rate} Hz)")
            # One second more than requested, for the resampler.
            seconds = None if max_samples is None else max_samples / sample_rate + 1.0
            for block in _resample(_checked(file.blocks(seconds)), rate, sample_rate):
                if max_samples is not None:
                    block = block[: max_samples - count]
                if block.size:
                    count += block.size
                    peak = max(peak, float(np.abs(block).max()))
                    yield block
            note = file.note
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise AudioError(f"cannot be decoded ({_reason(error)})") from error
    if not count:
        raise AudioError(note or "has no samples")
    if peak < _SILENCE:
        raise AudioError("is silent")
    return note


def convert(waveform: np.ndarray, source_rate: float, *, sample_rate: int) -> np.ndarray:
    """Return a waveform in memory as `decode` would: mono float32 `[T]` at `sample_rate`.

    Args:
      waveform: `[T]` or `[T, channels]`, floats with full scale at +-1 or integers of full range.
      source_rate: its rate in Hz.

    Raises:
      ValueError: if `waveform` has another shape or type, or `source_rate` is out of range.
      AudioError: if it is empty or silent, or holds NaN or Inf.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim not in (1, 2) or waveform.dtype.kind not in "fiu":
        raise ValueError(
            f"waveform is {waveform.dtype} {list(waveform.shape)}; it must hold numbers,"
            " [T] or [T, channels]"
        )
    if waveform.ndim == 2 and waveform.shape[1] > max(waveform.shape[0], _MAX_CHANNELS):
        raise ValueError(
            f"waveform is {list(waveform.shape)}, which is {waveform.shape[1]} channels; it must be"
            " [T, channels]: transpose it"
        )
    if not _MIN_RATE <= source_rate <= _MAX_RATE:
        raise ValueError(f"source_rate is {source_rate}; it must be {_MIN_RATE} to {_MAX_RATE} Hz")
    if not waveform.size:
        raise AudioError("has no samples")
    if waveform.dtype.kind in "iu":
        limits = np.iinfo(waveform.dtype)
        middle = 0 if waveform.dtype.kind == "i" else (limits.max + 1) / 2
        waveform = (waveform - np.float64(middle)) / (limits.max + 1 - middle)
    mono = _mix(np.asarray(waveform, np.float32).reshape(len(waveform), -1))
    (mono,) = _checked(iter([mono]))
    if source_rate != sample_rate:
        mono = soxr.resample(mono, source_rate, sample_rate, quality="HQ")
    if not mono.size or np.abs(mono).max() < _SILENCE:
        raise AudioError("is silent")
    return mono


def fit(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cut `waveform` `[T]` at its end, or pad it there with zeros, to `[length]`."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


class _Sndfile(soundfile.SoundFile):
    """A file that libsndfile reads. `note` is set once all blocks are read."""

    note = ""

    def seekable(self) -> bool:
        """Return False: soundfile would seek after each block, which corrupts MP3."""
        return False

    def blocks(self, seconds: float | None) -> Iterator[np.ndarray]:
        """Yield mono samples `[T]` at the file's own rate, the first `seconds` or all."""
        num_frames, count, broken = self.frames, 0, False
        if seconds is not None:
            num_frames = min(num_frames, int(seconds * self.samplerate))
        while count < num_frames:
            size = min(num_frames - count, max(1, _BLOCK_SIZE // self.channels))
            try:
                block = self.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                if not count:
                    raise
                broken = True
                break
            if not len(block):
                break
            count += len(block)
            yield _mix(block)
        if broken or count != num_frames:
            self.note = _truncated(count / self.samplerate)
        elif any(sign in self.extra_info for sign in _SIGNS_OF_DAMAGE):
            self.note = _truncated(self.frames / self.samplerate)


class _Ffmpeg:
    """A file that ffmpeg reads, as an AU stream from its standard output."""

    note = ""

    def __init__(self, path: bytes, demuxer: str):
        command = ["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-protocol_whitelist"]
        command += ["file", "-f", demuxer, "-i", b"file:" + os.path.abspath(path)]
        command += ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
        # A file, since a pipe that nobody reads would fill up.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors
        )
        header = self._process.stdout.read(24)
        if len(header) < 24:
            reason = self._error_message()
            self.close()
            raise AudioError(f"cannot be decoded (ffmpeg: {reason})")
        _, offset, _, _, self.samplerate, self._channels = struct.unpack(">4s5I", header)
        self._process.stdout.read(offset - 24)

    def blocks(self, seconds: float | None) -> Iterator[np.ndarray]:
        """See `_Sndfile.blocks`."""
        num_frames = float("inf") if seconds is None else int(seconds * self.samplerate)
        count = 0
        size = max(1, _BLOCK_SIZE // self._channels)
        while count < num_frames:
            values = self._process.stdout.read(4 * self._channels * size)
            frames = len(values) // (4 * self._channels)
            if not frames:
                break
            values = values[: 4 * self._channels * frames]
            count += frames
            yield _mix(np.frombuffer(values, ">f4").reshape(frames, -1).astype(np.float32))
        if count < num_frames and self._process.wait():
            self.note = _truncated(count / self.samplerate)
        elif os.fstat(self._errors.fileno()).st_size:
            self.note = f"damaged (ffmpeg: {self._error_message()})"

    def close(self) -> None:
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _error_message(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read(2000).decode(errors="replace").splitlines()
        return lines[0].rpartition("] ")[2].strip() if lines else "no audio in it"


@contextlib.contextmanager
def _open(path: str) -> Iterator[_Sndfile | _Ffmpeg]:
    # Opening a pipe would block until a writer comes.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise AudioError("is not a file")
    # As bytes, since a name may not be valid UTF-8.
    name: Any = os.fsencode(path)
    with open(name, "rb") as file:
        start = file.read(16)
    for magic, position, demuxer, name_of_format in _FFMPEG_FORMATS:
        if start[position:].startswith(magic):
            if not shutil.which("ffmpeg"):
                raise AudioError(f"is {name_of_format}, which needs ffmpeg to read; install ffmpeg")
            with contextlib.closing(_Ffmpeg(name, demuxer)) as source:
                yield source
            return
    with _Sndfile(name) as source:
        yield source


def _checked(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError("holds NaN or Inf samples")
        if np.abs(block).max() > _LOUDEST:
            raise AudioError("holds samples beyond +-2**31, which is no audio")
        yield block


def _resample(blocks: Iterator[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    if rate == sample_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _mix(block: np.ndarray) -> np.ndarray:
    """`[T, channels]` -> `[T]`."""
    with warnings.catch_warnings():
        # Inf and -Inf in two channels sum to NaN, which the caller reports.
        warnings.simplefilter("ignore", RuntimeWarning)
        return block.mean(axis=1)


def _truncated(seconds: float) -> str:
    return f"truncated or damaged: only {seconds:.2f} s of it can be read"


def _reason(error: soundfile.LibsndfileError | OSError | TypeError) -> str:
    """Return the error without the path, which the list of skipped files names anyway."""
    if isinstance(error, soundfile.LibsndfileError):
        return error.error_string.strip().rstrip(".")
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)  # soundfile raises TypeError for the suffix of raw samples.
