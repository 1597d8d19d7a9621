"""Facts about GTZAN, counted; and the CSV of checksums."""

import collections
import csv
import hashlib
import json
import os
import pathlib

import pytest

from mgr_jax.data import gtzan
from mgr_jax.errors import UserError

SHARED = os.environ.get("MGR_JAX_SHARED", "")
needs_shared = pytest.mark.skipif(not SHARED, reason="MGR_JAX_SHARED is unset")


def _crossing(field, *parts):
    """Return the values of a field that are in more than one of the parts."""
    seen = collections.defaultdict(set)
    for fact in gtzan.facts().values():
        if fact.part in parts:
            seen[getattr(fact, field)].add(fact.part)
    return [value for value, names in seen.items() if len(names) > 1]


def test_genres_are_sorted():
    assert list(gtzan.GENRES) == sorted(gtzan.GENRES)
    assert len(gtzan.GENRES) == 10


def test_facts_name_every_track():
    expected = {f"{genre}.{number:05d}" for genre in gtzan.GENRES for number in range(100)}
    assert gtzan.facts().keys() == expected


def test_facts_hold_the_published_split():
    parts = collections.Counter(fact.part for fact in gtzan.facts().values())
    assert parts == {"train": 443, "valid": 197, "test": 290, "": 70}


@pytest.mark.parametrize("field", ["artist", "recording"])
def test_facts_let_no_artist_and_no_recording_cross_the_published_split(field):
    assert _crossing(field, "train", "valid", "test") == []


def test_facts_group_recordings_below_artists():
    """Tracks of one recording are of one artist, but for the pair with two labels."""
    artists = collections.defaultdict(set)
    for fact in gtzan.facts().values():
        artists[fact.recording].add(fact.artist)
    assert sum(len(names) > 1 for names in artists.values()) <= 1
    known = gtzan.facts()
    assert known["rock.00016"].recording == known["metal.00058"].recording
    # The first eight reggae clips and more are one artist (Sturm 2013).
    assert known["reggae.00000"].artist == known["reggae.00001"].artist


@needs_shared
def test_facts_agree_with_the_artists_known_by_name():
    with open(pathlib.Path(SHARED, "facts/gtzan_tracks.csv"), newline="") as file:
        rows = {row["track_id"]: row for row in csv.DictReader(file)}
    by_name = collections.defaultdict(set)
    for name, row in rows.items():
        assert gtzan.facts()[name].part == row["fault_filtered"]
        if row["artist"]:
            by_name[row["artist"]].add(gtzan.facts()[name].artist)
    assert all(len(groups) == 1 for groups in by_name.values())


@needs_shared
def test_read_checksums_gives_those_of_the_real_files():
    known = gtzan.read_checksums(os.path.join(SHARED, "facts/gtzan_tracks.csv"))
    assert known.keys() == gtzan.facts().keys()
    files = sorted(pathlib.Path(SHARED, "data/gtzan_mini").glob("*/*.wav"))
    assert len(files) == 30
    for path in files:
        assert hashlib.md5(path.read_bytes()).hexdigest() == known[path.stem]


def test_read_checksums_takes_what_a_spreadsheet_saves(tmp_path):
    path = tmp_path / "facts.csv"
    path.write_text("\ufefftrack_id,artist,md5\r\nblues.00000,x, ABC \r\nblues.00001,y,\r\nz\r\n")
    assert gtzan.read_checksums(str(path)) == {"blues.00000": "abc"}


def test_read_checksums_takes_the_index_of_mirdata(tmp_path):
    path = tmp_path / "gtzan_genre_index_1.0.json"
    tracks = {"blues.00000": {"audio": ["a.wav", "ABC"]}, "blues.00001": {"audio": [None, None]}}
    for index in (tracks, {"version": "1.0", "tracks": tracks}):
        path.write_text(json.dumps(index))
        assert gtzan.read_checksums(str(path)) == {"blues.00000": "abc"}
    for text in ("[]", "{", '{"a": 1}', '{"a": {"audio": "b"}}'):
        path.write_text(text)
        with pytest.raises(UserError, match="cannot be read as mirdata's index"):
            gtzan.read_checksums(str(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "column 'md5' is missing"),
        (b"track_id,artist\na,b\n", "column 'md5' is missing"),
        (b"md5\na\n", "column 'track_id' is missing"),
        (b"track_id,md5\n\xff\xfe,a\n", "cannot be read"),
        (b'track_id,md5\n"' + b"a" * 200_000, "cannot be read"),
    ],
)
def test_read_checksums_names_what_is_wrong_with_a_file(tmp_path, content, reason):
    path = tmp_path / "facts.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        gtzan.read_checksums(str(path))
    message = str(caught.value)
    assert message.startswith(f"data.facts {path}: {reason}")
    assert "\n" not in message


def test_read_checksums_names_a_missing_file(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match=r"^data\.facts .*: cannot be read"):
            gtzan.read_checksums(str(path))


def test_tracks_are_the_published_ones():
    tracks = gtzan.tracks()
    assert [track.id for track in tracks] == sorted(gtzan.facts())
    assert collections.Counter(track.label for track in tracks) == dict.fromkeys(gtzan.GENRES, 100)
    assert {track.path for track in tracks} == {""}


def test_identical_pairs_are_of_one_recording():
    pairs = gtzan.identical_pairs()
    assert len(pairs) == 14
    assert ("metal.00058", "rock.00016") in pairs
    for left, right in pairs:
        assert left < right
        assert gtzan.facts()[left].recording == gtzan.facts()[right].recording


@needs_shared
def test_identical_pairs_are_those_of_the_checksums():
    by_sum = collections.defaultdict(list)
    for name, value in gtzan.read_checksums(f"{SHARED}/facts/gtzan_tracks.csv").items():
        by_sum[value].append(name)
    pairs = sorted(tuple(sorted(names)) for names in by_sum.values() if len(names) > 1)
    assert gtzan.identical_pairs() == tuple(pairs)


def test_read_facts_needs_no_column_but_the_id(tmp_path):
    path = tmp_path / "facts.csv"
    path.write_text("artist,track_id\n x ,blues.00000\n")
    assert gtzan.read_facts(str(path)) == {
        "blues.00000": {"artist": "x", "track_id": "blues.00000"}
    }
    path.write_text("artist,md5\nx,a\n")
    with pytest.raises(UserError, match="column 'track_id' is missing"):
        gtzan.read_facts(str(path))
