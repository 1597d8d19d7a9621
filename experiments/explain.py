"""Test whether explanations can be trusted: `python -m experiments.explain --workdir=DIR`.

Explains the answers for some tracks (files after the flags, or those of a part), removes the
most attributed cells of time and frequency from their audio, and compares the probability of the
label with that after the removal of as many random cells. The area between the two curves is tested
over the tracks, each of another artist as long as there are artists. `predict --explain=DIR` draws
the explanations themselves.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command, jax_settings
from mgr_jax.escape import printable

if TYPE_CHECKING:
    from mgr_jax.predictor import Predictor

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.")
_MODEL = flags.DEFINE_string("model", "gtzan", "gtzan, which comes with the package, or a bundle.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part of the workdir.")
_NUM = flags.DEFINE_integer("num", 30, "Tracks to explain, at most.", lower_bound=2)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of tracks and of random cells.")
_METHOD = flags.DEFINE_string("explain_method", "auto", "Method; auto chooses by the system.")
_ROWS = flags.DEFINE_string(
    "rows", None, "File (.jsonl) for a row a track; tracks that it has are not explained again."
)
_SECONDS = flags.DEFINE_float("seconds", 30.0, "Length of the start of a track to explain.", 0.1)


def main(argv: Sequence[str]) -> command.Ending:
    """Explain track by track, then print the test."""
    if _WORKDIR.value is None and not argv[1:]:
        raise command.UserError("no audio file given; put files after the flags, or give --workdir")
    name = command.model_path(_WORKDIR.value, _MODEL.value, ("gtzan",))
    rows = _read_rows()
    jax_settings.set_up()

    from mgr_jax import predictor as predictor_lib
    from mgr_jax import progress
    from mgr_jax.explain import track as track_lib

    with progress.Progress("load", "the model"):
        predictor = predictor_lib.load(name)
    track_lib.choose_method(predictor.system, _METHOD.value)
    tracks = _files(argv[1:]) if argv[1:] else _part(predictor)
    if len(tracks) < 2:
        raise command.UserError("one track only; a test over tracks needs two or more")
    with progress.Progress("explain", total=len(tracks), unit="track") as bar:
        for track, source in tracks:
            if track not in rows:
                rows[track] = _explain(predictor, track, source)
                if _ROWS.value:
                    with open(_ROWS.value, "a", encoding="utf-8") as file:
                        file.write(json.dumps(rows[track]) + "\n")
            bar.update()
    print(_describe([rows[track] for track, _ in tracks]))
    model = () if name == "gtzan" else (f"--workdir={name}",)
    return command.Ending(0, ("predict", *model, "--explain=DIR", "SONG.mp3"))


def _read_rows() -> dict[str, dict[str, Any]]:
    """Return the rows of the file of --rows by track."""
    if _ROWS.value is None:
        return {}
    path = command.output_file("rows", _ROWS.value)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    try:
        return {row["track"]: row for row in map(json.loads, lines)}
    except (ValueError, TypeError, KeyError) as error:
        raise command.UserError(
            f"--rows {_ROWS.value}: is no file of this command ({error}); give another"
        ) from error


def _files(paths: Sequence[str]) -> list[tuple[str, Any]]:
    """Return at most --num files, drawn by --seed, as name and source."""
    import numpy as np

    drawn = np.random.default_rng(_SEED.value).permutation(len(paths))[: _NUM.value].tolist()
    return [(path, path) for i, path in enumerate(paths) if i in drawn]


def _part(predictor: "Predictor") -> list[tuple[str, Any]]:
    """Return at most --num tracks of the part as name and waveform, of many artists first."""
    import numpy as np

    from mgr_jax.data import clips as clips_lib
    from mgr_jax.data import dataset as dataset_lib

    run = predictor.run
    data = dataset_lib.open_part(run.config, run.split, _SPLIT.value)
    part = data.parts[_SPLIT.value]
    if not isinstance(part.clips, clips_lib.Clips):
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
    return [(part.ids[i], part.clips.waveform(int(part.rows[i]))) for i in chosen]


def _explain(predictor: "Predictor", track: str, source: Any) -> dict[str, Any]:
    """Return the row of a track: its explanation in brief, and its deletion curves."""
    rate = predictor.config.features.sample_rate
    is_file = isinstance(source, str)
    waveform = predictor.read(source, None if is_file else rate)[: round(_SECONDS.value * rate)]
    prediction = predictor.predict(waveform, rate)
    explanation = predictor.explainer.explain(waveform, prediction, method=_METHOD.value)
    curves = predictor.explainer.delete(waveform, explanation, seed=_SEED.value)
    return {
        "track": track,
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

    result = deletion.trust(np.array([row["area"] for row in rows]))
    means = {
        name: np.mean([row[name] for row in rows], axis=0) for name in ("attributed", "random")
    }
    lines = [f"explained {result.n} tracks by {' and '.join(sorted({r['method'] for r in rows}))}"]
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
        f" {result.n}, p = {result.p:.2g} (Wilcoxon's signed-rank test)"
    )
    lines.append(f"verdict   {deletion.verdict(result)}")
    return "\n".join(map(printable, lines))


if __name__ == "__main__":
    command.run(main)
