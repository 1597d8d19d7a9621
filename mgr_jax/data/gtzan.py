"""Facts about GTZAN (Tzanetakis & Cook 2002): genres, artists, recordings, the published split.

`gtzan_groups.csv` is our own grouping of the 1000 tracks. `artist_group` and `recording_group`
number the artists and the recordings: tracks of one recording are byte-identical files, the same
artist and title, or matching spectrograms, starting from Sturm's index of the data set ("The GTZAN
dataset: its contents, its faults, their effects on evaluation, and its future use", 2013,
arXiv 1306.1461). A track of unknown artist is a group of one. `fault_filtered` is the part in
the split of Kereliuk, Sturm and Larsen ("Deep Learning and Music Adversaries", 2015,
arXiv 1507.04761): 443 training, 197 validation and 290 test tracks, 70 left out.
`gtzan_identical.csv` names the pairs of byte-identical files.
"""

import csv
import functools
import importlib.resources
import pathlib
from typing import NamedTuple

from mgr_jax.data import tables
from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError
from mgr_jax.files import parse_json

# Alphabetical, which is also the order of the labels 0..9.
GENRES = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip


class Facts(NamedTuple):
    """The groups of one track, and its part of the split; empty for a track that is left out."""

    artist: str
    recording: str
    part: str


@functools.cache
def facts() -> dict[str, Facts]:
    """Return track id (`blues.00000`) -> `Facts`, for all 1000 tracks."""
    table = importlib.resources.files("mgr_jax.data") / "gtzan_groups.csv"
    with table.open(encoding="utf-8") as file:
        return {
            row["track_id"]: Facts(
                f"artist {row['artist_group']}",
                f"recording {row['recording_group']}",
                row["fault_filtered"],
            )
            for row in csv.DictReader(file)
        }


@functools.cache
def tracks() -> tuple[Track, ...]:
    """Return the 1000 published tracks without their audio, sorted by id."""
    return tuple(
        Track(name, "", name.split(".")[0], *fact) for name, fact in sorted(facts().items())
    )


@functools.cache
def identical_pairs() -> tuple[tuple[str, str], ...]:
    """Return the pairs of tracks whose files are the same bytes, by the MD5 of the WAV release."""
    table = importlib.resources.files("mgr_jax.data") / "gtzan_identical.csv"
    with table.open(encoding="utf-8") as file:
        pairs = ((row["same_bytes_as"], row["track_id"]) for row in csv.DictReader(file))
        return tuple(sorted(pairs))


def read_facts(path: str) -> dict[str, dict[str, str]]:
    """Return track id -> column -> value, from a CSV with the column `track_id`.

    The audit reads the columns `artist`, `recording` and `md5`, all optional.

    Raises:
      UserError: if the file cannot be read or has no column `track_id`.
    """
    return _read_rows(path, {"track_id"})


def read_checksums(path: str) -> dict[str, str]:
    """Return track id -> MD5 of its WAV file.

    Args:
      path: a CSV with the columns `track_id` and `md5`, or the index of mirdata, a JSON file.

    Raises:
      UserError: if the file cannot be read or lacks a column.
    """
    if path.lower().endswith(".json"):
        try:
            index = parse_json(pathlib.Path(path).read_bytes())
            files = {name: track["audio"] for name, track in index.get("tracks", index).items()}
            return {name: md5.lower() for name, (_, md5) in files.items() if md5}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"data.facts {path}: cannot be read as mirdata's index of GTZAN ({error}); give it,"
                " or a CSV file"
            ) from error
    rows = _read_rows(path, {"track_id", "md5"})
    return {name: row["md5"].lower() for name, row in rows.items() if row["md5"]}


def _read_rows(path: str, required: set[str]) -> dict[str, dict[str, str]]:
    try:
        known = {*required, "artist", "recording", "md5"}
        table = tables.read_table(path, known=known, fill=True)
    except (OSError, ValueError) as error:
        raise UserError(f"data.facts {path}: cannot be read ({error}); give a CSV file") from error
    try:
        table.require(*required)
    except ValueError as error:
        raise UserError(f"data.facts {path}: {error}; add it") from error
    rows = {row["track_id"]: row for row in table.rows}
    if len(rows) < len(table.rows):
        raise UserError(f"data.facts {path}: a track_id is there twice; keep one line each")
    return rows
