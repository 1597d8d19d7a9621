"""Taggrams: tag activations over time of many tracks, in one `.npz` file.

The file holds `taggram` float `[R, K]`, one row a window, the probabilities of K tags; `track_id`
`[R]`; and `window` `[R]`, the place of the row in its track.
"""

import os
import pathlib

import numpy as np

from mgr_jax import array_file
from mgr_jax.errors import UserError

_FIELDS = ("taggram", "track_id", "window")


def read(path: str, *, num_tags: int) -> dict[str, np.ndarray]:
    """Return track id -> probabilities float32 [W, K] of its W windows in order, sorted by id.

    Raises:
      UserError: if the file cannot be read, a field is missing or of a wrong shape, there are not
        `num_tags` tags, or a value is no probability.
    """
    file = pathlib.Path(os.path.expanduser(path))
    if not path or not file.is_file():
        raise UserError(f"taggrams {path or '(empty)'}: no such file; give a .npz file")
    try:
        loaded = array_file.read(file, _FIELDS)
    except (OSError, ValueError) as error:
        reason = array_file.reason_of(error)
        raise UserError(
            f"taggrams {file}: cannot be read ({reason}); give a .npz file without objects"
        ) from error
    missing = [name for name in _FIELDS if name not in loaded]
    if missing:
        raise UserError(f"taggrams {file}: array {missing[0]!r} is missing; add it")
    taggram, ids, windows = (loaded[name] for name in _FIELDS)
    rows = len(ids) if ids.ndim == 1 else 0
    if not rows or taggram.shape != (rows, num_tags) or windows.shape != (rows,):
        raise UserError(
            f"taggrams {file}: 'taggram' is {taggram.shape}, track_id {ids.shape} and window"
            f" {windows.shape}; it must be [R, {num_tags}], the others [R]"
        )
    # A NaN fails the comparison too.
    if taggram.dtype.kind != "f" or not ((taggram >= 0) & (taggram <= 1)).all():
        raise UserError(f"taggrams {file}: 'taggram' must be probabilities, from 0 to 1")
    if ids.dtype.kind != "U" or windows.dtype.kind not in "iu":
        raise UserError(f"taggrams {file}: track_id must be text, and window whole numbers")
    order = np.lexsort((windows, ids))
    names, starts = np.unique(ids[order], return_index=True)
    tracks = np.split(taggram[order].astype(np.float32), starts[1:])
    return dict(zip(names.tolist(), tracks, strict=True))
