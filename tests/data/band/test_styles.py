"""The tables of the ten styles obey their own notation."""

import pytest

from mgr_jax.data.band import harmony
from mgr_jax.data.band.styles import STYLES
from mgr_jax.data.band.styles.notation import DRUM_KEYS, FILLS, SCALES, TRIPLET_FILLS

FEELS = [(genre, feel) for genre, feels in STYLES.items() for feel in feels]
IDS = [f"{genre}.{feel.name}" for genre, feel in FEELS]


@pytest.mark.parametrize(("genre", "feel"), FEELS, ids=IDS)
def test_feel_is_playable(genre, feel):
    def check(pattern, marks):
        for bar in pattern.split("|"):
            assert set(bar) <= set(marks), pattern
            assert len(bar) % feel.beats == 0 or feel.beats % len(bar) == 0, pattern

    for drums in feel.drums:
        assert set(drums) <= {*DRUM_KEYS, "timpani"}
        for pattern in drums.values():
            check(pattern, "Xxo.")
    for pattern in feel.bass:
        check(pattern, "R35678wa-.")
    for layer in feel.layers:
        assert layer.voicing in ("close", "triad", "shell", "wide", "power", "boogie")
        for pattern in layer.rhythms:
            check(pattern, "Xxo1234-.")
    for lead in feel.leads:
        assert lead.scale == "chord" or lead.scale in SCALES
        assert lead.high - lead.low >= 12
        for pattern in lead.rhythms:
            assert set(pattern) <= set("x-.|")
    for player in (*feel.layers, *feel.leads):
        assert all(0 <= program <= 127 for program in player.programs)
    for progression in feel.progressions:
        assert harmony.parse_progression(progression, 0)
    assert 40 < feel.tempo[0] < feel.tempo[1] < 240
    assert 0.5 <= feel.swing[0] <= feel.swing[1] < 0.75
    assert len(feel.layers) <= 4
    assert len(feel.leads) <= 2


def test_fills_last_half_a_bar():
    for fills, length in ((FILLS, 8), (TRIPLET_FILLS, 6)):
        for fill in fills:
            assert all(name in DRUM_KEYS and len(p) == length for name, p in fill.items())


def test_styles_share_instruments():
    """No instrument alone identifies a genre: most are played by several."""
    used = {}
    for genre, feel in FEELS:
        for player in (*feel.layers, *feel.leads):
            for program in player.programs:
                used.setdefault(program, set()).add(genre)
    shared = [program for program, genres in used.items() if len(genres) > 1]
    assert len(shared) >= 0.6 * len(used)
    for genre in STYLES:
        assert any(genre in used[program] and len(used[program]) > 3 for program in shared)
