"""Lossy codecs: a waveform as it sounds after them."""

import io

import numpy as np
import soundfile

# Samples by which LAME and its decoder shift music, where the file is too small to say so.
_DELAY = 1105
# Sample rates of MP3, and the lowest and highest kbit/s that libsndfile gives them.
RATES = {
    **dict.fromkeys((32000, 44100, 48000), (32, 320)),
    **dict.fromkeys((16000, 22050, 24000), (8, 160)),
    **dict.fromkeys((8000, 11025, 12000), (8, 64)),
}


def mp3(waveform: np.ndarray, kbits: float, *, sample_rate: int) -> np.ndarray:
    """Return a waveform float32 `[T]` after MP3 of one channel at a constant rate, `[T]`.

    Peaks above +-1 are kept, since the encoder gets the waveform below full scale. The same
    version of libsndfile gives the same samples.

    Args:
      waveform: `[T]`. kbits: kbit/s; 0 returns the waveform. sample_rate: in Hz.

    Raises:
      ValueError: if MP3 does not have the sample rate, or not at this rate of bits.
    """
    if not kbits:
        return waveform
    low, high = _range(kbits, sample_rate)
    peak = max(1.0, float(np.abs(waveform).max()))
    file = io.BytesIO()
    soundfile.write(
        file,
        waveform / peak,
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=(high - kbits) / (high - low),
    )
    file.seek(0)
    decoded = soundfile.read(file, dtype="float32")[0]
    start = _DELAY if len(decoded) > len(waveform) else 0
    decoded = decoded[start : start + len(waveform)]
    return np.pad(decoded, (0, len(waveform) - len(decoded))) * np.float32(peak)


def check(kbits: float, *, sample_rate: int) -> None:
    """Raise ValueError unless `mp3` takes these arguments."""
    _range(kbits, sample_rate)


def _range(kbits: float, sample_rate: int) -> tuple[int, int]:
    """Return the lowest and highest kbit/s of a sample rate; raise ValueError if out of it."""
    if sample_rate not in RATES:
        rates = ", ".join(map(str, sorted(RATES)))
        raise ValueError(f"mp3 has no sample rate of {sample_rate} Hz; it has {rates}")
    low, high = RATES[sample_rate]
    if not low <= kbits <= high:
        raise ValueError(f"mp3 is {kbits:g} kbit/s; at {sample_rate} Hz it must be {low} to {high}")
    return low, high
