"""The musical laws of each genre, read from the scores."""

import re

import numpy as np
import pytest

from mgr_jax.data.band import harmony, render, score
from mgr_jax.data.band.styles import STYLES
from mgr_jax.data.band.styles.notation import DRUM_KEYS


def scores(genre: str, feel: str, count: int = 3, seconds: float = 20.0):
    """Yield scores of takes in one feel, each of another groove."""
    chosen = next(f for f in STYLES[genre] if f.name == feel)
    for seed in range(count):
        groove = score.draw_groove((chosen,), 0.0, np.random.default_rng(seed))
        yield score.write(groove, np.random.default_rng(seed + 100), seconds=seconds)


def strokes(take, *names: str) -> list[float]:
    """Return the positions within the bar, in beats, of strokes outside of fills."""
    keys = [DRUM_KEYS[name] for name in names]
    beats = take.groove.feel.beats
    return [note.beat % beats for note in take.notes if note.part == "drums" and note.pitch in keys]


def test_reggae_one_drop_leaves_beat_one_without_kick():
    for take in scores("reggae", "one_drop"):
        kicks = strokes(take, "kick")
        assert kicks
        assert min(kicks) >= 2  # Before beat three there is not even a fill.
        assert np.mean(np.isclose(kicks, 2.0)) > 0.6  # The drop itself.
        skank = [n.beat % 4 for n in take.notes if n.part == "layer0"]
        assert not np.isclose(skank, 0.0).any()


def test_disco_kick_is_on_every_beat():
    for take in scores("disco", "four_on_the_floor"):
        kicks = {n.beat for n in take.notes if n.part == "drums" and n.pitch == DRUM_KEYS["kick"]}
        bars = len(take.sections)
        missing = set(map(float, range(4 * bars))) - kicks
        # Fills may take the second half of a bar.
        assert all(beat % 4 >= 2 for beat in missing)
        assert len(missing) < 0.2 * 4 * bars


def test_disco_bass_leaps_in_octaves():
    leaps = []
    for take in scores("disco", "four_on_the_floor", count=6):
        pitches = [n.pitch for n in take.notes if n.part == "bass"]
        leaps.append(np.mean(np.abs(np.diff(pitches)) == 12))
    assert np.mean(leaps) > 0.4


def test_jazz_rides_with_swing():
    for take in scores("jazz", "swing"):
        groove = take.groove
        off = [beat % 1 for beat in strokes(take, "ride", "hat") if beat % 1 > 0.01]
        assert 0.6 <= groove.swing <= 0.68
        np.testing.assert_allclose(off, groove.swing, atol=1e-9)


def test_jazz_bass_walks_in_quarters_to_the_next_root():
    for take in scores("jazz", "swing"):
        bass = [n for n in take.notes if n.part == "bass"]
        assert [n.beat for n in bass] == [float(i) for i in range(len(bass))]
        for bar in range(len(take.sections)):
            assert bass[4 * bar].pitch % 12 == take.chords[bar][0].root
            following = bass[4 * bar + 4].pitch if 4 * bar + 4 < len(bass) else None
            if following is not None:
                assert 1 <= abs(bass[4 * bar + 3].pitch - following) <= 2


def test_blues_has_twelve_bars_with_the_subdominant_in_the_fifth():
    for feel in STYLES["blues"]:
        for take in scores("blues", feel.name, count=2):
            bars = take.groove.progression.split()
            assert len(bars) == 12
            assert re.match(r"I(?![IV])", bars[0])
            assert bars[4].startswith("IV")
            assert bars[8].startswith(("V", "bVI"))


def test_country_bass_alternates_root_and_fifth():
    for take in scores("country", "boom_chick"):
        for note in take.notes:
            bar = take.chords[int(note.beat // 4)]
            if note.part == "bass" and note.beat % 4 == 0:
                assert note.pitch % 12 == bar[0].root
            if note.part == "bass" and note.beat % 4 == 2:
                assert (note.pitch - bar[-1].root) % 12 == (7 if len(bar) == 1 else 0)
        chick = {n.beat % 4 for n in take.notes if n.part == "layer0"}
        assert chick <= {1.0, 1.5, 3.0, 3.5}


def test_metal_plays_power_chords():
    for take in scores("metal", "thrash"):
        chords: dict[float, set[int]] = {}
        for note in take.notes:
            if note.part == "layer0":
                chords.setdefault(note.beat, set()).add(note.pitch)
        for pitches in chords.values():
            assert {p - min(pitches) for p in pitches} == {0, 7, 12}
        assert take.tempo > 130


def test_hiphop_loops_and_speaks_on_few_pitches():
    for take in scores("hiphop", "boom_bap"):
        lead = [n.pitch for n in take.notes if n.part == "lead0"]
        assert len(set(lead)) <= 5
        snares = [round(b, 3) for b in strokes(take, "snare")]
        assert {1.0, 3.0} <= set(snares)


def test_pop_goes_round_four_chords():
    for take in scores("pop", "dance"):
        roots = [bar[0].root for bar in take.chords]
        assert roots[4:] == roots[:-4]


def test_rock_snare_marks_two_and_four():
    for take in scores("rock", "driving"):
        snares = np.array(strokes(take, "snare"))
        assert np.mean(np.isin(snares, (1.0, 3.0))) > 0.6


def test_classical_has_no_drum_kit():
    for feel in STYLES["classical"]:
        for take in scores("classical", feel.name, count=2):
            assert {n.pitch for n in take.notes if n.part == "drums"} <= {47}  # timpani


def test_write_takes_share_the_groove_and_differ_in_notes():
    one, two = (render.compose(f"band:v2/0/jazz/4/{number}", seconds=8.0) for number in (0, 1))
    assert one.groove == two.groove
    assert one.programs == two.programs
    assert one.tempo == pytest.approx(one.groove.tempo, rel=0.041)
    assert one.notes != two.notes


@pytest.mark.parametrize("genre", STYLES)
def test_write_begins_with_the_whole_band(genre):
    for number in range(4):
        take = render.compose(f"band:v2/0/{genre}/1/{number}", seconds=2.0)
        assert take.sections[0] in "VCS"
        first = {n.part for n in take.notes if n.beat < 2 * take.groove.feel.beats}
        assert {"bass", "layer0"} <= first


def test_write_lasts_at_least_the_given_seconds():
    for seconds in (1.0, 30.0, 75.0):
        take = render.compose("band:v2/0/classical/0/0", seconds=seconds)
        bars = len(take.sections) * take.groove.feel.beats - take.offset
        assert bars * 60 / take.tempo > seconds


def test_draw_groove_follows_the_weights():
    feels = STYLES["metal"]
    total = sum(feel.weight for feel in feels)
    grid = (np.arange(1000) + 0.5) / 1000
    drawn = [
        score.draw_groove(feels, position, np.random.default_rng(0)).feel.name for position in grid
    ]
    for feel in feels:
        assert drawn.count(feel.name) / 1000 == pytest.approx(feel.weight / total, abs=0.002)


@pytest.mark.parametrize("genre", STYLES)
def test_write_keeps_chords_in_key_and_melody_in_range(genre):
    for groove in range(4):
        take = render.compose(f"band:v2/2/{genre}/{groove}/0", seconds=15.0)
        for i, (lead, _, _) in enumerate(take.groove.leads):
            pitches = [n.pitch for n in take.notes if n.part == f"lead{i}"]
            assert all(lead.low <= pitch <= lead.high for pitch in pitches)
        assert all(20 <= n.pitch <= 108 for n in take.notes)
        cycle = harmony.parse_progression(take.groove.progression, take.key)
        assert set(take.chords) <= set(cycle)


def test_swung_stretches_the_beat_about_its_middle():
    groove = score.draw_groove(
        tuple(f for f in STYLES["jazz"] if f.name == "swing"), 0.0, np.random.default_rng(0)
    )
    s = groove.swing
    expected = {0.0: 0.0, 0.25: s / 2, 0.5: s, 0.75: (1 + s) / 2, 1.0: 1.0, 2.5: 2 + s}
    for beat, time in expected.items():
        assert score._swung(beat, groove) == pytest.approx(time)
