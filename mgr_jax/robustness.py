"""Answers to deformed music: `evaluate --deform`.

A row of results is kept in `deform/rows.jsonl` as soon as it is there, so that a run that was
killed goes on with the next one.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import soundfile

from mgr_jax import progress, runs
from mgr_jax.data import batches, clips, lossy, windows
from mgr_jax.data.clip_writer import FULL_SCALE
from mgr_jax.errors import UserError
from mgr_jax.evaluation import deformed
from mgr_jax.evaluation.reports import deform_text
from mgr_jax.features import deform
from mgr_jax.files import append_record, naming_file, read_records
from mgr_jax.scored import Scored, check_audio, check_scores

# Tracks whose deformed clips are in memory at once; of 30 s they take 21 MB.
_CHUNK = 16

Strength = tuple[str, float]  # Name of the deformation and its strength.
# A waveform [T], the name of its track, its samples that are no padding -> the deformed one [T].
_Change = Callable[[np.ndarray, str, int], np.ndarray]


def parse(text: str, *, sample_rate: int) -> list[Strength]:
    """Return the deformations that `--deform` names, with their strengths.

    `all`, or names with commas, each with its own strengths after colons: `gain,lowpass:4000:2000`.

    Raises:
      UserError: for an unknown name, a strength that is no number or out of range.
    """
    chosen: dict[str, list[float]] = {}
    for item in [name for name in text.split(",") if name] or [""]:
        name, *numbers = item.strip().split(":")
        names = _all(sample_rate) if name == "all" and not numbers else [name]
        for name in names:
            if name not in deform.DEFORMATIONS:
                raise UserError(
                    f"--deform: {name!r} is unknown; give all, or names from"
                    f" {', '.join(deform.DEFORMATIONS)}, with commas"
                )
            strengths = [_number(name, n) for n in numbers] or _default(name, sample_rate)
            if not strengths:
                raise UserError(
                    f"--deform: {name}: give a strength, such as {name}:{sample_rate / 4:g}; those"
                    f" of the table do not suit {sample_rate} Hz"
                )
            chosen[name] = [*dict.fromkeys([*chosen.get(name, []), *strengths])]
    try:
        for name, strengths in chosen.items():
            for strength in strengths:
                deform.check(name, strength, sample_rate)
                if name == "mp3":
                    lossy.check(strength, sample_rate=sample_rate)
                    if not _writes_mp3():
                        raise UserError(
                            "--deform: mp3: libsndfile is too old for MP3 (1.1 has it); update"
                            " soundfile, or leave mp3 out"
                        )
    except ValueError as error:
        raise UserError(f"--deform: {error}") from error
    return [(name, strength) for name, strengths in chosen.items() for strength in strengths]


def _all(sample_rate: int) -> list[str]:
    """Return the deformations that the sample rate and libsndfile allow."""
    has_mp3 = sample_rate in lossy.RATES and _writes_mp3()
    names = [name for name in deform.DEFORMATIONS if name != "mp3" or has_mp3]
    return [name for name in names if _default(name, sample_rate)]


def _writes_mp3() -> bool:
    return "MP3" in soundfile.available_formats()


def _number(name: str, text: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not math.isfinite(strength) or not strength:
        raise UserError(f"--deform: {name}:{text}: give a number other than 0 after the colon")
    return strength


def _default(name: str, sample_rate: int) -> list[float]:
    """Return the strengths of the table that the sample rate allows."""
    strengths = deform.DEFORMATIONS[name].strengths
    if name == "lowpass":
        return [s for s in strengths if s < sample_rate / 2]
    if name == "mp3" and sample_rate in lossy.RATES:
        low, high = lossy.RATES[sample_rate]
        return [s for s in strengths if low <= s <= high]
    return list(strengths)


def evaluate(
    scored: Scored,
    strengths: Sequence[Strength],
    *,
    seed: int = 0,
    folder: pathlib.Path | None = None,
) -> runs.Report:
    """Score the tracks as they are and deformed, and compare the answers.

    Args:
      scored: the system and its tracks.
      strengths: of `parse`.
      seed: of the random draws, which depend on it and on the names of the tracks.
      folder: for the page and the rows, which are continued; None keeps nothing.

    Raises:
      UserError: if there is no audio, or the model gives NaN.
      OSError: if the folder cannot be written; it names the file.
    """
    store = check_audio(scored.dataset, "--deform")
    part = scored.dataset.parts[scored.part]
    total = (1 + len(strengths)) * len(part.ids)
    results = []
    with progress.Progress("deform", total=total, unit="track") as shown:
        clean, truth = check_scores(scored.score(part), "--deform"), scored.classes()
        shown.update(len(part.ids))
        rows = _Rows(folder, _fingerprint(scored, clean, seed), clean.shape)
        for name, strength in strengths:
            predicted = rows.get(name, strength)
            if predicted is None:
                change = _changer(name, strength, store.sample_rate, seed)
                predicted = _score(scored, part, change, shown.update).argmax(axis=1)
                rows.add(name, strength, predicted)
            else:
                shown.update(len(part.ids))
            row = deformed.Row(name, strength, deform.DEFORMATIONS[name].unit, predicted)
            results.append(row)
            with shown.printing():
                print(
                    f"{row.name:24}{(predicted == truth).sum()} of {len(truth)} right", flush=True
                )
    report = deformed.compare(
        clean.argmax(axis=1),
        results,
        truth,
        ids=part.ids,
        labels=scored.run.labels,
        **scored.groups(),
    )
    meanings = {name: deform.DEFORMATIONS[name].meaning for name, _ in strengths}
    report |= {**scored.facts(), "seed": seed, "meanings": meanings}
    if folder is not None:
        deform_text.write(folder, report)
    page = folder and folder / "report.html"
    return runs.Report(report, deform_text.to_text(report), page)


def _score(
    scored: Scored,
    part: batches.Part,
    change: _Change,
    advance: Callable[[int], None],
) -> np.ndarray:
    """Return the log-probabilities [N, C] of the tracks of a part, deformed by `change`."""
    scores = []
    # Of equal size, so that no smaller batch is compiled for the rest.
    for rows in np.array_split(np.arange(len(part.ids)), -(-len(part.ids) // _CHUNK)):
        scores.append(check_scores(scored.score(_deformed(part, rows, change)), "--deform"))
        advance(len(rows))
    return np.concatenate(scores)


def _deformed(part: batches.Part, rows: np.ndarray, change: _Change) -> batches.Part:
    """Return the part with the deformed tracks `rows` alone, in memory."""
    store: Any = part.clips
    samples, records = [], []
    for i in rows:
        clip = part.rows[i]
        length = store.records[clip].length
        # The clip is deformed without its padding, and padded as before.
        waveform = windows.repeat(store.waveform(clip), length, tolerance=0)
        waveform = np.array(change(waveform, part.ids[i], length))
        waveform[length:] = 0
        # At full scale, so that rounding to 16 bits is below what a quiet clip loses in a file.
        scale = float(np.abs(waveform).max()) or 1.0
        steps = np.rint(waveform / scale * FULL_SCALE)
        samples.append(np.clip(steps, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16))
        records.append(dataclasses.replace(store.records[clip], scale=scale, digest=""))
    own = clips.Clips(np.stack(samples), tuple(records), store.sample_rate, store.folder)
    ids = tuple(part.ids[i] for i in rows)
    return batches.Part(own, ids, np.arange(len(rows), dtype=np.int32), part.labels[rows])


def _changer(name: str, strength: float, sample_rate: int, seed: int) -> _Change:
    """Return the function that deforms a track."""
    if name == "mp3":
        return lambda waveform, *_: lossy.mp3(waveform, strength, sample_rate=sample_rate)
    apply, key = _compiled(name, sample_rate, abs(strength)), jax.random.key(seed)

    def change(waveform: np.ndarray, track: str, length: int) -> np.ndarray:
        own = strength
        if name == "crop" and length < waveform.size:
            # The share of the music of a short clip, not of its repetitions.
            own = 100 - (100 - strength) * length / waveform.size
        row = np.array([zlib.crc32(track.encode())], np.uint32)
        return np.asarray(apply(key, waveform[None], np.float32(own), rows=row))[0]

    return change


@functools.cache
def _compiled(name: str, sample_rate: int, limit: float) -> Callable[..., jax.Array]:
    options = {"sample_rate": sample_rate, "limit": limit if name == "pitch" else math.inf}
    return jax.jit(functools.partial(deform.deform, name, **options))


def _fingerprint(scored: Scored, clean: np.ndarray, seed: int) -> str:
    """Return a hash of what the rows depend on: tracks, model, seed and deformations."""
    digest = hashlib.sha256()
    for source in (__file__, deform.__file__, lossy.__file__):
        digest.update(pathlib.Path(source).read_bytes())
    # The clean scores stand for the model; the last digits depend on the machine.
    ids = list(scored.dataset.parts[scored.part].ids)
    facts = [ids, scored.dataset.catalog.hash(), scored.step, seed, clean.round(2).tolist()]
    digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


class _Rows:
    """The rows of results in a file, a line each; those of another fingerprint are dropped."""

    def __init__(
        self, folder: pathlib.Path | None, fingerprint: str, shape: tuple[int, ...]
    ) -> None:
        """Takes the folder of the file, the fingerprint, and the shape [N, C] of the scores."""
        self._path = folder and folder / "rows.jsonl"
        self._fingerprint, self._rows = fingerprint, dict[Strength, np.ndarray]()
        if self._path is None:
            return
        with naming_file(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rows = read_records(self._path)
        for row in rows:
            # A disk may damage a value.
            with contextlib.suppress(ValueError, KeyError, TypeError, OverflowError):
                predicted = np.array(row["predicted"], int)
                is_whole = predicted.shape == shape[:1] and {*predicted} <= {*range(shape[1])}
                if row["fingerprint"] == fingerprint and is_whole:
                    self._rows[row["deformation"], float(row["strength"])] = predicted

    def get(self, name: str, strength: float) -> np.ndarray | None:
        """Return the classes of the answers [N], or None if there is no such row."""
        return self._rows.get((name, float(strength)))

    def add(self, name: str, strength: float, predicted: np.ndarray) -> None:
        """Append a row to the file."""
        if self._path is None:
            return
        row = {"fingerprint": self._fingerprint, "deformation": name, "strength": strength}
        append_record(self._path, row | {"predicted": predicted.tolist()})
