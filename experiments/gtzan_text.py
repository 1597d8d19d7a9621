"""The cross-validation of the GTZAN model as tables, and its card; see `fit_gtzan`."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.evaluation import calibration, calibration_error, metrics, results, stats
from mgr_jax.evaluation.reports import wording
from mgr_jax.pretrained.gtzan import GtzanModel

# System of the cross-validation -> its name in the table.
SYSTEMS = {
    "both": "tags and spectrograms (the model)",
    "tags": "tags alone",
    "spectrogram": "spectrograms alone (9 views, LDA)",
    "recipe": "the recipe for arrays (13 members)",
}
_ERROR_METHOD = "The interval of a calibration error is an inverted bootstrap over artists."
# Measures of `fusion.strangeness` -> their names in the table.
MARKS = {"tags": "tags", "repetition": "repetition", "persistence": "noise"}


class Run(NamedTuple):
    """A cross-validation of the tracks with tags.

    Attributes:
      ids: tracks [M]. y: their labels [M]. artists: [M].
      log_p: system -> log-probabilities [M, C] by models of the other folds.
      lengths: seconds of the start of each track -> log-probabilities [M, C] by the model `both`,
        and whether it is marked as unlike the training music by each of `MARKS`, bool [M, 3].
    """

    ids: tuple[str, ...]
    y: np.ndarray
    artists: tuple[str, ...]
    log_p: Mapping[str, np.ndarray]
    lengths: Mapping[float, tuple[np.ndarray, np.ndarray]]


def to_table(runs: Sequence[Run]) -> str:
    """Format the accuracies of the first run with intervals and tests, and counts of the others."""
    first, n = runs[0], len(runs[0].y)
    right = {name: first.log_p[name].argmax(axis=1) == first.y for name in SYSTEMS}
    lines = [
        f"| system | accuracy, 95 % intervals | other assignments of folds, right of {n} |"
        " the model against it |",
        "| --- | --- | --- | --- |",
    ]
    others = [name for name in SYSTEMS if name != "both"]
    p_values = [stats.sign_flip_test(right["both"], right[name], first.artists) for name in others]
    artist_p = dict(zip(others, zip(p_values, stats.holm(p_values), strict=True), strict=True))
    for name, title in SYSTEMS.items():
        counts = [
            f"{np.sum(run.log_p[name].argmax(axis=1) == run.y)}"
            for run in runs[1:]
            if name in run.log_p
        ]
        versus = ""
        if name in artist_p:
            test, (p, adjusted) = stats.mcnemar(right["both"], right[name]), artist_p[name]
            points = 100 * (right["both"].mean() - right[name].mean())
            versus = (
                f"{points:+.1f} points ({test.only_first} against {test.only_second} tracks),"
                f" McNemar p = {test.exact:.2g}, by artist {p:.2g}, after Holm {adjusted:.2g}"
            )
        cells = [
            title,
            stats.describe(results.count(right[name], first.artists), "artist_kfold"),
            ", ".join(counts),
            versus,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    log_p, error = first.log_p["both"], calibration_error_of(first, first.log_p["both"])
    return "\n".join(
        [
            *lines,
            "",
            f"{wording.accuracy_methods(results.count(right['both'], first.artists))} McNemar's"
            " test is exact and by track; that by artist exchanges the systems for whole artists,"
            f" and decides after Holm's correction over {len(others)} systems.",
            "",
            f"Log loss of the model {metrics.log_loss(log_p, first.y):.3f}, mean confidence"
            f" {100 * np.exp(log_p.max(axis=1)).mean():.1f} % (n = {n}). Expected calibration error"
            f" {calibration_error.describe(error)}. {_ERROR_METHOD}",
        ]
    )


def to_length_table(run: Run) -> str:
    """Format accuracy, calibration and false marks on the start of the tracks, for each length."""
    marks = ", ".join(MARKS.values())
    lines = [
        "| audio | accuracy, 95 % intervals | mean confidence | log loss |"
        " calibration error, 95 % interval by artist | that of a calibrated model, mean and 95 % |"
        f" temperature that would fit | marked as unlike, by {marks}, any |",
        f"|{' --- |' * 8}",
    ]
    for seconds, (log_p, marked) in run.lengths.items():
        counted = results.count(log_p.argmax(axis=1) == run.y, run.artists)
        shares = [*marked.mean(axis=0), marked.any(axis=1).mean()]
        error = calibration_error_of(run, log_p)
        cells = [
            f"{seconds:g} s",
            stats.describe(counted, "artist_kfold"),
            f"{100 * np.exp(log_p.max(axis=1)).mean():.1f} %",
            f"{metrics.log_loss(log_p, run.y):.3f}",
            calibration_error.describe(error).partition(";")[0],
            f"{error['perfect']:.3f}, {error['perfect95']:.3f}",
            f"{calibration.fit_temperature(log_p, run.y):.2f}",
            ", ".join(f"{100 * share:.1f}" for share in shares) + " %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Intervals of accuracies as in the table above. {_ERROR_METHOD}"]
    return "\n".join(lines)


def calibration_error_of(run: Run, log_p: np.ndarray) -> dict[str, Any]:
    """Return the fields of the `CalibrationError` by artist of log-probabilities [M, C]."""
    return calibration_error.calibration_error(log_p, run.y, groups=run.artists)._asdict()


def to_card(model: GtzanModel) -> str:
    """Return the model card, `README.md` of the model's folder."""
    facts = model.facts
    by = "artist" if facts["num_groups"] < facts["n"] else "track"
    counted = {**facts, "ci95": facts["ci95_by_artist"], "grouped_by": by}
    others = [str(hits) for hits in facts["num_correct_other_folds"]]
    error = calibration_error.describe(facts["calibration_error"])
    return f"""# GTZAN model

30 s of music -> calibrated probabilities of {len(model.labels)} genres:
{", ".join(model.labels)}.

- **Method**: nine linear discriminants on views of a log spectrogram, and one on the mean
  log-activations of MusiCNN's 50 tags, added with two weights (`mgr_jax/classical/fusion.py`).
- **Trained on** {facts["num_tracks"]} tracks of GTZAN: the train and the valid part of the
  fault-filtered split, tags of {facts["num_with_tags"]} of the train part. `model.json` lists them.
- **Accuracy**, cross-validated with artists kept whole, weights and temperature fitted inside:
  {stats.describe(counted, facts["protocol"])}.
  This is not the published test part, which was not there.
{_wrapped(wording.accuracy_methods(counted))}
  Tracks right with other assignments of folds: {" and ".join(others) or "not tried"}. Models of the
  folds learn from three quarters of the tracks.
- **Calibration**: the weights are those of least cross entropy on held-out tracks; there is no
  further temperature. On short audio, repeated to 30 s, confidences fall with the accuracy.
{_wrapped(f"Expected calibration error {error}. {_ERROR_METHOD}")}
- **Sets of genres** (`predict --coverage=0.9`): a hierarchical conformal prediction by artist from
  the cross-validated probabilities, which `calibration.json` has. That the folds learn from fewer
  tracks makes sets rather too large.
- **Unlike the training music** (`fusion.strangeness`): a distance of the tags to the nearest genre
  above that of 99 of 100 held-out tracks; a spectrogram that repeats itself within a beat less
  than that of 99 of 100 training tracks, as speech; neighbouring frames as little alike as those of
  noise. Of 53 synthesised voices that speak for 30 s, 81 to 100 % are marked as synthesised, in a
  room, on the telephone and in noise, but 8 % in a hall, and of 10 s only 17 %. Recorded speech is
  not measured. Music of a genre that is not in the list is mostly *not* marked.
- **Limits**: GTZAN is 1000 excerpts from around 2000, with few artists a genre (blues 9, reggae
  mostly Bob Marley); its labels are disputed. MusiCNN was trained on the Million Song Dataset,
  which may have some of its recordings.
- **Made by** `taskset -c 0 python -m experiments.fit_gtzan --arrays=ARRAYS.npz
  --taggrams=TAGS.npz --out=DIR`; what was tried is in
  `experiments/results/gtzan_pretrained.md`. No audio of GTZAN is in it.
"""


def _wrapped(text: str) -> str:
    """Return the lines of a paragraph within a list item."""
    return textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  ")
