"""Decoding: any file that libsndfile reads -> mono float32 at the rate that is asked for."""

import warnings

import numpy as np
import soundfile
import soxr

_BLOCK_SECONDS = 10.0


class AudioError(Exception):
    """Why a file gives no waveform; the message is for the list of skipped files."""


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
        with soundfile.SoundFile(path) as file:
            waveform, note = _read(file, sample_rate, max_samples)
            source_rate = file.samplerate
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(f"cannot be decoded ({_reason(error)})") from error
    if not waveform.size:
        raise AudioError("has no samples")
    if not np.isfinite(waveform).all():
        raise AudioError("holds NaN or Inf samples")
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


def _read(
    file: soundfile.SoundFile, sample_rate: int, max_samples: int | None
) -> tuple[np.ndarray, str]:
    """Mono samples at the file's own rate, with one second more than asked for to resample."""
    wanted = file.frames
    if max_samples is not None:
        wanted = min(wanted, int((max_samples / sample_rate + 1.0) * file.samplerate))
    blocks, count, broken = [], 0, ""
    while count < wanted:
        size = min(wanted - count, int(_BLOCK_SECONDS * file.samplerate))
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if not blocks:
                raise
            broken = _reason(error)
            break
        if not len(block):
            break
        with warnings.catch_warnings():
            # A sum of Inf and -Inf among the channels: reported as NaN by the caller.
            warnings.simplefilter("ignore", RuntimeWarning)
            blocks.append(block.mean(axis=1))
        count += len(block)
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    seconds = count / file.samplerate
    # libsndfile shortens `frames` of a cut file silently; only its parse log tells.
    if broken or count < wanted or "(should be " in file.extra_info:
        return waveform, f"truncated or damaged: only {seconds:.2f} s could be read"
    return waveform, ""


def _reason(error: Exception) -> str:
    return str(error).split(": ", 1)[-1].strip().rstrip(".") or type(error).__name__
