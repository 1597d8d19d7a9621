"""Decoding: any file that libsndfile reads -> mono float32 at the rate that is asked for."""

import os
import stat
import warnings

import numpy as np
import soundfile
import soxr

# Values of a block, over all channels: what a header claims must not decide on the memory, and of
# a damaged file no more than a block is lost before the damage.
_BLOCK_SIZE = 1 << 14
# A rate outside of this is a damaged header, and resampling from it would take all memory.
_MIN_RATE, _MAX_RATE = 1000, 1_000_000
# libsndfile shortens `frames` of a damaged file without an error; only its log of the headers
# tells: of WAV, AU and AIFF, and of the Ogg formats.
_SIGNS_OF_DAMAGE = ("(should be ", "lacks an end-of-stream bit", "Corrupted bitstream")
# Float files of integer samples reach 2**31; squares of much more overflow float32.
_LOUDEST = 2.0**31


class AudioError(Exception):
    """Why a file gives no waveform; the message is for the list of skipped files."""


class _Stream(soundfile.SoundFile):
    """Reads on from block to block: soundfile seeks after each, which no MP3 survives unharmed."""

    def seekable(self) -> bool:
        return False


def decode(
    path: str, *, sample_rate: int, max_samples: int | None = None
) -> tuple[np.ndarray, str]:
    """Decodes a file, mixes it down to mono and resamples it (soxr, high quality).

    Args:
      path: any format of libsndfile (WAV, AU, FLAC, OGG, MP3, AIFF, ...), any rate and channels.
      sample_rate: rate in Hz to resample to.
      max_samples: samples at `sample_rate` to stop after; the rest is not even read.

    Returns:
      The waveform, float32 `[T]` with full scale at +-1, and a note: empty, or what is odd about
      the file although it could be read.

    Raises:
      AudioError: if the file cannot be read, is empty or silent, or holds NaN or Inf.
    """
    try:
        # Opening a pipe would wait for a writer for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise AudioError("is not a file")
        # As bytes, since a name may not be valid UTF-8.
        with _Stream(os.fsencode(path)) as file:
            source_rate = file.samplerate
            if not _MIN_RATE <= source_rate <= _MAX_RATE:
                raise AudioError(f"cannot be decoded (sample rate of {source_rate} Hz)")
            waveform, note = _read(file, sample_rate, max_samples)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise AudioError(f"cannot be decoded ({_reason(error)})") from error
    if not waveform.size:
        raise AudioError(note or "has no samples")
    if not np.isfinite(waveform).all():
        raise AudioError("holds NaN or Inf samples")
    if np.abs(waveform).max() > _LOUDEST:
        raise AudioError("holds samples beyond +-2**31, which is no audio")
    if source_rate != sample_rate:
        waveform = soxr.resample(waveform, source_rate, sample_rate, quality="HQ")
    waveform = waveform[:max_samples]
    # Half a step of 16 bits: what is below is silence in the clip store, too.
    if not waveform.size or np.abs(waveform).max() < 0.5 / 32768:
        raise AudioError("is silent")
    return waveform, note


def fit(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cuts `waveform` `[T]` at its end, or pads it there with zeros, to `[length]`."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def _read(file: _Stream, sample_rate: int, max_samples: int | None) -> tuple[np.ndarray, str]:
    """Mono samples at the file's own rate, with one second more than asked for to resample."""
    wanted = file.frames
    if max_samples is not None:
        wanted = min(wanted, int((max_samples / sample_rate + 1.0) * file.samplerate))
    blocks, count, broken = [], 0, False
    while count < wanted:
        size = min(wanted - count, max(1, _BLOCK_SIZE // file.channels))
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            if not blocks:
                raise
            broken = True
            break
        if not len(block):
            break
        with warnings.catch_warnings():
            # A sum of Inf and -Inf among the channels: reported as NaN by the caller.
            warnings.simplefilter("ignore", RuntimeWarning)
            blocks.append(block.mean(axis=1))
        count += len(block)
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not broken and count == wanted:
        if not any(sign in file.extra_info for sign in _SIGNS_OF_DAMAGE):
            return waveform, ""
        count = file.frames
    seconds = count / file.samplerate
    return waveform, f"truncated or damaged: only {seconds:.2f} s of it can be read"


def _reason(error: soundfile.LibsndfileError | OSError | TypeError) -> str:
    """Without the path, which the list of skipped files names anyway."""
    if isinstance(error, soundfile.LibsndfileError):
        return error.error_string.strip().rstrip(".")
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)  # soundfile's, for the suffix of raw samples.
