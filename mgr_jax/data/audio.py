"""Decoding: any file that libsndfile or ffmpeg reads -> mono float32 at the requested rate."""

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import soundfile
import soxr

from mgr_jax.data import levels, stream_readers
from mgr_jax.data.stream_readers import AudioError

# The modules that decode; they import each other and nothing else of this package.
SOURCES = (
    "audio.py",
    "byte_ranges.py",
    "chunks.py",
    "ffmpeg.py",
    "flac.py",
    "foreign.py",
    "levels.py",
    "mpeg.py",
    "ogg.py",
    "stream_readers.py",
    "streams.py",
)
# A rate outside of this is a damaged header, and resampling from it would take all memory.
_MIN_RATE, _MAX_RATE = 1000, 1_000_000
# Values a second, over all channels, above which a small file takes long: those of 12 channels at
# 192 kHz. Samples that are not compressed are exempt, since their file is as large as they are.
_MAX_VALUES = 2_400_000
# Values of a whole file, over all channels: 13 hours in stereo at 44.1 kHz.
_MAX_TOTAL = 1 << 32
# Float files of integer samples reach 2**31; squares of much more overflow float32.
_LOUDEST = 2.0**31
# Half a step of 16 bits: anything below is silence in the clip store, too.
_SILENCE = 0.5 / 32768


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
      the file although it could be read. Files that were joined to one are heard one after the
      other.

    Raises:
      AudioError: if the file cannot be read, is empty or silent, or holds NaN or Inf.
    """
    return join(stream(path, sample_rate=sample_rate, max_samples=max_samples))


def join(blocks: Generator[np.ndarray, None, str]) -> tuple[np.ndarray, str]:
    """Return the waveform `[T]` and the note of what `stream` yields."""
    waveform = []
    while True:
        try:
            waveform.append(next(blocks))
        except StopIteration as end:
            return np.concatenate(waveform), end.value


def stream(
    path: str, *, sample_rate: int, max_samples: int | None = None
) -> Generator[np.ndarray, None, str]:
    """Yield the waveform of `decode`, bit for bit the same, in blocks `[T]` of any length.

    However long the file is, only a block of it is in memory. The generator returns the note, and
    raises `AudioError` as `decode` does, but for silence only at the end.
    """
    count, peak, seconds, values = 0, 0.0, 0.0, 0
    is_damaged, notes = False, []
    limit = np.inf if max_samples is None else max_samples
    try:
        # One second more than requested, for the resampler.
        for reader in stream_readers.open_streams(path, limit / sample_rate + 1.0):
            with contextlib.closing(reader):
                rate, channels = reader.samplerate, reader.channels
                if not _MIN_RATE <= rate <= _MAX_RATE:
                    raise AudioError(f"cannot be decoded (sample rate of {rate} Hz)")
                if channels * rate > _MAX_VALUES and not reader.is_plain:
                    raise AudioError(
                        f"has {channels} channels at {rate} Hz, more than any recording"
                    )
                blocks = _checked(reader.blocks((limit - count) / sample_rate + 1.0))
                for block in _resample(blocks, rate, sample_rate):
                    block = block[: None if max_samples is None else max_samples - count]
                    if block.size:
                        count += block.size
                        peak = max(peak, float(np.abs(block).max()))
                        yield block
                    if values + reader.count * channels > _MAX_TOTAL:
                        raise AudioError(f"is longer than {_MAX_TOTAL:g} samples")
                seconds += reader.seconds
                values += reader.count * channels
                is_damaged |= reader.is_damaged
                notes += [note for note in reader.notes if note not in notes]
            if count >= limit:
                break
    except (soundfile.LibsndfileError, OSError, TypeError, AudioError) as error:
        if not count or not isinstance(error, soundfile.LibsndfileError):
            if isinstance(error, AudioError):
                raise
            raise AudioError(f"cannot be decoded ({_reason(error)})") from error
        is_damaged = True  # A later stream that cannot be read.
    if is_damaged:
        notes.insert(0, f"truncated or damaged: only {seconds:.2f} s of it can be read")
    if not count:
        raise AudioError(notes[0] if notes else "has no samples")
    if peak < _SILENCE:
        raise AudioError("is silent")
    return "; ".join([*notes, *levels.peak_notes(peak)])


def convert(waveform: np.ndarray, source_rate: float, *, sample_rate: int) -> np.ndarray:
    """Return a waveform in memory as `decode` would: mono float32 `[T]` at `sample_rate`.

    Args:
      waveform: `[T]` or `[T, channels]`, floats with full scale at +-1 or integers of full range.
        Integers of 32 or 64 bits that use 16 or 24 of them only are taken for samples of so many.
      source_rate: its rate in Hz.

    Raises:
      ValueError: if `waveform` has another shape or type, or `source_rate` is out of range.
      AudioError: if it is empty or silent, or holds NaN or Inf.
    """
    return convert_noted(waveform, source_rate, sample_rate=sample_rate)[0]


def convert_noted(
    waveform: np.ndarray, source_rate: float, *, sample_rate: int
) -> tuple[np.ndarray, str]:
    """Return what `convert` does, and a note as `decode` has."""
    waveform = np.asarray(waveform)
    if waveform.ndim not in (1, 2) or waveform.dtype.kind not in "fiu":
        raise ValueError(
            f"waveform is {waveform.dtype} {list(waveform.shape)}; it must hold numbers,"
            " [T] or [T, channels]"
        )
    if waveform.ndim == 2 and waveform.shape[1] > waveform.shape[0] > 0:
        raise ValueError(
            f"waveform is {list(waveform.shape)}, which is {waveform.shape[1]} channels; it must be"
            " [T, channels]: transpose it"
        )
    if not _MIN_RATE <= source_rate <= _MAX_RATE:
        raise ValueError(f"source_rate is {source_rate}; it must be {_MIN_RATE} to {_MAX_RATE} Hz")
    if not waveform.size:
        raise AudioError("has no samples")
    notes = []
    if waveform.dtype.kind in "iu":
        limits = np.iinfo(waveform.dtype)
        middle = 0 if waveform.dtype.kind == "i" else (limits.max + 1) / 2
        full_scale = limits.max + 1 - middle
        if waveform.dtype.kind == "i" and limits.bits > 16:
            peak = max(abs(int(waveform.min())), abs(int(waveform.max())))
            bits = levels.used_bits(peak, limits.bits)
            if bits < limits.bits:
                full_scale = 2.0 ** (bits - 1)
                notes.append(levels.narrow_note(bits, limits.bits))
        waveform = (waveform - np.float64(middle)) / full_scale
    mono, cancels = levels.mix(np.asarray(waveform, np.float32).reshape(len(waveform), -1))
    notes += [levels.CANCEL_NOTE] * cancels
    (mono,) = _checked(iter([mono]))
    if source_rate != sample_rate:
        mono = soxr.resample(mono, source_rate, sample_rate, quality="HQ")
    peak = float(np.abs(mono).max()) if mono.size else 0.0
    if peak < _SILENCE:
        raise AudioError("is silent")
    return mono, "; ".join([*notes, *levels.peak_notes(peak)])


def fit(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cut `waveform` `[T]` at its end, or pad it there with zeros, to `[length]`."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


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


def _reason(error: Any) -> str:
    """Return the error without the path, which the list of skipped files names anyway."""
    if isinstance(error, soundfile.LibsndfileError):
        reason = error.error_string.strip().rstrip(".")
        # libsndfile's words for MPEG audio without a frame.
        if "possibly a pipe" in reason:
            return "no frame of sound in it"
        if "SF_INFO struct incomplete" in reason:
            return "its header states no sample rate or no channels"
        return reason
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)  # soundfile raises TypeError for the suffix of raw samples.
