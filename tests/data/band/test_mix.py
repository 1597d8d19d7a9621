"""The recording of the band: one distribution for all genres, and the effects of a mix."""

import dataclasses
import inspect
import io

import numpy as np
import pytest
import scipy.stats

from mgr_jax.data.band import mix, render
from mgr_jax.data.gtzan import GENRES

RATE = 22050
FLAT = mix.Mix(
    balance=dict.fromkeys(mix.PARTS, 0.0),
    rms_db=-20.0,
    tilt_db=0.0,
    bass_db=0.0,
    treble_db=0.0,
    highpass_hz=1e-3,
    lowpass_hz=1e9,
    reverb_seconds=0.5,
    reverb_db=-200.0,
    drive_db=-60.0,
    noise_db=-200.0,
    noise_seed=0,
)


def music(seconds: float = 1.0) -> np.ndarray:
    """Return white noise, float32 [T], so that every frequency can be measured."""
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def play(settings: mix.Mix, audio: np.ndarray) -> np.ndarray:
    return mix.mix_down(audio, settings, num_samples=len(audio), sample_rate=RATE)


def gain_db(settings: mix.Mix, low: float, high: float) -> float:
    """Return the power from `low` to `high` Hz relative to 700-900 Hz, output over input, in dB."""
    audio = music(2.0)
    shares = []
    for signal in (play(settings, audio), audio):
        power = np.abs(np.fft.rfft(signal)) ** 2
        frequency = np.fft.rfftfreq(len(signal), 1 / RATE)
        band_power = power[(frequency >= low) & (frequency < high)].mean()
        shares.append(band_power / power[(frequency >= 700) & (frequency < 900)].mean())
    return 10 * np.log10(shares[0] / shares[1])


def test_draw_mix_sees_no_genre():
    assert list(inspect.signature(mix.draw_mix).parameters) == ["album", "clip"]


def test_draw_mix_has_one_distribution_for_all_genres():
    names = [f.name for f in dataclasses.fields(mix.Mix) if f.name != "balance"]
    drawn = {name: [] for name in [*names, *mix.PARTS]}
    for genre in GENRES:
        mixes = [
            mix.draw_mix(render._rng(0, "album", genre, g), render._rng(0, "clip", genre, g, 0))
            for g in range(150)
        ]
        for name in names:
            drawn[name].append([getattr(settings, name) for settings in mixes])
        for part in mix.PARTS:
            drawn[part].append([settings.balance[part] for settings in mixes])
    for name, groups in drawn.items():
        # 20 tests: by chance one of a thousand such runs would fall below this.
        assert scipy.stats.kruskal(*groups).pvalue > 5e-5, name
        assert scipy.stats.levene(*groups).pvalue > 5e-5, name


def test_draw_mix_album_is_shared_by_its_takes():
    first, second = (
        mix.draw_mix(np.random.default_rng(1), np.random.default_rng(take)) for take in (2, 3)
    )
    assert first.lowpass_hz == second.lowpass_hz
    assert first.balance == second.balance
    assert first.rms_db != second.rms_db


def test_mix_down_flat_changes_only_the_level():
    audio = music()
    mixed = play(FLAT, audio)
    expected = audio / np.sqrt(np.mean(audio.astype(np.float64) ** 2)) * 0.1
    np.testing.assert_allclose(mixed, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("field", "value", "low", "high", "expected"),
    [
        ("bass_db", 6.0, 20, 40, 5.8),
        ("treble_db", -6.0, 9000, 11000, -5.0),
        ("tilt_db", 1.0, 3150, 3250, 2.0),
        ("lowpass_hz", 5000.0, 9900, 10100, -36.0),
        ("highpass_hz", 200.0, 98, 102, -12.3),
    ],
)
def test_mix_down_equalises(field, value, low, high, expected):
    settings = dataclasses.replace(FLAT, **{field: value})
    assert gain_db(settings, low, high) == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize("rms_db", [-28.0, -18.0])
def test_mix_down_sets_the_loudness(rms_db):
    mixed = play(dataclasses.replace(FLAT, rms_db=rms_db), music())
    assert 20 * np.log10(np.sqrt(np.mean(mixed**2))) == pytest.approx(rms_db, abs=0.01)


def test_mix_down_never_leaves_the_range():
    mixed = play(dataclasses.replace(FLAT, rms_db=0.0), music())
    assert np.abs(mixed).max() == pytest.approx(1.0, abs=1e-6)


def test_mix_down_reverberates_for_its_time():
    audio = np.zeros(RATE, np.float32)
    audio[0] = 1.0
    settings = dataclasses.replace(FLAT, reverb_seconds=0.6, reverb_db=-6.0)
    tail = np.square(play(settings, audio)[RATE // 100 :])
    # Energy decay curve (Schroeder 1965): 60 dB per `reverb_seconds`.
    decay = 10 * np.log10(np.cumsum(tail[::-1])[::-1])
    slope = (decay[round(0.35 * RATE)] - decay[round(0.05 * RATE)]) / 0.3
    assert slope == pytest.approx(-60 / 0.6, rel=0.1)


def test_mix_down_adds_hiss_at_its_level():
    audio = music()
    clean = play(FLAT, audio)
    hiss = play(dataclasses.replace(FLAT, noise_db=-30.0), audio) - clean
    ratio = 10 * np.log10(np.mean(hiss**2) / np.mean(clean**2))
    assert ratio == pytest.approx(-30, abs=0.3)


def test_mix_down_saturation_lowers_the_crest():
    crest = [
        np.abs(mixed).max() / np.sqrt(np.mean(mixed**2))
        for mixed in (play(dataclasses.replace(FLAT, drive_db=d), music()) for d in (-40, 0, 12))
    ]
    assert crest[0] > crest[1] > crest[2]


def test_mix_down_refuses_silence():
    with pytest.raises(ValueError, match="silent"):
        play(FLAT, np.zeros(100, np.float32))


def test_synthesize_plays_the_written_pitch():
    import pretty_midi

    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(0)
    piano.notes.append(pretty_midi.Note(100, 69, 0.0, 1.0))
    midi.instruments.append(piano)
    file = io.BytesIO()
    midi.write(file)
    audio = mix.synthesize(file.getvalue(), sample_rate=RATE)
    assert audio.dtype == np.float32
    power = np.abs(np.fft.rfft(audio, 4 * RATE)) ** 2
    assert power.argmax() / 4 == pytest.approx(440, abs=3)


def test_soundfont_is_the_one_of_the_readme():
    assert mix.soundfont()[:4] == b"RIFF"
    assert b"TimGM6mb" in mix.soundfont()[:200]
