"""Channels and levels: the mean of channels, and samples that are not at their type's scale."""

import numpy as np

# Above this, floats are no recording at full scale +-1 but integers.
_MAX_PEAK = 16.0
# Share of the power of the channels that is left in their mean where they cancel each other: 13 dB,
# since codecs do not keep the channels equal.
_CANCELLED = 0.05
CANCEL_NOTE = "its channels cancel each other: one of them is heard"


def mix(block: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the mean `[T]` of the channels of `[T, channels]`, and whether they cancel.

    Where they do, as in a file with one channel inverted, the first that sounds stands for them.
    """
    if block.shape[1] == 1:
        return block[:, 0], False
    # Inf and -Inf in two channels sum to NaN, which the caller reports.
    with np.errstate(invalid="ignore", over="ignore"):
        mono = block.mean(axis=1)
        power = np.einsum("tc,tc->c", block, block)
        if not np.vdot(mono, mono) < _CANCELLED * power.mean():
            return mono, False
    return np.ascontiguousarray(block[:, np.argmax(power >= power.max() / 2)]), True


def used_bits(peak: int, bits: int) -> int:
    """Return the bits (16, 24 or 32) of samples up to `peak` that are stored in wider integers.

    It is `bits`, those of the integers, if the samples are loud enough to fill them, or so quiet
    that they are noise.
    """
    for used, least in ((16, 1 << 9), (24, 1 << 15), (32, 1 << 23)):
        if used < bits and least < peak <= 1 << (used - 1):
            return used
    return bits


def narrow_note(used: int, bits: int) -> str:
    """Return the note of samples of `used` bits in integers of `bits`."""
    return f"its integers of {bits} bits hold {used}: taken for samples of {used} bits"


def peak_notes(peak: float) -> list[str]:
    """Return the note of a waveform that reaches `peak`, if there is one."""
    if peak <= _MAX_PEAK:
        return []
    return [f"its samples reach {peak:.6g}, not 1: floats of another scale, divide them"]
