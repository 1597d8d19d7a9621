"""Scores of the embedded band: a groove is drawn once, and each take of it has its own score.

Times are in beats from the start of the excerpt. Swing is written out; `render.perform` adds the
small errors of human playing.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from mgr_jax.data.band import harmony
from mgr_jax.data.band.styles import notation

STROKES = {"X": 1.18, "x": 1.0, "o": 0.62}


class Note(NamedTuple):
    """One note of a part: MIDI pitch and velocity, start and length in beats."""

    part: str
    pitch: int
    velocity: float
    beat: float
    beats: float


@dataclasses.dataclass(frozen=True)
class Groove:
    """The choices from a feel that all takes of a groove share."""

    feel: notation.Feel
    tempo: float
    swing: float
    drums: dict[str, str]
    kit: int
    bass: str
    bass_program: int
    bass_low: int
    layers: tuple[tuple[notation.Layer, int, str], ...]
    leads: tuple[tuple[notation.Lead, int, tuple[str, ...]], ...]
    progression: str
    form: str
    tightness: float


@dataclasses.dataclass(frozen=True)
class Score:
    """The score of a take. `programs`: part -> General MIDI program (the kit for `drums`)."""

    groove: Groove
    key: int
    tempo: float
    programs: dict[str, int]
    notes: tuple[Note, ...]
    chords: tuple[tuple[harmony.Chord, ...], ...]
    sections: str
    offset: float


def draw_groove(
    feels: tuple[notation.Feel, ...], position: float, rng: np.random.Generator
) -> Groove:
    """Draw what the takes of a groove share.

    `position` in [0, 1) selects the feel, whose shares are proportional to their weights; `rng`
    draws tempo, patterns, instruments, chords and form from the choices of the feel.
    """
    shares = np.cumsum([feel.weight for feel in feels])
    feel = feels[int(np.searchsorted(shares / shares[-1], position, side="right"))]
    layers = [
        (layer, _pick(layer.programs, rng), _pick(layer.rhythms, rng))
        for layer in feel.layers
        if rng.random() < layer.chance
    ]
    leads = [
        (
            lead,
            _pick(lead.programs, rng),
            tuple(lead.rhythms[i] for i in rng.permutation(len(lead.rhythms))[:3]),
        )
        for lead in feel.leads
    ]
    return Groove(
        feel=feel,
        tempo=float(rng.uniform(*feel.tempo)),
        swing=float(rng.uniform(*feel.swing)),
        drums=_pick(feel.drums, rng),
        kit=_pick(feel.kits, rng),
        bass=_pick(feel.bass, rng),
        bass_program=_pick(feel.basses, rng),
        bass_low=int(rng.integers(28, 34)),
        layers=tuple(layers),
        leads=tuple(leads),
        progression=_pick(feel.progressions, rng),
        form=_pick(notation.FORMS, rng),
        tightness=float(rng.uniform(0.001, 0.009)),
    )


def write(groove: Groove, rng: np.random.Generator, *, seconds: float) -> Score:
    """Write a take that lasts at least `seconds`: key, place in the form, melody, fills."""
    feel = groove.feel
    key = int(rng.integers(12))
    tempo = groove.tempo * float(rng.uniform(0.96, 1.04))
    offset = float(rng.uniform(0, feel.beats))
    bars = int(np.ceil((seconds * tempo / 60 * 1.08 + offset) / feel.beats)) + 1
    cycle = harmony.parse_progression(groove.progression, key)
    length = len(cycle) * max(1, round(4 / len(cycle)))
    form = groove.form
    # No clip begins in a break, since a short one must have the whole band.
    start = int(rng.choice([i for i in range(len(form) * length) if form[i // length] != "B"]))
    places = [(start + i) % (len(form) * length) for i in range(bars + 1)]
    chords = tuple(cycle[place % len(cycle)] for place in places)
    sections = "".join(form[place // length] for place in places[:bars])
    minor = harmony.is_minor(groove.progression)

    notes: list[Note] = []
    for bar in range(bars):
        place = places[bar]
        section, first, last = sections[bar], place % length == 0, (place + 1) % length == 0
        notes += _drum_bar(groove, place, bar * feel.beats, section, first, last, rng)
    notes += _bass_line(groove, chords, places[:bars], rng)
    for i, (layer, _, rhythm) in enumerate(groove.layers):
        plays = [_plays(i, len(groove.layers), section) for section in sections]
        notes += _layer(groove, f"layer{i}", layer, rhythm, chords, places[:bars], plays)
    for i, (lead, _, rhythms) in enumerate(groove.leads):
        plays = [section == "S" if i else section in "VC" for section in sections]
        notes += _melody(groove, f"lead{i}", lead, rhythms, chords, plays, key, minor, rng)
    loudness = {"V": 0.92, "C": 1.06, "S": 1.0, "B": 0.88}
    notes = [
        note._replace(velocity=note.velocity * loudness[sections[int(note.beat // feel.beats)]])
        for note in notes
        if note.beat < bars * feel.beats
    ]
    programs = {"drums": groove.kit, "bass": groove.bass_program}
    programs |= {f"layer{i}": program for i, (_, program, _) in enumerate(groove.layers)}
    programs |= {f"lead{i}": program for i, (_, program, _) in enumerate(groove.leads)}
    return Score(groove, key, tempo, programs, tuple(notes), chords, sections, offset)


def _pick(options, rng: np.random.Generator):
    return options[int(rng.integers(len(options)))]


def _plays(index: int, count: int, section: str) -> bool:
    """Return whether an accompanist plays: the first always, the last in choruses only."""
    if section == "B":
        return index == 0
    return section == "C" or index == 0 or index < count - 1


def _swung(beat: float, groove: Groove) -> float:
    """Move the off-beat of every swing unit from its middle to `groove.swing`."""
    unit = groove.feel.swing_unit
    whole, part = divmod(beat / unit, 1.0)
    if part < 0.5:
        part = 2 * part * groove.swing
    else:
        part = groove.swing + (2 * part - 1) * (1 - groove.swing)
    return (whole + part) * unit


def _strokes(pattern: str, bar: int, groove: Groove):
    """Yield (mark, start, length, share of the bar) for each stroke of a bar, in beats."""
    bars = pattern.split("|")
    marks = bars[bar % len(bars)]
    step = groove.feel.beats / len(marks)
    for i, mark in enumerate(marks):
        if mark in ".-":
            continue
        end = i + 1
        while end < len(marks) and marks[end] == "-":
            end += 1
        start, stop = _swung(i * step, groove), _swung(end * step, groove)
        yield mark, start, stop - start, i / len(marks)


def _drum_bar(groove, place, beat, section, first, last, rng) -> list[Note]:
    drums, beats, notes = groove.drums, groove.feel.beats, []
    backbeat = "snare" in drums or "clap" in drums
    fill = {}
    if last and backbeat and beats == 4 and rng.random() < 0.8:
        triplets = groove.swing > 0.58 or any(len(p.split("|")[0]) == 12 for p in drums.values())
        fill = _pick(notation.TRIPLET_FILLS if triplets else notation.FILLS, rng)
    for name, pattern in drums.items():
        for mark, start, _, share in _strokes(pattern, place, groove):
            if (fill and share >= 0.5) or (mark == "o" and rng.random() < 0.2):
                continue
            opens = name == "hat" and section == "C" and start == 0 and rng.random() < 0.3
            pitch = notation.DRUM_KEYS["open" if opens else name]
            notes.append(Note("drums", pitch, 88 * STROKES[mark], beat + start, 0.2))
    for name, pattern in fill.items():
        step = beats / 2 / len(pattern)
        for i, mark in enumerate(pattern):
            if mark != ".":
                start = beat + beats / 2 + i * step
                notes.append(
                    Note("drums", notation.DRUM_KEYS[name], 88 * STROKES[mark], start, 0.2)
                )
    if first and backbeat and rng.random() < 0.6:
        notes.append(Note("drums", notation.DRUM_KEYS["crash"], 88, beat, 1.0))
    return notes


def _bass_line(groove, chords, places, rng) -> list[Note]:
    notes, low, previous = [], groove.bass_low, None
    for bar, place in enumerate(places):
        before = None
        for mark, start, beats, share in _strokes(groove.bass, place, groove):
            chord = chords[bar][int(share * len(chords[bar]))]
            root = harmony.at_least(chord.root, low)
            if chord != before and before is not None and mark in "w35":
                mark = "R"  # A new chord within the bar starts with its root.
            before = chord
            pitch = _bass_pitch(mark, chord, root, previous, chords[bar + 1][0], low, rng)
            notes.append(Note("bass", pitch, 92, bar * groove.feel.beats + start, beats * 0.92))
            previous = pitch
    return notes


def _bass_pitch(mark, chord, root, previous, upcoming, low, rng) -> int:
    third = next((i for i in chord.intervals if i in (3, 4)), 7)
    fifth = next((i for i in chord.intervals if i in (6, 7)), 7)
    seventh = next((i for i in chord.intervals if i in (10, 11)), 10)
    fixed = {"R": 0, "3": third, "5": fifth, "6": 9, "7": seventh, "8": 12}
    if mark in fixed:
        return root + fixed[mark]
    target = harmony.at_least(upcoming.root, low)
    if mark == "a":
        return target + int(rng.choice([-2, -1, 1, 2]))
    around = root if previous is None else previous
    steps = [p for p in range(low, low + 22) if (p - chord.root) % 12 in chord.scale]
    near = [p for p in steps if 0 < abs(p - around) <= 5]
    # Pitches near the target are more likely.
    weights = np.array([np.exp(-abs(p - target) / 8) for p in near])
    return int(near[rng.choice(len(near), p=weights / weights.sum())])


def _layer(groove, part, layer, rhythm, chords, places, plays) -> list[Note]:
    notes = []
    for bar, place in enumerate(places):
        if not plays[bar]:
            continue
        for count, (mark, start, beats, share) in enumerate(_strokes(rhythm, place, groove)):
            chord = chords[bar][int(share * len(chords[bar]))]
            pitches = harmony.voice(chord, layer.voicing, layer.low)
            if layer.voicing == "boogie" and count % 2:
                pitches[-1] += 2
            if mark.isdigit():
                octave, index = divmod(int(mark) - 1, len(pitches))
                pitches = [pitches[index] + 12 * octave]
            velocity = layer.velocity * STROKES.get(mark, 1.0)
            beat = bar * groove.feel.beats + start
            notes += [Note(part, pitch, velocity, beat, beats * 0.95) for pitch in pitches]
    return notes


def _melody(groove, part, lead, rhythms, chords, plays, key, minor, rng) -> list[Note]:
    """Return phrases of two bars: a motif, its variation, another motif, and rests between them."""
    notes: list[Note] = []
    beats_per_bar = groove.feel.beats
    motifs = [[int(s) for s in rng.choice([-2, -1, -1, 0, 1, 1, 2, 3], 24)] for _ in range(2)]
    middle = (lead.low + lead.high) / 2
    starts = rng.uniform(lead.low + 3, lead.high - 5, 2)
    choice = [_pick(rhythms, rng) for _ in range(2)]
    for phrase in range(0, len(plays), 2):
        which = int(rng.random() < 0.35)
        silent = rng.random() < lead.rest and phrase % 4 == 2
        varied = [s if rng.random() < 0.85 else -s for s in motifs[which]]
        rhythm = choice[which] if rng.random() < 0.8 else _pick(rhythms, rng)
        pitch, count = float(starts[which]), 0
        for bar in range(phrase, min(phrase + 2, len(plays))):
            if not plays[bar] or silent:
                continue
            for _, start, beats, share in _strokes(rhythm, bar, groove):
                chord = chords[bar][int(share * len(chords[bar]))]
                steps = harmony.ladder(lead.scale, chord, key, minor, lead.low, lead.high)
                if start % 2 == 0 and lead.scale != "spoken":
                    tones = [p for p in steps if p % 12 in chord.pitch_classes]
                    steps = np.array(tones) if tones else steps
                here = int(np.abs(steps - pitch).argmin())
                step = varied[count % len(varied)]
                if abs(pitch - middle) > (lead.high - lead.low) / 3:
                    step = -abs(step) if pitch > middle else abs(step)  # Turn back.
                pitch = float(steps[np.clip(here + step, 0, len(steps) - 1)])
                count += 1
                velocity = 96 if start % 1 == 0 else 88
                beat = bar * beats_per_bar + start
                notes.append(Note(part, int(pitch), velocity, beat, beats * 0.95))
    return notes
