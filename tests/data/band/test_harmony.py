"""Chords and voicings against music theory written out."""

import pytest

from mgr_jax.data.band import harmony


@pytest.mark.parametrize(
    ("symbol", "key", "pitch_classes"),
    [
        ("I", 0, {0, 4, 7}),
        ("V7", 0, {7, 11, 2, 5}),
        ("IIm7", 0, {2, 5, 9, 0}),
        ("bVIImaj7", 2, {0, 4, 7, 11}),
        ("I5", 4, {4, 11}),
        ("VIIm7b5", 0, {11, 2, 5, 9}),
        ("V13", 0, {7, 11, 2, 5, 9, 4}),
        ("IVm", 9, {2, 5, 9}),
    ],
)
def test_parse_chord_spells(symbol, key, pitch_classes):
    assert harmony.parse_chord(symbol, key).pitch_classes == pitch_classes


@pytest.mark.parametrize("symbol", ["", "H", "Isus", "VIIII", "m7"])
def test_parse_chord_refuses(symbol):
    with pytest.raises(ValueError, match="chord symbol"):
        harmony.parse_chord(symbol, 0)


def test_parse_progression_splits_bars():
    bars = harmony.parse_progression("I IV,V7 I", 7)
    assert [[chord.root for chord in bar] for bar in bars] == [[7], [0, 2], [7]]


@pytest.mark.parametrize(
    ("progression", "minor"),
    [
        ("Im bVII", True),
        ("I5 bII5", True),
        ("Imaj7 VIm", False),
        ("I IVm", False),
        ("bIIIm I", False),
    ],
)
def test_is_minor_looks_at_the_tonic(progression, minor):
    assert harmony.is_minor(progression) == minor


@pytest.mark.parametrize("quality", harmony.QUALITIES)
@pytest.mark.parametrize("voicing", ["close", "triad", "shell", "wide", "power", "boogie"])
def test_voice_sounds_only_the_chord(quality, voicing):
    for root in range(12):
        chord = harmony.Chord(root, quality)
        pitches = harmony.voice(chord, voicing, 52)
        assert pitches == sorted(set(pitches))
        assert 52 <= pitches[0] < 64
        assert pitches[-1] < 76
        allowed = chord.pitch_classes | (
            {(root + 7) % 12} if voicing in ("power", "boogie") else set()
        )
        assert {pitch % 12 for pitch in pitches} <= allowed


def test_voice_shell_leaves_out_root_and_fifth():
    assert {p % 12 for p in harmony.voice(harmony.Chord(0, "9"), "shell", 54)} == {4, 10, 2}


@pytest.mark.parametrize("quality", harmony.QUALITIES)
def test_chord_scale_holds_the_chord(quality):
    chord = harmony.Chord(0, quality)
    assert {interval % 12 for interval in chord.intervals} <= set(chord.scale)


def test_ladder_is_the_scale():
    chord = harmony.parse_chord("V7", 0)
    assert list(harmony.ladder("pentatonic", chord, 0, False, 60, 72)) == [60, 62, 64, 67, 69, 72]
    assert list(harmony.ladder("chord", chord, 0, False, 67, 79)) == [
        67,
        69,
        71,
        72,
        74,
        76,
        77,
        79,
    ]
