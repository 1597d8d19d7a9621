"""Groups of tracks by what is known of them: `evaluate --subset`."""

import itertools
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mgr_jax import progress, runs
from mgr_jax.data import audio_tags, tables
from mgr_jax.data.clips import Clips
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.evaluation import subset_results
from mgr_jax.evaluation.reports import subset_text
from mgr_jax.scored import Scored, check_audio, check_scores

UNKNOWN = "unknown"
# Groups that numbers are cut into, by their quantiles; as many different numbers are kept apart.
_BINS = 4
# Of the tags and properties that `tinytag` reads.
_TAGS = (
    "album", "albumartist", "bitdepth", "bitrate", "channels", "composer", "disc", "duration",
    "genre", "samplerate", "track", "year",
)  # fmt: skip

_UNITS = {"length": "s", "level": "dB"}
# Their values are names, even where they look like numbers.
_NAMES = ("artist", "recording", "label", "format")
_MAX_DIGITS = 17  # That tell any two numbers apart.

Columns = dict[str, list[str]]  # Name -> group of each track.


def parse(text: str, scored: Scored) -> Columns:
    """Return the groups of the tracks by each column that `--subset` names, with commas.

    `artist`, `recording`, `label`; `length` (seconds of audio in the clip), `level` (RMS in dB of
    full scale), `format` (ending of the file); a column of the manifest; or a tag or property of
    the file such as `album`, `year`, `bitrate`, `samplerate`, `channels`. Numbers are cut into four
    groups of about equal counts.

    Raises:
      UserError: for an unknown name.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--subset is empty; give names such as artist,length,level,format")
    manifest = _manifest(scored)
    columns: Columns = {}
    for name in dict.fromkeys(names):
        if name in _OWN:
            values = _OWN[name](scored)
        elif name in manifest:
            values = manifest[name]
        elif name in _TAGS:
            values = [_tag(track.path, name) for track in scored.tracks]
        else:
            known = [*_OWN, *manifest, *(tag for tag in _TAGS if tag not in manifest)]
            raise UserError(f"--subset: {name!r} is unknown; give some of {', '.join(known)}")
        is_name = name in _NAMES
        columns[name] = _named(values) if is_name else binned(values, unit=_UNITS.get(name, ""))
    return columns


def _named(values: Sequence[str | float]) -> list[str]:
    return [printable(str(value)).strip() or UNKNOWN for value in values]


def binned(values: Sequence[str | float], *, unit: str = "") -> list[str]:
    """Return the name of the group of each value [N]; numbers are cut at their quantiles."""
    numbers = np.array([_number(value) for value in values])
    present = np.isfinite(numbers)
    # A few numbers are groups themselves, by four digits.
    texts = _named([float(f"{v:.4g}") if isinstance(v, float) else v for v in values])
    others = {text for text, number in zip(texts, present, strict=True) if not number}
    if others - {UNKNOWN, "nan"} or len(set(numbers[present])) <= _BINS:
        return [UNKNOWN if text == "nan" else text for text in texts]
    edges = np.unique(np.quantile(numbers[present], np.linspace(0, 1, _BINS + 1)[1:-1]))
    _, index = np.unique(np.searchsorted(edges, numbers[present]), return_inverse=True)
    groups = [numbers[present][index == i] for i in range(index.max() + 1)]
    limits: list[tuple[str, str]] = []
    for digits in range(4, _MAX_DIGITS + 1):  # As few as tell the groups apart.
        limits = [(f"{own.min():.{digits}g}", f"{own.max():.{digits}g}") for own in groups]
        if all(first[1] != second[0] for first, second in itertools.pairwise(limits)):
            break
    names = np.array([f"{low} to {high} {unit}".rstrip() for low, high in limits], object)
    result = np.full(len(values), UNKNOWN, object)
    result[present] = names[index]
    return result.tolist()


def _number(value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def evaluate(
    scored: Scored, columns: Columns, *, seed: int = 0, folder: pathlib.Path | None = None
) -> runs.Report:
    """Score the tracks, and compare each group of `parse` with the rest.

    Args:
      scored: the system and its tracks.
      columns: of `parse`.
      seed: of random permutations.
      folder: for the page; None keeps nothing.

    Raises:
      OSError: if the folder cannot be written; it names the file.
    """
    with progress.Progress("score", f"the {scored.part} part"):
        scores = check_scores(scored.score(scored.dataset.parts[scored.part]), "--subset")
    report = subset_results.compare(
        scores.argmax(axis=1) == scored.classes(),
        columns,
        **scored.groups(),
        within=("artist", "recording"),
        seed=seed,
    )
    report |= scored.facts()
    if folder is not None:
        subset_text.write(folder, report)
    page = folder and folder / "report.html"
    return runs.Report(report, subset_text.to_text(report), page)


def _lengths(scored: Scored) -> list[str | float]:
    store = check_audio(scored.dataset, "--subset=length")
    return [store.records[row].length / store.sample_rate for row in _rows(scored)]


def _levels(scored: Scored) -> list[str | float]:
    store = check_audio(scored.dataset, "--subset=level")
    return [_level(store, row) for row in _rows(scored)]


def _level(store: Clips, row: int) -> float:
    """Return the RMS of the audio of a clip in decibels of full scale; NaN for silence."""
    waveform = store.waveform(row, 0, store.records[row].length)
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    return 10 * math.log10(power) if power else math.nan


def _rows(scored: Scored) -> list[int]:
    return scored.dataset.parts[scored.part].rows.tolist()


def _formats(scored: Scored) -> list[str | float]:
    return [
        "band" if track.path.startswith("band:") else pathlib.PurePath(track.path).suffix.lower()
        for track in scored.tracks
    ]


_OWN: Mapping[str, Callable[[Scored], list[str | float]]] = {
    "artist": lambda scored: [track.artist for track in scored.tracks],
    "recording": lambda scored: [track.recording for track in scored.tracks],
    "label": lambda scored: [track.label for track in scored.tracks],
    "length": _lengths,
    "level": _levels,
    "format": _formats,
}


def _manifest(scored: Scored) -> dict[str, list[str | float]]:
    """Return the columns of the manifest, name -> value of each track; {} for other data."""
    data = scored.run.config.data
    if data.name != "manifest":
        return {}
    table = tables.read_table(os.path.expanduser(data.root), known=("path", "id"), fill=True)
    row_of = {printable(row.get("id") or row["path"]): row for row in table.rows}
    return {
        name: [row_of.get(track.id, {}).get(name, "") for track in scored.tracks]
        for name in table.names
        if name not in ("path", "id")
    }


def _tag(path: str, name: str) -> str | float:
    """Return a tag or property of a file; empty where it has none."""
    value = getattr(audio_tags.open_tags(path), name, None)
    return "" if value is None else value
