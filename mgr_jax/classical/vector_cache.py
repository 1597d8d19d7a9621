"""A cache of the features of classical systems beside the decoded clips: each track once.

A feature vector depends on the decoded clip, the settings of the features and the code alone, so
that all folds, seeds and systems share it. A folder beside the clips holds those of one version of
the settings and the code. Its files are written whole and never changed, and name each track by
the digest of its clip: processes may add to it at once, and what is lost is computed again.
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from mgr_jax import array_file, progress
from mgr_jax.data import batches, clips
from mgr_jax.files import json_digest, write_arrays

# Fewest tracks of a file, so that a kill loses a few seconds of work (10 s with MusiCNN).
_TRACKS_PER_FILE = 64


def cached(
    part: batches.Part,
    compute: Callable[[batches.Part], np.ndarray],
    *,
    window: int,
    settings: Any = None,
) -> np.ndarray:
    """Return the features [V, ...] of all windows of a part, in the order of `batches.windows_of`.

    Those of the tracks that are not in the cache yet are computed and added to it. A store in
    memory has none: then all are computed, with the same values.

    Args:
      part: the tracks.
      compute: part -> features [V, ...] of all its windows.
      window: samples of a window.
      settings: JSON values of all else that the features depend on.
    """
    folder = _folder(part.clips, window, settings)
    records = [part.clips.records[row] for row in part.rows]
    known = _read(folder, {record.digest for record in records}) if folder else {}
    vectors = [known.get(record.digest) for record in records]
    # Tracks that fill a window and shorter ones are computed apart: a batch with both may take
    # another formula, and the values of a track must not depend on its neighbours.
    groups: list[list[int]] = [[], []]
    for i, record in enumerate(records):
        if vectors[i] is None:
            groups[record.length < window].append(i)
    num_done = len(known)
    total = sum(map(len, groups))
    with progress.Progress("features", total=total, unit="track") as bar:
        for group in groups:
            while group:
                # An eighth more each time, so that large collections have few files.
                size = max(_TRACKS_PER_FILE, num_done // 8)
                chosen, group = group[:size], group[size:]
                for i, piece in zip(chosen, _compute(part, chosen, compute, window), strict=True):
                    vectors[i] = piece
                # Clips of other programs have no digest.
                new = {records[i].digest: vectors[i] for i in chosen if records[i].digest}
                if folder and new:
                    _write(folder, new)
                num_done += len(chosen)
                bar.update(len(chosen))
    return np.concatenate(vectors)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _compute(
    part: batches.Part,
    chosen: list[int],
    compute: Callable[[batches.Part], np.ndarray],
    window: int,
) -> list[np.ndarray]:
    """Return the features [V, ...] of each of these tracks."""
    own = dataclasses.replace(
        part,
        ids=tuple(part.ids[i] for i in chosen),
        rows=part.rows[chosen],
        labels=part.labels[chosen],
    )
    tracks = batches.windows_of(own, window)[:, 0]
    return np.split(compute(own), np.searchsorted(tracks, np.arange(1, len(chosen))))


def _folder(store: Any, window: int, settings: Any) -> pathlib.Path | None:
    """Return the folder for these settings and this code; None for a store in memory."""
    if not isinstance(store, clips.Clips) or type(store.samples) is np.ndarray:
        return None
    return store.folder / f"features-{json_digest([window, settings, _version()])[:20]}"


@functools.cache
def _version() -> list[str]:
    """Return the SHA-256 of the sources and weights that compute features, and JAX and device."""
    sources = clips.source_version(
        "../data/batches.py",
        "../data/windows.py",
        "../features/*.py",
        "../ops/**/*.py",
        "../models/musicnn*.py",
        "../classical/fitting.py",
        "../classical/scoring.py",
        "../classical/transfer.py",
        "../classical/vector_cache.py",
        "../pretrained/musicnn/*.safetensors",
    )
    return [sources, jax.__version__, f"{jax.device_count()} {jax.devices()[0].device_kind}"]


def _read(folder: pathlib.Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Return digest of a clip -> features [V, ...] as far as there are; remove damaged files."""
    known: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.npz")):
        with contextlib.suppress(OSError):
            try:
                index = array_file.read(path, ("digests", "counts"))
                digests = index["digests"].tolist()
                if not known.keys() >= set(digests).intersection(wanted):
                    vectors = array_file.read(path, ("vectors",))["vectors"]
                    pieces = np.split(vectors, np.cumsum(index["counts"])[:-1])
                    # Copied, so that the rest of the file is freed.
                    own = zip(digests, pieces, strict=True)
                    known |= {name: piece.copy() for name, piece in own if name in wanted}
            except (ValueError, KeyError, TypeError):
                path.unlink()
    return known


def _write(folder: pathlib.Path, vectors: dict[str, Any]) -> None:
    arrays = [*vectors.values()]
    digests, counts = [*vectors], [*map(len, arrays)]
    values = {"digests": digests, "counts": counts, "vectors": np.concatenate(arrays)}
    # A folder that can only be read costs time, not the result.
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        write_arrays(folder / f"{json_digest(digests)[:20]}.npz", values)
