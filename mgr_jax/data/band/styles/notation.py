"""The notation of the styles of the embedded band: instruments, rhythms, scales, drums, forms.

A style is a set of feels (ways to play); a feel holds the choices of its players. Every string is
one bar per `|`-separated part, divided into equal steps: 16 characters in a 4/4 bar are
sixteenths, 12 are triplet eighths, 8 are eighths, 4 are beats.

  drums   `X` accent, `x` stroke, `o` ghost stroke, `.` nothing
  layers  `X`/`x`/`o` the chord, a digit its n-th note alone, `-` hold, `.` rest
  bass    `R` root, `3` `5` `6` `7` the chord's third, fifth, sixth, seventh, `8` octave,
          `w` walk along the scale, `a` approach the next root by a semitone or a step, `-`, `.`
  chords  one chord per word, `,` splits the bar: Roman degree of the key and quality (`bVIIm7`)

Instruments are General MIDI programs counted from 0; those in use: 0 piano, 3 honky-tonk,
4 5 electric pianos, 6 harpsichord, 7 clavinet, 11 vibraphone, 16-18 organs, 22 harmonica, 24 nylon
and 25 steel guitar, 26 jazz, 27 clean, 28 muted, 29 overdriven and 30 distorted guitar, 32-39
basses, 40-46 violin, viola, cello, contrabass, tremolo, pizzicato, harp, 48-50 string ensembles,
52-54 voices, 56 trumpet, 57 trombone, 59 muted trumpet, 60 horn, 61 62 brass sections, 64-66 saxes,
68 oboe, 70 bassoon, 71 clarinet, 73 flute, 80 81 85 synthetic leads, 89 warm pad, 105 banjo,
110 fiddle. Kits are programs of the drum channel.
"""

import dataclasses

STRINGS = (48, 49)
BRASS = (56, 57, 61)
SAXES = (64, 65, 66)
UPRIGHT, FINGERED, PICKED, FRETLESS, SLAPPED, SYNTH_BASS = 32, 33, 34, 35, 36, 38
STANDARD, ROOM, POWER, ELECTRONIC = 0, 8, 16, 24
TR_808, JAZZ_KIT, BRUSHES, ORCHESTRA = 25, 32, 40, 48


@dataclasses.dataclass(frozen=True)
class Layer:
    """A player of chords: its instruments, rhythms, voicing and the chance that a groove has it."""

    programs: tuple[int, ...]
    rhythms: tuple[str, ...]
    voicing: str = "close"
    low: int = 53
    velocity: int = 76
    chance: float = 1.0


@dataclasses.dataclass(frozen=True)
class Lead:
    """A player of melodies: instruments, rhythms, scale, range of pitch, share of rests."""

    programs: tuple[int, ...]
    rhythms: tuple[str, ...]
    scale: str
    low: int = 60
    high: int = 81
    rest: float = 0.25
    bend: float = 0.0


@dataclasses.dataclass(frozen=True)
class Feel:
    """A way to play. `swing` is the position of the off-beat in a `swing_unit` (beats)."""

    name: str
    tempo: tuple[float, float]
    drums: tuple[dict[str, str], ...]
    bass: tuple[str, ...]
    layers: tuple[Layer, ...]
    leads: tuple[Lead, ...]
    progressions: tuple[str, ...]
    kits: tuple[int, ...] = (STANDARD, ROOM)
    basses: tuple[int, ...] = (FINGERED, PICKED)
    beats: int = 4
    swing: tuple[float, float] = (0.5, 0.5)
    swing_unit: float = 1.0
    rubato: float = 0.0
    weight: float = 1.0


# Scales as semitones above the tonic: (in a major key, in a minor key); `chord` follows the chords.
SCALES = {
    "blues": ((0, 3, 5, 6, 7, 10), (0, 3, 5, 6, 7, 10)),
    "pentatonic": ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10)),
    "diatonic": ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)),
    "harmonic": ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)),
    "modal": ((0, 2, 4, 5, 7, 9, 10), (0, 2, 3, 5, 7, 9, 10)),
    "phrygian": ((0, 1, 4, 5, 7, 8, 10), (0, 1, 3, 5, 7, 8, 10)),
    "spoken": ((0, 2, 4), (0, 3, 5)),
}

# Rhythms of melodies.
SUNG = (
    "..x-x-x-x---....|x-x-x---........",
    "x--x--x-x---..x-|x-x-x-----......",
    "....x-x-x-x-x---|..x-x---x-------",
    "x---x-x-..x-x---|x-x-x-x-x---....",
    "x-----x-x---x-x-|x-------........",
)
BLUESY = ("..xxx---", "xxx-x---", ".xxxx-x-", "x---..xx", "xxxxxxxx", "....xxx-")
TRIPLET = ("xx-xx-x-----", "..xxxxx-----", "xxxxxxxxxxxx", "x-----...xxx")
BEBOP = ("xxxxxxxx", ".xxxxxx-", "x-.xxxxx", "xxx-.xxx", "....xxxx", "x-x-.x--", ".x.x.x.x")
CANTABILE = ("x---x-x-", "x-x-x---", "x-----x-", "xxxxx-x-", "x-------", "x-xxxxxx", "x---xxxx")
FAST_LINES = ("xxxxxxxxxxxxxxxx", "x-xxx-xxx-xxx-xx", "x---x---x-x-x-x-", "xxxxxxxxx-------")
RAPPED = (
    "x.xxx.xxx.xxx.x.|x.xxx.xxx.x.x...",
    "..xxxxx.xxxxx.x.|xxx.xxx.xxx.x...",
    "x.x.xxx.x.xxxxx.|..x.xxx.xxxxx.x.",
)
RIFFS = ("x--x--x-", "x-xx-xx-", "xx.xx.x-", "x-----xx", "x-x-xxx-")

# General MIDI keys of the drum kit.
DRUM_KEYS = {
    "kick": 36, "stick": 37, "snare": 38, "clap": 39, "hat": 42, "pedal": 44, "open": 46,
    "crash": 49, "ride": 51, "bell": 53, "tamb": 54, "cow": 56, "shaker": 70,
    "conga_hi": 63, "conga_lo": 64, "tom_lo": 43, "tom_mid": 47, "tom_hi": 50, "timpani": 47,
}  # fmt: skip

# Fills take the second half of a 4/4 bar: in sixteenths, or in triplets where the feel has them.
FILLS = (
    {"snare": "....oxxX"},
    {"snare": "xxXX....", "tom_mid": "....xx..", "tom_lo": "......xX"},
    {"tom_hi": "x.x.....", "tom_mid": "...x.x..", "tom_lo": "......xX"},
    {"snare": "x.xx.xX.", "kick": ".x..x..x"},
    {"snare": "oxoxxXXX"},
)
TRIPLET_FILLS = (
    {"snare": "...xxX"},
    {"tom_hi": "xx....", "tom_mid": "..xx..", "tom_lo": "....xX"},
    {"snare": "x.xx.X", "kick": ".x..x."},
)

# Order of sections: Verse, Chorus (everyone plays), Solo (the second melody), Break (no melody).
FORMS = ("VVCVC", "VCVCB", "VVSC", "VCBVC", "VSVC", "CVSVB", "VVCSB")
