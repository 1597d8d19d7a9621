"""The embedded data set: its tracks, its audio, and the same samples everywhere."""

import collections
import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest

from mgr_jax.data.band import mix, render
from mgr_jax.data.band.styles import STYLES
from mgr_jax.data.gtzan import GENRES
from mgr_jax.errors import UserError

RATE = 22050


def test_styles_are_the_genres_of_gtzan_in_label_order():
    assert tuple(STYLES) == GENRES


@pytest.mark.parametrize(
    ("num_grooves", "clips", "valid", "test"), [(12, 2, 2, 3), (3, 1, 1, 1), (24, 1, 3, 6)]
)
def test_tracks_counts_per_genre_and_part(num_grooves, clips, valid, test):
    tracks = render.tracks(num_grooves=num_grooves, clips_per_groove=clips, seed=0)
    counts = collections.Counter((track.label, track.part) for track in tracks)
    for genre in GENRES:
        assert counts[genre, "valid"] == valid * clips
        assert counts[genre, "test"] == test * clips
        assert counts[genre, "train"] == (num_grooves - valid - test) * clips
    assert len({track.id for track in tracks}) == len({track.path for track in tracks})
    assert len(tracks) == 10 * num_grooves * clips
    assert list(tracks) == sorted(tracks, key=lambda track: track.id)


def test_tracks_share_no_groove_between_parts():
    tracks = render.tracks(num_grooves=9, clips_per_groove=3, seed=1)
    parts = collections.defaultdict(set)
    for track in tracks:
        parts[track.artist].add(track.part)
    assert len(parts) == 90
    assert all(len(names) == 1 for names in parts.values())
    assert len({track.recording for track in tracks}) == len(tracks)


def test_tracks_draw_parts_from_seed():
    def split(seed):
        return [t.part for t in render.tracks(num_grooves=8, clips_per_groove=1, seed=seed)]

    assert split(0) == split(0)
    assert split(0) != split(1)


@pytest.mark.parametrize(("num_grooves", "clips"), [(2, 2), (0, 1), (3, 0)])
def test_tracks_refuse_too_few(num_grooves, clips):
    field = "data.num_grooves" if num_grooves < 3 else "data.clips_per_groove"
    with pytest.raises(UserError, match=field):
        render.tracks(num_grooves=num_grooves, clips_per_groove=clips, seed=0)


@pytest.mark.parametrize(
    "path",
    ["", "band:", "band:v2/0/polka/0/0", "band:v2/0/blues/0", "band:v0/0/blues/0/0", "x.wav"],
)
def test_render_refuses_other_paths(path):
    with pytest.raises(ValueError, match="path"):
        render.render(path, sample_rate=RATE, seconds=1.0)


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1.0), (RATE, 0.0), (RATE, -1.0)])
def test_render_refuses_no_samples(rate, seconds):
    with pytest.raises(ValueError, match="sample_rate"):
        render.render("band:v2/0/blues/0/0", sample_rate=rate, seconds=seconds)


@pytest.mark.parametrize("genre", GENRES)
def test_render_plays_from_the_first_moment(genre):
    audio = render.render(f"band:v2/3/{genre}/1/0", sample_rate=RATE, seconds=3.0)
    assert audio.shape == (3 * RATE,)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() <= 1
    loudness = np.sqrt(np.mean(audio.reshape(6, -1) ** 2, axis=1))
    assert loudness.min() > 0.1 * loudness.max()  # No half second is silent.


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_render_sounds_alike_at_every_rate(rate):
    spectra = []
    for r in (rate, RATE):
        audio = render.render("band:v2/0/rock/0/0", sample_rate=r, seconds=2.3)
        assert audio.shape == (round(2.3 * r),)
        power = np.abs(np.fft.rfft(audio)) ** 2
        edges = np.geomspace(50, 2000, 33) * 2.3
        bands = [power[int(a) : int(b)].mean() for a, b in itertools.pairwise(edges)]
        spectra.append(10 * np.log10(bands))
    difference = spectra[0] - spectra[1]
    assert np.abs(difference - np.median(difference)).mean() < 1.5  # dB; the room differs slightly.


def test_render_is_the_same_in_every_process():
    code = (
        "import hashlib\n"
        "from mgr_jax.data.band import render\n"
        "audio = render.render('band:v2/7/jazz/2/1', sample_rate=22050, seconds=2.0)\n"
        "print(hashlib.sha256(audio.tobytes()).hexdigest())"
    )
    here = render.render("band:v2/7/jazz/2/1", sample_rate=RATE, seconds=2.0)
    expected = hashlib.sha256(here.tobytes()).hexdigest()
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
        )
        for hash_seed in ("1", "2")
    ]
    for process in processes:
        printed, _ = process.communicate(timeout=60)
        assert (process.returncode, printed.strip()) == (0, expected)


def test_render_differs_between_takes_grooves_and_seeds():
    paths = ["band:v2/0/pop/0/0", "band:v2/0/pop/0/1", "band:v2/0/pop/1/0", "band:v2/1/pop/0/0"]
    clips = [render.render(path, sample_rate=8000, seconds=2.0) for path in paths]
    for i, clip in enumerate(clips):
        for other in clips[:i]:
            assert abs(np.corrcoef(clip, other)[0, 1]) < 0.5


def test_render_has_the_loudness_of_its_mix():
    seed, genre, groove, take = 5, "disco", 1, 0
    settings = mix.draw_mix(
        render._rng(seed, "album", genre, groove), render._rng(seed, "clip", genre, groove, take)
    )
    audio = render.render(f"band:v2/{seed}/{genre}/{groove}/{take}", sample_rate=RATE, seconds=3.0)
    rms_db = 20 * np.log10(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))
    assert rms_db == pytest.approx(settings.rms_db, abs=0.01)


def test_perform_starts_at_the_offset_and_ends_with_the_clip():
    score = render.compose("band:v2/0/country/0/0", seconds=4.0)
    balance = dict.fromkeys(mix.PARTS, 0.0)
    midi = render.perform(score, np.random.default_rng(0), seconds=4.0, balance=balance)
    notes = [note for instrument in midi.instruments for note in instrument.notes]
    assert all(0 <= note.start < 4.0 for note in notes)
    assert min(note.start for note in notes) < 0.5
    beats = sorted({note.beat for note in score.notes if note.part == "bass"})
    bass = next(
        i for i, part in zip(midi.instruments, score.programs, strict=True) if part == "bass"
    )
    expected = [(beat - score.offset) * 60 / score.tempo for beat in beats]
    for note in bass.notes[1:]:
        assert min(abs(note.start - time) for time in expected) < 0.06
