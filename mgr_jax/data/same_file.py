"""Tracks whose paths lead to one file, however they are spelled."""

import collections
import os
from collections.abc import Iterable

from mgr_jax.data.catalog import Track


def key(path: str) -> tuple:
    """Return a value that is equal for all paths to one file: links, `./` and case included."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # Missing, or no valid path: the decoder reports it.
        return (os.path.normcase(os.path.abspath(path)),)
    if not status.st_ino:  # A file system without such numbers.
        return (os.path.normcase(os.path.realpath(path)),)
    return status.st_dev, status.st_ino


def groups(tracks: Iterable[Track]) -> list[list[Track]]:
    """Return the tracks of each file that has several, sorted by id."""
    by_file = collections.defaultdict(list)
    for track in sorted(tracks, key=lambda track: track.id):
        by_file[key(track.path)].append(track)
    return [members for members in by_file.values() if len(members) > 1]
