"""The embedded data set: a procedural band that plays the ten genres of GTZAN.

Every clip is composed, played and mixed from its path alone, `band:v2/<seed>/<genre>/<groove>/
<take>`. A groove corresponds to an artist of a real collection: it has its own tempo, drum pattern,
chord progression and instruments, and is in one part of the split only. Takes of a groove differ in
key, melody, place in the form, fills and timing. The mix comes from one distribution for all
genres, so that no trait of the recordings identifies a genre.

Sound: `midirenderer` plays the soundfont TimGM6mb, which comes with `pretty_midi`.
"""

import hashlib
import io
import re
from typing import TYPE_CHECKING

import numpy as np

from mgr_jax.data.band import mix, score
from mgr_jax.data.band.styles import STYLES
from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError

if TYPE_CHECKING:
    import pretty_midi

VERSION = "v2"  # Part of every path: a change of the music must change the paths.
PATH = re.compile(r"band:(\w+)/(\d+)/([a-z]+)/(\d+)/(\d+)")
GUITARS = range(24, 32)
GOLDEN = (5**0.5 - 1) / 2


def tracks(*, num_grooves: int, clips_per_groove: int, seed: int) -> tuple[Track, ...]:
    """Return the tracks of the data set, sorted by genre, groove and take.

    About a quarter of the grooves of each genre, drawn by `seed`, is the test part and an eighth
    the valid part, at least one each.

    Raises:
      UserError: for fewer than 3 grooves, or no clip per groove.
    """
    if num_grooves < 3:
        raise UserError(
            f"data.num_grooves is {num_grooves}; give 3 or more, one for each of train, valid, test"
        )
    if clips_per_groove < 1:
        raise UserError(f"data.clips_per_groove is {clips_per_groove}; give 1 or more")
    num_test = max(1, round(num_grooves / 4))
    num_valid = max(1, round(num_grooves / 8))
    listed = []
    for genre in STYLES:
        order = _rng(seed, "parts", genre).permutation(num_grooves)
        parts = dict.fromkeys(order, "train")
        parts |= dict.fromkeys(order[:num_test], "test")
        parts |= dict.fromkeys(order[num_test : num_test + num_valid], "valid")
        for groove in range(num_grooves):
            for take in range(clips_per_groove):
                artist = f"{genre}.g{groove:02d}"
                name = f"{artist}.t{take:02d}"
                path = f"band:{VERSION}/{seed}/{genre}/{groove}/{take}"
                listed.append(Track(name, path, genre, artist, name, parts[groove]))
    return tuple(listed)


def render(path: str, *, sample_rate: int, seconds: float) -> np.ndarray:
    """Play a track: float32 [round(seconds * sample_rate)] in [-1, 1], mono.

    Raises:
      ValueError: for a path that is not one of `tracks`, or a rate or a length of 0 or below.
    """
    num_samples = round(seconds * sample_rate)
    if num_samples < 1:
        raise ValueError(f"seconds * sample_rate must be positive, got {seconds} * {sample_rate}")
    seed, genre, groove, take = parse(path)
    settings = mix.draw_mix(
        _rng(seed, "album", genre, groove), _rng(seed, "clip", genre, groove, take)
    )
    midi = io.BytesIO()
    human = _rng(seed, "human", genre, groove, take)
    take_score = compose(path, seconds=seconds)
    perform(take_score, human, seconds=seconds, balance=settings.balance).write(midi)
    audio = mix.synthesize(midi.getvalue(), sample_rate=sample_rate)
    return mix.mix_down(audio, settings, num_samples=num_samples, sample_rate=sample_rate)


def parse(path: str) -> tuple[int, str, int, int]:
    """Return (seed, genre, groove, take) of a path; raise `ValueError` if `tracks` has no such."""
    match = PATH.fullmatch(path)
    if match is None or match[3] not in STYLES:
        raise ValueError(f"path must be band:{VERSION}/<seed>/<genre>/<groove>/<take>, got {path}")
    if match[1] != VERSION:
        raise ValueError(f"path {path} is of version {match[1]} of the band; this is {VERSION}")
    return int(match[2]), match[3], int(match[4]), int(match[5])


def compose(path: str, *, seconds: float) -> score.Score:
    """Write the score of a track."""
    seed, genre, groove, take = parse(path)
    # Multiples of the golden ratio spread the grooves of a genre evenly over its feels.
    position = float((_rng(seed, "feels", genre).random() + groove * GOLDEN) % 1)
    drawn = score.draw_groove(STYLES[genre], position, _rng(seed, "groove", genre, groove))
    return score.write(drawn, _rng(seed, "take", genre, groove, take), seconds=seconds)


def perform(
    take: score.Score,
    rng: np.random.Generator,
    *,
    seconds: float,
    balance: dict[str, float],
) -> "pretty_midi.PrettyMIDI":
    """Play a score from its offset on, with the small errors of human timing and force."""
    import pretty_midi

    feel = take.groove.feel
    midi = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120)
    beat_seconds = 60 / take.tempo
    # Rubato: the tempo breathes by +-`rubato` over two bars of four.
    period, phase = 8.0, rng.uniform(0, 2 * np.pi)
    sway = feel.rubato * period / (2 * np.pi)

    def clock(beat: float) -> float:
        swayed = beat - take.offset + sway * np.sin(2 * np.pi * beat / period + phase)
        return float(swayed * beat_seconds)

    for part, program in take.programs.items():
        notes = [note for note in take.notes if note.part == part]
        notes.sort(key=lambda note: (note.beat, note.pitch, note))
        instrument = pretty_midi.Instrument(program, is_drum=part == "drums")
        volume = round(90 * 10 ** (balance[part] / 40))  # In MIDI, dB are 40 log10 of it.
        controls = {7: int(np.clip(volume, 1, 127)), 91: 0, 93: 0}  # No reverb or chorus.
        if part.startswith("lead"):
            controls[1] = 25  # A little vibrato.
        instrument.control_changes = [
            pretty_midi.ControlChange(number, value, 0.0) for number, value in controls.items()
        ]
        lag = rng.normal(0, 0.004)
        jitter = rng.normal(0, take.groove.tightness, len(notes))
        force = rng.normal(1, 0.07, len(notes))
        strum = rng.uniform(0.004, 0.018) if program in GUITARS and part != "drums" else 0.0
        bend = take.groove.leads[int(part[-1])][0].bend if part.startswith("lead") else 0.0
        string, previous = 0, None
        for note, error, push in zip(notes, jitter, force, strict=True):
            string = string + 1 if note.beat == previous else 0
            previous = note.beat
            start = clock(note.beat) + lag + error + strum * string
            end = max(clock(note.beat + note.beats) + lag, start + 0.05)
            if end < 0.1 or start >= seconds:
                continue
            start = max(start, 0.0)
            velocity = int(np.clip(note.velocity * push, 1, 127))
            instrument.notes.append(pretty_midi.Note(velocity, note.pitch, start, end))
            if bend and end - start > 0.2 and rng.random() < bend:
                rise = start + np.linspace(0, 0.12, 7)
                values = np.linspace(-4096, 0, 7)  # From a semitone below.
                instrument.pitch_bends += [
                    pretty_midi.PitchBend(int(value), float(time))
                    for value, time in zip(values, rise, strict=True)
                ]
        midi.instruments.append(instrument)
    return midi


def _rng(*words: object) -> np.random.Generator:
    """Return a generator seeded by the words, the same in every process."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
