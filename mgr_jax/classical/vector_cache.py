"""A cache of the vectors of `transfer` beside the decoded clips, so that each is computed once."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
import tqdm

from mgr_jax.data import batches, clips
from mgr_jax.files import write_whole

# Fewest tracks after which the cache is written, so that a kill loses about 10 s of work.
_TRACKS_PER_WRITE = 64


def cached(
    part: batches.Part, compute: Callable[[batches.Part], np.ndarray], *, window: int
) -> np.ndarray:
    """Return the vectors [V, D] of all windows of a part, in the order of `batches.windows_of`.

    Those of the tracks that are not in the cache yet are computed and added to it. It is one file
    beside the decoded clips, of less than 1 % of their size; only a clip store has one.

    Args:
      part: the tracks.
      compute: part -> vectors [V, D] of all its windows.
      window: samples of a window.
    """
    path = _cache_file(part, window)
    if path is None:
        return compute(part)
    known = _read(path)
    missing = [i for i, row in enumerate(part.rows) if int(row) not in known]
    with tqdm.tqdm(total=len(missing), desc="embed", unit="track", disable=None) as bar:
        while missing:
            # An eighth more each time: the file grows with the tracks, and is written as a whole.
            size = max(_TRACKS_PER_WRITE, len(known) // 8)
            chosen, missing = missing[:size], missing[size:]
            own = dataclasses.replace(
                part,
                ids=tuple(part.ids[i] for i in chosen),
                rows=part.rows[chosen],
                labels=part.labels[chosen],
            )
            tracks = batches.windows_of(own, window)[:, 0]
            starts = np.searchsorted(tracks, np.arange(1, len(chosen)))
            known |= zip(own.rows.tolist(), np.split(compute(own), starts), strict=True)
            _write(path, known)
            bar.update(len(chosen))
    return np.concatenate([known[row] for row in part.rows.tolist()])


def _cache_file(part: batches.Part, window: int) -> pathlib.Path | None:
    """Return the file for this window, network and code, or None if the part has no clip store."""
    store = part.clips
    if not isinstance(store, clips.Clips) or not isinstance(store.samples, np.memmap):
        return None
    key = hashlib.sha256(f"{window} {_version()}".encode()).hexdigest()[:20]
    return store.folder / f"musicnn-{key}.npz"


@functools.cache
def _version() -> str:
    """Return the SHA-256 of the weights and of the sources that compute the vectors."""
    return clips.source_version(
        "../data/windows.py",
        "../features/*.py",
        "../models/musicnn*.py",
        "../classical/transfer.py",
        "../pretrained/musicnn/*.safetensors",
    )


def _read(path: pathlib.Path) -> dict[int, np.ndarray]:
    """Return row of the clip store -> vectors [V, D]; nothing if the file is absent or damaged."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            rows, counts, vectors = (arrays[name] for name in ("rows", "counts", "vectors"))
        pieces = np.split(vectors, np.cumsum(counts)[:-1])
        return dict(zip(rows.tolist(), pieces, strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write(path: pathlib.Path, known: dict[int, np.ndarray]) -> None:
    content = io.BytesIO()
    counts = [len(piece) for piece in known.values()]
    np.savez(content, rows=[*known], counts=counts, vectors=np.concatenate([*known.values()]))
    # A folder that can only be read costs time, not the result.
    with contextlib.suppress(OSError):
        write_whole(path, content.getvalue())
