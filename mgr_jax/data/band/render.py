"""The embedded data set: a procedural band that plays the ten genres of GTZAN.

Every clip is composed, played and mixed from its path alone, `band:v2/<seed>/<genre>/<groove>/
<take>`. A groove is what an artist is in a real collection: it has a tempo, a drum pattern, a chord
progression and instruments of its own, and no two parts share one. A take of a groove has another
key, melody, place in the form, fills and timing. The mix comes from one distribution for all
genres, so that no genre can be told by a trait of its recordings.

Sound: `midirenderer` plays the soundfont TimGM6mb that `pretty_midi` brings along.
"""

import hashlib
import io
import re
from typing import TYPE_CHECKING

import numpy as np

from mgr_jax.data.band import mix as band_mix
from mgr_jax.data.band import score as band_score
from mgr_jax.data.band.styles import STYLES
from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError

if TYPE_CHECKING:
    import pretty_midi

VERSION = "v2"  # part of every path: a change of the music must change the paths
PATH = re.compile(r"band:(\w+)/(\d+)/([a-z]+)/(\d+)/(\d+)")
GUITARS = range(24, 32)
GOLDEN = (5**0.5 - 1) / 2


def tracks(*, num_grooves: int, clips_per_groove: int, seed: int) -> tuple[Track, ...]:
    """The tracks of the data set, sorted by genre, groove and take.

    About a quarter of the grooves of each genre are its test part and an eighth its valid part, at
    least one each; which ones is drawn from `seed`. Raises `UserError` for fewer than 3 grooves.
    """
    if num_grooves < 3:
        raise UserError(
            f"data.num_grooves is {num_grooves}; give 3 or more, one for each of train, valid, test"
        )
    if clips_per_groove < 1:
        raise UserError(f"data.clips_per_groove is {clips_per_groove}; give 1 or more")
    num_test = max(1, round(num_grooves / 4))
    num_valid = max(1, round(num_grooves / 8))
    found = []
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
                found.append(Track(name, path, genre, artist, name, parts[groove]))
    return tuple(found)


def render(path: str, *, sample_rate: int, seconds: float) -> np.ndarray:
    """Plays a track: float32 [round(seconds * sample_rate)] in [-1, 1], mono.

    Raises `ValueError` for a path that is not one of `tracks`, a rate or a length not above 0.
    """
    num_samples = round(seconds * sample_rate)
    if num_samples < 1:
        raise ValueError(f"seconds * sample_rate must be positive, got {seconds} * {sample_rate}")
    seed, genre, groove, take = parse(path)
    mix = band_mix.draw_mix(
        _rng(seed, "album", genre, groove), _rng(seed, "clip", genre, groove, take)
    )
    score = compose(path, seconds=seconds)
    midi = io.BytesIO()
    human = _rng(seed, "human", genre, groove, take)
    perform(score, human, seconds=seconds, balance=mix.balance).write(midi)
    audio = band_mix.synthesize(midi.getvalue(), sample_rate=sample_rate)
    return band_mix.mix_down(audio, mix, num_samples=num_samples, sample_rate=sample_rate)


def parse(path: str) -> tuple[int, str, int, int]:
    """(seed, genre, groove, take) of a path; raises `ValueError` if it is not one of `tracks`."""
    match = PATH.fullmatch(path)
    if match is None or match[3] not in STYLES:
        raise ValueError(f"path must be band:{VERSION}/<seed>/<genre>/<groove>/<take>, got {path}")
    if match[1] != VERSION:
        raise ValueError(f"path {path} is of version {match[1]} of the band; this is {VERSION}")
    return int(match[2]), match[3], int(match[4]), int(match[5])


def compose(path: str, *, seconds: float) -> band_score.Score:
    """Writes the score of a track."""
    seed, genre, groove, take = parse(path)
    # Multiples of the golden ratio spread the grooves of a genre evenly over its feels.
    where = float((_rng(seed, "feels", genre).random() + groove * GOLDEN) % 1)
    drawn = band_score.draw_groove(STYLES[genre], where, _rng(seed, "groove", genre, groove))
    return band_score.write(drawn, _rng(seed, "take", genre, groove, take), seconds=seconds)


def perform(
    score: band_score.Score,
    rng: np.random.Generator,
    *,
    seconds: float,
    balance: dict[str, float],
) -> "pretty_midi.PrettyMIDI":
    """Plays a score as people do, with small errors of timing and force, from its offset on."""
    import pretty_midi

    feel = score.groove.feel
    midi = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120)
    beat_seconds = 60 / score.tempo
    # Rubato: the tempo breathes by +-`rubato` over two bars of four.
    period, phase = 8.0, rng.uniform(0, 2 * np.pi)
    sway = feel.rubato * period / (2 * np.pi)

    def clock(beat: float) -> float:
        swayed = beat - score.offset + sway * np.sin(2 * np.pi * beat / period + phase)
        return float(swayed * beat_seconds)

    for part, program in score.programs.items():
        notes = sorted(note for note in score.notes if note.part == part)
        notes.sort(key=lambda note: (note.beat, note.pitch))
        instrument = pretty_midi.Instrument(program, is_drum=part == "drums")
        volume = round(90 * 10 ** (balance[part] / 40))  # MIDI volume is 40 log10
        controls = {7: int(np.clip(volume, 1, 127)), 91: 0, 93: 0}  # no reverb and chorus here
        if part.startswith("lead"):
            controls[1] = 25  # a little vibrato
        instrument.control_changes = [
            pretty_midi.ControlChange(number, value, 0.0) for number, value in controls.items()
        ]
        lag = rng.normal(0, 0.004)
        jitter = rng.normal(0, score.groove.tightness, len(notes))
        force = rng.normal(1, 0.07, len(notes))
        strum = rng.uniform(0.004, 0.018) if program in GUITARS and part != "drums" else 0.0
        bend = score.groove.leads[int(part[-1])][0].bend if part.startswith("lead") else 0.0
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
                values = np.linspace(-4096, 0, 7)  # from a semitone below
                instrument.pitch_bends += [
                    pretty_midi.PitchBend(int(value), float(time))
                    for value, time in zip(values, rise, strict=True)
                ]
        midi.instruments.append(instrument)
    return midi


def _rng(*words: object) -> np.random.Generator:
    """A generator seeded by the words, the same in every process."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
