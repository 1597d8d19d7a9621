"""Artists and recordings from tags, written by hand in each format; damaged tags tell nothing."""

import os
import struct

import numpy as np
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax.data import audio_tags, sources

SUFFIXES = ("wav", "flac", "ogg", "mp3", "aiff")


def _write(path, artist="", title=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", 22_050, 1) as file:
        if artist:
            file.artist, file.title = artist, title
        file.write(np.zeros(2000))
    return path


def _id3(path, **frames):
    """An ID3v2.4 tag of UTF-8 text frames before nothing but noise."""
    body = b""
    for name, text in frames.items():
        data = b"\x03" + text.encode()
        body += name.encode() + struct.pack(">I", len(data)) + b"\0\0" + data
    path.write_bytes(b"ID3\x04\0\0" + bytes([0, 0, len(body) >> 7, len(body) & 127]) + body)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_read_knows_artist_and_title_of_every_format(tmp_path, suffix):
    path = _write(tmp_path / f"x.{suffix}", "Nina Simone", "Sinnerman")
    assert audio_tags.read(path) == ("nina simone", "nina simone: sinnerman")
    assert audio_tags.read(_write(tmp_path / f"y.{suffix}")) == ("", "")


@pytest.mark.parametrize(
    ("artist", "expected"),
    [
        ("  The  BEATLES ", "the beatles"),
        ("Beyonce\u0301", "beyoncé"),
        ("Dr. Dre feat. Snoop Dogg", "dr. dre"),
        ("Dr. Dre (ft. Snoop Dogg)", "dr. dre"),
        ("Queen; David Bowie", "queen"),
        ("AC/DC", "ac/dc"),
        ("Daft Punk", "daft punk"),
        ("Simon & Garfunkel", "simon & garfunkel"),
        ("Ftampa", "ftampa"),
        ("Little Feat", "little feat"),
        ("Dr. Dre feat. $hort", "dr. dre"),
        ("Nova", "nova"),
        ("Nono", "nono"),
        ("Unknown_Artist", ""),
        ("[V.A.]", ""),
        ("V/A", ""),
        ("Beatles, The", "the beatles"),
        ("Toten Hosen, Die feat. X", "die toten hosen"),
        ("Tyler, The Creator", "tyler, the creator"),
        ("Unbekannter Interpret", ""),
        ("Artiste inconnu", ""),
        ("Artista desconocido", ""),
        ("Unknown Artist", ""),
        ("<unknown>", ""),
        ("Various Artists", ""),
        ("VA", ""),
        ("Vampire Weekend", "vampire weekend"),
        ("No Doubt", "no doubt"),
        ("-", ""),
    ],
)
def test_read_takes_the_main_artist(tmp_path, artist, expected):
    path = _id3(tmp_path / "x.mp3", TPE1=artist, TIT2="Song")
    assert audio_tags.read(path) == (expected, f"{expected}: song" if expected else "")


def test_read_falls_back_to_the_artist_of_the_album(tmp_path):
    path = _id3(tmp_path / "x.mp3", TPE2="Miles Davis", TIT2="So What")
    assert audio_tags.read(path) == ("miles davis", "miles davis: so what")
    path = _id3(tmp_path / "y.mp3", TPE2="Various Artists", TIT2="So What")
    assert audio_tags.read(path) == ("", "")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Heroes - 2017 Remaster", "heroes"),
        ("Heroes (Remastered 2009)", "heroes"),
        ("Heroes (Live)", "heroes (live)"),
        ("Track 01", ""),
        ("Untitled", ""),
        ("", ""),
        ("Track of My Tears", "track of my tears"),
        ("1999", ""),
    ],
)
def test_read_names_a_recording_by_its_title(tmp_path, title, expected):
    path = _id3(tmp_path / "x.mp3", TPE1="A", TIT2=title)
    assert audio_tags.read(path) == ("a", f"a: {expected}" if expected else "")


def test_read_of_damaged_files_pipes_and_folders_tells_nothing(tmp_path):
    random = np.random.default_rng(0)
    whole = _id3(tmp_path / "x.mp3", TPE1="Artist", TIT2="Title").read_bytes()
    for i in range(100):
        data = bytearray(whole)
        for _ in range(4):
            data[random.integers(len(data))] = random.integers(256)
        path = tmp_path / f"damaged.{('mp3', 'm4a', 'wma', 'ogg', 'flac')[i % 5]}"
        path.write_bytes(bytes(data[: random.integers(1, len(data))]))
        audio_tags.read(path)
    os.mkfifo(tmp_path / "pipe.mp3")
    for name in ("pipe.mp3", "missing.mp3", "."):
        assert audio_tags.read(tmp_path / name) == ("", "")


def test_a_folder_has_the_artists_and_recordings_of_its_tags(tmp_path):
    _write(tmp_path / "pop/1.flac", "ABBA", "Waterloo")
    _write(tmp_path / "pop/2.ogg", "Abba", "Waterloo")
    _write(tmp_path / "rock/3.wav")
    _write(tmp_path / "rock/4.flac", "Muse", "Uprising")
    _write(tmp_path / "rock/4.mp3", "", "")
    catalog = sources.make_catalog(config_lib.Data(name="folder", root=str(tmp_path)))
    assert [(track.artist, track.recording) for track in catalog.tracks] == [
        ("abba", "abba: waterloo"),
        ("abba", "abba: waterloo"),
        ("", ""),
        ("muse", "rock/4"),
        ("", "rock/4"),
    ]
