"""The reader on real GTZAN excerpts, and on every re-encoding of them that libsndfile can write."""

import os
import pathlib

import numpy as np
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax.data import clips, gtzan, sources, splits

SHARED = os.environ.get("MGR_JAX_SHARED")
pytestmark = pytest.mark.skipif(not SHARED, reason="MGR_JAX_SHARED names no folder with real data")

RATE, SECONDS = 22_050, 3
# RAW has no header. Some of the others round the rate or the length: they are only read.
FORMATS = sorted(set(soundfile.available_formats()) - {"RAW"})
LOSSLESS = ("AIFF", "AU", "CAF", "FLAC", "RF64", "W64", "WAV", "WAVEX")


def excerpts() -> pathlib.Path:
    return pathlib.Path(SHARED) / "data" / "gtzan_mini"


def open_all(root, cache, seconds=SECONDS):
    tracks = sources.make_catalog(config_lib.Data(name="gtzan", root=str(root)))
    store = clips.open_clips(
        tracks, sample_rate=RATE, clip_samples=seconds * RATE, cache=str(cache), num_workers=1
    )
    return tracks, store


def test_gtzan_reads_the_excerpts_sample_by_sample(tmp_path):
    tracks, store = open_all(excerpts(), tmp_path)
    assert len(tracks.tracks) == 30 and tracks.labels == gtzan.GENRES
    assert not store.errors() and not store.notes()
    for track in tracks.tracks:
        expected, rate = soundfile.read(track.path, frames=SECONDS * RATE, dtype="float32")
        assert rate == RATE
        np.testing.assert_array_equal(store.waveform(store.row[track.id]), expected)


def test_holdout_of_the_excerpts_has_every_genre_in_every_part(tmp_path):
    tracks, _ = open_all(excerpts(), tmp_path)
    split = splits.make_split(tracks, protocol="holdout")
    for part in (split.train, split.valid, split.test):
        assert sorted(name.split(".")[0] for name in part) == list(gtzan.GENRES)


@pytest.mark.parametrize("name", FORMATS)
def test_gtzan_reads_every_re_encoding(tmp_path, name):
    originals = sorted(excerpts().glob("*/*.00000.wav"))
    rate = 8000 if name == "WVE" else RATE  # Psion's format has only this one.
    for path in originals:
        waveform, _ = soundfile.read(path, frames=SECONDS * RATE, dtype="float32")
        target = tmp_path / "genres" / path.parent.name / f"{path.stem}.{name.lower()}"
        target.parent.mkdir(parents=True)
        subtypes = soundfile.available_subtypes(name)
        subtype = "PCM_16" if "PCM_16" in subtypes else soundfile.default_subtype(name)
        soundfile.write(target, waveform, rate, format=name, subtype=subtype)
    tracks, store = open_all(tmp_path, tmp_path / "cache")
    assert [track.label for track in tracks.tracks] == list(gtzan.GENRES)
    assert not store.errors()
    for path in originals if name in (*LOSSLESS, "MP3", "OGG") else ():
        expected, _ = soundfile.read(path, frames=SECONDS * RATE, dtype="float32")
        error = store.waveform(store.row[path.stem]) - expected
        if name in LOSSLESS:
            assert np.abs(error).max() <= 2.0**-15
        else:  # In step with the original, which a shift by one sample would not be.
            assert np.square(error).mean() < 0.1 * np.square(expected).mean()
