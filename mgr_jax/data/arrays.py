"""Arrays: spectrograms that were computed elsewhere, in one `.npz` or `.npy` file.

A file holds `spectrogram` `[N, frames, bins]`, `label` and `track_id` `[N]` and, where known,
`split` (`train`, `valid`, `test`, empty, or another of `catalog.PART_NAMES`), `artist` and
`recording` `[N]`. Values are floats, or uint8 with the scalars `scale` and `offset`:
`uint8 * scale + offset`. A `.npy` file is a structured array of N rows with these fields. If all
ids are GTZAN's, fields that the file lacks are taken from `gtzan.facts`.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from mgr_jax import array_file
from mgr_jax.data import gtzan
from mgr_jax.data.catalog import Track, part_of
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError

TEXTS = ("track_id", "label", "split", "artist", "recording")
Fields = dict[str, np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A clip store of spectrograms: a "sample" is a frame `[bins]`.

    Attributes:
      samples: `[N, frames, bins]`, uint8 or float.
      records: one a row. sample_rate: frames per second.
      scale, offset: value = sample * scale + offset.
    """

    samples: np.ndarray
    records: tuple[Record, ...]
    sample_rate: float
    scale: float = 1.0
    offset: float = 0.0

    @functools.cached_property
    def row(self) -> dict[str, int]:
        """Return track id -> row, for the tracks that could be read."""
        return {record.id: i for i, record in enumerate(self.records) if not record.error}

    def errors(self) -> dict[str, str]:
        """Return track id -> why it is skipped."""
        return {record.id: record.error for record in self.records if record.error}

    def notes(self) -> dict[str, str]:
        """Return track id -> note: no track has one."""
        return {}

    def waveform(self, row: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Return frames `start:start + length` of a row, float32 `[length, bins]`, zero-padded."""
        size = self.samples.shape[1] - start if length is None else length
        piece = self.samples[row, start : start + size].astype(np.float32)
        piece = piece * np.float32(self.scale) + np.float32(self.offset)
        return np.pad(piece, ((0, size - len(piece)), (0, 0)))


def read_tracks(root: str) -> tuple[Track, ...]:
    """Return the tracks of a file, without its spectrograms.

    Raises:
      UserError: if the file is missing or damaged, or a field is missing, of a wrong shape or type.
    """
    path = find_file(root, "arrays", "a .npz or .npy file")
    return make_tracks(path, decode_texts(path, read_fields(path, TEXTS)))


def decode_texts(path: pathlib.Path, fields: Fields) -> dict[str, list[str]]:
    """Return the `TEXTS` of a file as strings, by field, without those that it lacks.

    Raises:
      UserError: if `track_id` or `label` is missing, or a field is of a wrong shape or type.
    """
    text = {name: values for name, values in fields.items() if values is not None}
    for name in ("track_id", "label"):
        if name not in text:
            raise UserError(f"data.root {path}: array {name!r} is missing; add it")
    count = len(text["track_id"]) if text["track_id"].ndim == 1 else -1
    for name, values in text.items():
        if values.dtype.kind not in "US" or values.shape != (count,):
            raise UserError(
                f"data.root {path}: {name!r} is {values.dtype} {values.shape}; it must be text"
                " [N], as many as track_id"
            )
    return {name: decode(path, name, text[name]) for name in text}


def make_tracks(path: pathlib.Path, values: dict[str, list[str]]) -> tuple[Track, ...]:
    """Return one track for each of `values`; for ids of GTZAN, what they lack is from its facts.

    Raises:
      UserError: if there is no track, an id is repeated, or a value is not allowed.
    """
    ids = values["track_id"]
    faults = {
        "the file has no track": not ids,
        "a track_id or a label is empty": "" in ids or "" in values["label"],
        "a track_id is there twice": len(set(ids)) < len(ids),
        "a split is not train, valid, test or empty": None in map(part_of, values.get("split", ())),
        "a track_id or a label has a line break": any(
            not v.isprintable() for v in (*ids, *values["label"])
        ),
    }
    for fault, is_so in faults.items():
        if is_so:
            raise UserError(f"data.root {path}: {fault}; correct the file")
    facts = gtzan.facts() if set(ids) <= gtzan.facts().keys() else {}
    known = [facts.get(name, gtzan.Facts("", "", "")) for name in ids]
    artists = values.get("artist", [fact.artist for fact in known])
    recordings = values.get("recording", [fact.recording for fact in known])
    parts = [part_of(part) or "" for part in values.get("split", ())]
    parts = parts or [fact.part for fact in known]
    columns = zip(ids, values["label"], artists, recordings, parts, strict=True)
    return tuple(Track(name, str(path), *row) for name, *row in columns)


def open_arrays(root: str, *, num_frames: int, num_bins: int, sample_rate: float) -> Arrays:
    """Return the store of a file; a spectrogram longer than `num_frames` is cut at its end.

    A row with values that are not finite is skipped with its reason.

    Args:
      num_frames: frames of a clip. num_bins: bins of a frame. sample_rate: frames per second.

    Raises:
      UserError: if the file cannot be read, or its spectrograms are of another size.
    """
    path = find_file(root, "arrays", "a .npz or .npy file")
    fields = read_fields(path, ("track_id", "spectrogram", "scale", "offset"))
    names, samples = fields["track_id"], fields["spectrogram"]
    if names is None or samples is None:
        missing = "track_id" if names is None else "spectrogram"
        raise UserError(f"data.root {path}: array {missing!r} is missing; add it")
    if samples.dtype != np.uint8 and samples.dtype.kind != "f":
        raise UserError(
            f"data.root {path}: 'spectrogram' is {samples.dtype}; it must be uint8 or float"
        )
    if samples.ndim != 3 or len(samples) != len(names):
        raise UserError(
            f"data.root {path}: 'spectrogram' is {samples.shape} for {len(names)}"
            " tracks; it must be [N, frames, bins]"
        )
    if samples.shape[2] != num_bins:
        raise UserError(
            f"data.root {path}: its frames have {samples.shape[2]} bins, not {num_bins}; set"
            f" features.num_bins={samples.shape[2]}"
        )
    if samples.shape[1] < num_frames:
        raise UserError(
            f"data.root {path}: its tracks have {samples.shape[1]} frames, fewer than {num_frames};"
            f" set data.clip_samples={samples.shape[1]}"
        )
    scalars = {}
    for name, default in (("scale", 1.0), ("offset", 0.0)):
        value = np.asarray(default if fields[name] is None else fields[name])
        if value.size != 1 or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise UserError(f"data.root {path}: {name!r} must be one finite number")
        scalars[name] = float(value.reshape(()))
    samples = samples[:, :num_frames]
    finite = np.asarray(np.isfinite(samples).all(axis=(1, 2)))
    records = tuple(
        Record(name, length=num_frames, error="" if ok else "has values that are not finite")
        for name, ok in zip(decode(path, "track_id", names), finite, strict=True)
    )
    return Arrays(samples, records, sample_rate, **scalars)


def find_file(root: str, name: str, kinds: str) -> pathlib.Path:
    """Return the path of `data.root`; raise `UserError` unless it is a file."""
    path = pathlib.Path(os.path.expanduser(root))
    if not root or not path.is_file():
        raise UserError(
            f"data.root {root or '(empty)'}: no such file; data.name {name!r} needs {kinds}"
        )
    return path


def read_fields(path: pathlib.Path, names: Sequence[str], *, bare: str = "") -> Fields:
    """Return the named arrays, None for those that the file lacks; object arrays are refused.

    An array without fields has the name `bare`, and is refused if that is empty.
    """
    try:
        loaded = array_file.read(path, names)
    except (OSError, ValueError) as error:
        reason = array_file.reason_of(error)
        raise UserError(
            f"data.root {path}: cannot be read ({reason}); give a .npz or .npy file without objects"
        ) from error
    rows = loaded.get("")
    if rows is None:
        return {name: loaded.get(name) for name in names}
    if bare and rows.dtype.names is None:
        return {name: rows if name == bare else None for name in names}
    if rows.dtype.names is None or rows.ndim != 1:
        raise UserError(
            f"data.root {path}: one bare array; give a .npz with spectrogram, label and track_id,"
            " or a structured array of these fields"
        )
    known = rows.dtype.names
    return {name: np.array(rows[name]) if name in known else None for name in names}


def decode(path: pathlib.Path, name: str, values: np.ndarray) -> list[str]:
    """Return an array of text as strings; raise `UserError` if its bytes are not UTF-8."""
    try:
        return [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
    except UnicodeDecodeError as error:
        raise UserError(f"data.root {path}: {name!r} is not UTF-8; save it as text") from error
