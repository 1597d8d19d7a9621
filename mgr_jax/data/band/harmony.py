"""The harmony of the embedded band: chords, voicings and scales, in semitones."""

import dataclasses
import re

import numpy as np

from mgr_jax.data.band.styles.notation import SCALES

QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "dim": (0, 3, 6),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7b5": (0, 3, 6, 10),
    "7b9": (0, 4, 7, 10, 13),
    "9": (0, 4, 7, 10, 14),
    "m9": (0, 3, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "13": (0, 4, 7, 10, 14, 21),
}
CHORD_SCALES = {
    "5": (0, 3, 5, 7, 10),
    "dim": (0, 2, 3, 5, 6, 8, 11),
    "m7b5": (0, 1, 3, 5, 6, 8, 10),
    "7b9": (0, 1, 4, 5, 7, 8, 10),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 9, 10),
    "dominant": (0, 2, 4, 5, 7, 9, 10),
}
DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
ROMAN = re.compile(r"(b|#)?(VII|VI|IV|V|III|II|I)(.*)")


@dataclasses.dataclass(frozen=True)
class Chord:
    """`root`: pitch class 0..11. `quality`: a key of `QUALITIES`."""

    root: int
    quality: str

    @property
    def intervals(self) -> tuple[int, ...]:
        """Return the semitones of its notes above the root."""
        return QUALITIES[self.quality]

    @property
    def pitch_classes(self) -> frozenset[int]:
        """Return its notes as semitones above C, 0 to 11."""
        return frozenset((self.root + interval) % 12 for interval in self.intervals)

    @property
    def scale(self) -> tuple[int, ...]:
        """Return the semitones above the root that fit the chord."""
        if self.quality in CHORD_SCALES:
            return CHORD_SCALES[self.quality]
        if self.intervals[1] == 3:
            return CHORD_SCALES["minor"]
        return CHORD_SCALES["dominant" if 10 in self.intervals else "major"]


def parse_chord(symbol: str, key: int) -> Chord:
    """Return the chord of a Roman symbol such as `bVIIm7` in `key` (pitch class of the tonic)."""
    match = ROMAN.fullmatch(symbol)
    if match is None or match[3] not in QUALITIES:
        raise ValueError(f"chord symbol {symbol!r} is unknown")
    shift = {"b": -1, "#": 1, None: 0}[match[1]]
    return Chord((key + DEGREES[match[2]] + shift) % 12, match[3])


def parse_progression(text: str, key: int) -> list[tuple[Chord, ...]]:
    """Return one tuple of chords per bar; several chords share their bar equally."""
    return [tuple(parse_chord(symbol, key) for symbol in bar.split(",")) for bar in text.split()]


def is_minor(progression: str) -> bool:
    """Return whether the tonic chord is minor, or a power chord, which is taken for minor."""
    return re.search(r"(?:^|[ ,])I(?:m(?!aj)|5)", progression) is not None


def at_least(pitch_class: int, low: int) -> int:
    """Return the lowest MIDI pitch of a pitch class that is not below `low`."""
    return low + (pitch_class - low) % 12


def ladder(scale: str, chord: Chord, key: int, minor: bool, low: int, high: int) -> np.ndarray:
    """Return all pitches of a scale from `low` to `high`, ascending."""
    if scale == "chord":
        root, steps = chord.root, chord.scale
    else:
        root, steps = key, SCALES[scale][int(minor)]
    return np.array([p for p in range(low, high + 1) if (p - root) % 12 in steps])


def voice(chord: Chord, voicing: str, low: int) -> list[int]:
    """Return the MIDI pitches of a chord, ascending.

    `close` and `triad` fill the octave above `low`, so that common notes keep their pitch;
    `shell` leaves out the root; `wide` puts the root an octave lower; `power` is root, fifth and
    octave; `boogie` is root and fifth.
    """
    root, intervals = at_least(chord.root, low), chord.intervals
    if voicing == "power":
        return [root, root + 7, root + 12]
    if voicing == "boogie":
        return [root, root + 7]
    if voicing == "shell":
        intervals = [i for i in intervals[1:] if i != 7] if len(intervals) > 3 else intervals[1:]
    elif voicing == "triad" or len(intervals) > 4:
        intervals = intervals[:3] if voicing == "triad" else [i for i in intervals if i != 7]
    pitches = {at_least((chord.root + i) % 12, low) for i in intervals}
    if voicing == "wide":
        pitches = {root, *(pitch + 12 for pitch in pitches if pitch != root)}
    return sorted(pitches)
