"""Test whether explanations can be trusted: `python -m experiments.explain --workdir=DIR`.

Explains the answers for some tracks (files after the flags, or those of a part), removes the
most attributed cells of time and frequency from their audio, and compares the probability of the
label with that after the removal of as many random cells. The area between the two curves is tested
over the tracks, each of another artist as long as there are artists, and over the means of artists
where they have several. `predict --explain=DIR` draws the explanations themselves.
"""

import hashlib
import math
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command, jax_settings
from mgr_jax.escape import printable
from mgr_jax.files import append_record, read_records

if TYPE_CHECKING:
    import numpy as np

    from mgr_jax.predictor import Predictor

# Reads the start of a track.
_Read = Callable[["Predictor"], "np.ndarray"]

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.")
_MODEL = flags.DEFINE_string("model", "gtzan", "gtzan, which comes with the package, or a bundle.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part of the workdir.")
_NUM = flags.DEFINE_integer("num", 30, "Tracks to explain, at most.", lower_bound=2)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of tracks and of random cells.", 0)
_METHOD = flags.DEFINE_string("explain_method", "auto", "Method; auto chooses by the system.")
_ROWS = flags.DEFINE_string(
    "rows",
    None,
    "File (.jsonl) for a row a track; tracks that it has, with the same audio, model and flags, are"
    " not explained again.",
)
_SECONDS = flags.DEFINE_float("seconds", 30.0, "Length of the start of a track to explain.", 0.1)

# Fields of a row; the first one begins each line.
_FIELDS = (
    "track", "key", "label", "probability", "method", "completeness_error", "area", "attributed",
    "random",
)  # fmt: skip


def main(argv: Sequence[str]) -> command.Ending:
    """Explain track by track, then print the test."""
    if _WORKDIR.value is None and not argv[1:]:
        raise command.UserError("no audio file given; put files after the flags, or give --workdir")
    if not _SECONDS.value < math.inf:
        raise command.UserError(f"--seconds {_SECONDS.value:g}: give a number, such as 30")
    name = command.model_path(_WORKDIR.value, _MODEL.value, ("gtzan",))
    rows = _read_rows()
    jax_settings.set_up()

    from mgr_jax import predictor as predictor_lib
    from mgr_jax import progress
    from mgr_jax.data.audio import AudioError
    from mgr_jax.explain import track as track_lib

    with progress.Progress("load", "the model"):
        predictor = predictor_lib.load(name)
    track_lib.choose_method(predictor.system, _METHOD.value)
    tracks = _files(argv[1:]) if argv[1:] else _part(predictor)
    if len(tracks) < 2:
        raise command.UserError("one track only; a test over tracks needs two or more")
    own, model = [], _digest(predictor)
    with progress.Progress("explain", total=len(tracks), unit="track") as bar:
        for track, artist, read in tracks:
            try:
                waveform = read(predictor)
                key = hashlib.sha256(f"{model} {track!r}".encode() + waveform.tobytes()).hexdigest()
                if key not in rows:
                    rows[key] = _explain(predictor, track, key, waveform)
                    if _ROWS.value:
                        append_record(_ROWS.value, rows[key])
                own.append(rows[key] | {"artist": artist})
            except AudioError as error:
                with bar.printing():
                    named = str(error) if str(error).startswith(track) else f"{track}: {error}"
                    print(printable(f"skipped   {named}"), file=sys.stderr, flush=True)
            bar.update()
    if len(own) < 2:
        raise command.UserError(
            f"{len(own)} of {len(tracks)} tracks have audio to explain; a test takes two or more"
        )
    print(_describe(own))
    model = () if name == "gtzan" else (f"--workdir={name}",)
    return command.Ending(
        int(len(own) < len(tracks)), ("predict", *model, "--explain=DIR", "SONG.mp3")
    )


def _read_rows() -> dict[str, dict[str, Any]]:
    """Return the rows of the file of --rows by their keys."""
    if _ROWS.value is None:
        return {}
    path = command.output_file("rows", _ROWS.value)
    if path.exists() and not all(
        line.startswith(b'{"track"') for line in path.read_bytes().splitlines()
    ):
        raise command.UserError(f"--rows {path}: is no file of this command; give another")
    return {row["key"]: row for row in read_records(path) if set(_FIELDS) <= row.keys()}


def _digest(predictor: "Predictor") -> str:
    """Return a hash of the model and of the flags that rows depend on."""
    import numpy as np

    from mgr_jax import tensors

    system = predictor.system
    facts = (_SEED.value, _METHOD.value, system.config, system.labels, system.temperature)
    arrays = tensors.flatten(dict(system.variables))
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    return tensors.digest(arrays, head=repr(facts).encode())


def _files(paths: Sequence[str]) -> list[tuple[str, str, _Read]]:
    """Return at most --num files, drawn by --seed, by name; each counts as an artist."""
    import numpy as np

    paths = list(dict.fromkeys(paths))
    drawn = np.random.default_rng(_SEED.value).permutation(len(paths))[: _NUM.value].tolist()

    def reader(path: str) -> _Read:
        return lambda predictor: _start(predictor, predictor.read(path))

    return [(path, path, reader(path)) for i, path in enumerate(paths) if i in drawn]


def _part(predictor: "Predictor") -> list[tuple[str, str, _Read]]:
    """Return at most --num tracks of the part by name and artist, of many artists first."""
    import numpy as np

    from mgr_jax.data import clips as clips_lib
    from mgr_jax.data import dataset as dataset_lib

    run = predictor.run
    data = dataset_lib.open_part(run.config, run.split, _SPLIT.value)
    part, store = data.parts[_SPLIT.value], data.clips
    if not isinstance(store, clips_lib.Clips):
        raise command.UserError("--workdir: its data are arrays; give files of audio to explain")
    artists = {track.id: track.artist or track.id for track in data.catalog.tracks}
    drawn = np.random.default_rng(_SEED.value).permutation(len(part.ids))
    seen: dict[str, int] = {}
    # First one track of each artist, then a second one, and so on.
    turn = {}
    for i in drawn:
        artist = artists[part.ids[i]]
        turn[i] = seen[artist] = seen.get(artist, -1) + 1
    chosen = sorted(sorted(drawn, key=turn.__getitem__)[: _NUM.value])

    def reader(row: int) -> _Read:
        # Without its padding, which is no music.
        return lambda predictor: _start(
            predictor, store.waveform(row, 0, store.records[row].length)
        )

    return [(part.ids[i], artists[part.ids[i]], reader(int(part.rows[i]))) for i in chosen]


def _start(predictor: "Predictor", waveform: "np.ndarray") -> "np.ndarray":
    """Return the first --seconds of a waveform [T]."""
    return waveform[: round(_SECONDS.value * predictor.config.features.sample_rate)]


def _explain(
    predictor: "Predictor", track: str, key: str, waveform: "np.ndarray"
) -> dict[str, Any]:
    """Return the row of a track: its explanation in brief, and its deletion curves."""
    rate = predictor.config.features.sample_rate
    prediction = predictor.predict(waveform, rate)
    explanation = predictor.explainer.explain(waveform, prediction, method=_METHOD.value)
    # Other random cells for each track, whatever their order: the test takes tracks as independent.
    seed = zlib.crc32(waveform.tobytes(), _SEED.value)
    curves = predictor.explainer.delete(waveform, explanation, seed=seed)
    return {
        "track": track,
        "key": key,
        "label": explanation.label,
        "probability": explanation.probability,
        "method": explanation.method,
        "completeness_error": explanation.completeness_error,
        "area": curves.area,
        "attributed": curves.attributed.tolist(),
        "random": curves.random.tolist(),
    }


def _describe(rows: Sequence[dict[str, Any]]) -> str:
    """Return the lines of the result."""
    import numpy as np

    from mgr_jax.evaluation.reports import explanation
    from mgr_jax.explain import deletion

    artists = [row["artist"] for row in rows]
    if len({*artists}) < 2:
        raise command.UserError("the tracks are of one artist; a test takes two or more")
    result = deletion.trust(np.array([row["area"] for row in rows]), artists)
    by = " artists" if result.n < len(rows) else ""
    means = {
        name: np.mean([row[name] for row in rows], axis=0) for name in ("attributed", "random")
    }
    lines = [f"explained {len(rows)} tracks by {' and '.join(sorted({r['method'] for r in rows}))}"]
    errors = [row["completeness_error"] for row in rows if row["completeness_error"] is not None]
    if errors:
        worst = 100 * max(errors)
        many = sum(error > explanation.LARGE_ERROR for error in errors)
        line = f"complete  error {100 * np.median(errors):.2g} % (median), {worst:.2g} % at most"
        lines.append(line + (f"; do not rely on the {many} above 20 %" if many else ""))
    lines.append("removed   " + " ".join(f"{100 * share:5.0f} %" for share in deletion.FRACTIONS))
    for name, words in (("attributed", "most"), ("random", "random")):
        lines.append(f"{words:9} " + " ".join(f"{value:7.3f}" for value in means[name]))
    low, high = result.ci95
    lines.append(
        f"area      {result.mean:.3f} [{low:.3f}, {high:.3f}], above 0 for {result.num_positive} of"
        f" {result.n}{by}, p = {result.p:.2g} (Wilcoxon's signed-rank test)"
    )
    lines.append(f"verdict   {deletion.verdict(result)}")
    return "\n".join(map(printable, lines))


if __name__ == "__main__":
    command.run(main)
