"""Fit the GTZAN model that comes with the package, and write its folder.

    taskset -c 0 python -m experiments.fit_gtzan --arrays=ARRAYS.npz --taggrams=TAGS.npz \\
        --out=DIR [--table=FILE.md]

`ARRAYS.npz` has log spectrograms (`data.arrays`) of the train and the valid part, `TAGS.npz` the
MusiCNN tags over time (`data.taggrams`) of tracks of the train part; tags of tracks without a
spectrogram are not used, nor are tracks of the test part. Before the fit, the whole procedure is
cross-validated on the tracks with tags, weights included, with artists kept whole. Rounding, and
with it the codebooks, depends on the number of cores: on one core, the files are the same bytes.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from absl import flags

from experiments import command
from experiments.configs import gtzan_arrays

if TYPE_CHECKING:
    from mgr_jax.classical import fusion
    from mgr_jax.config import Features
    from mgr_jax.data.catalog import Catalog
    from mgr_jax.pretrained.gtzan import GtzanModel

# System of the cross-validation -> its name in the table.
_SYSTEMS = {
    "both": "tags and spectrograms (the model)",
    "tags": "tags alone",
    "spectrogram": "spectrograms alone (9 views, LDA)",
}

_ARRAYS = flags.DEFINE_string("arrays", None, "Array file of spectrograms.", required=True)
_TAGGRAMS = flags.DEFINE_string("taggrams", None, "File of tags over time.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the model.", required=True)
_TABLE = flags.DEFINE_string("table", None, "File to write the cross-validated figures to.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Assignments of folds to cross-validate with.", 1)


class Data(NamedTuple):
    """The N tracks to fit to, as arguments of `fusion.fit`; `tags` is NaN where there are none."""

    catalog: "Catalog"
    ids: tuple[str, ...]
    x: np.ndarray
    tags: np.ndarray
    y: np.ndarray
    artists: tuple[str, ...]
    features: "Features"

    def rows(self, kept: np.ndarray) -> "Data":
        """Return the tracks of a mask, bool [N]."""
        return self._replace(
            ids=tuple(np.array(self.ids)[kept].tolist()),
            x=self.x[kept],
            tags=self.tags[kept],
            y=self.y[kept],
            artists=tuple(np.array(self.artists)[kept].tolist()),
        )


class Run(NamedTuple):
    """A cross-validation of the tracks with tags.

    Attributes:
      ids: tracks [M]. y: their labels [M]. artists: [M].
      log_p: system -> log-probabilities [M, C] by models of the other folds.
    """

    ids: tuple[str, ...]
    y: np.ndarray
    artists: tuple[str, ...]
    log_p: Mapping[str, np.ndarray]


def main(argv: Sequence[str]) -> int:
    """Cross-validate, fit and write the model; return the exit code."""
    command.refuse_arguments(argv)

    from mgr_jax.pretrained import gtzan

    command.set_up_jax()
    began = time.monotonic()
    data = read(_ARRAYS.value, _TAGGRAMS.value)
    print(f"data      {len(data.ids)} tracks, {has_tags(data).sum()} of them with tags")
    runs = [cross_validate(data, seed=seed) for seed in range(_SEEDS.value)]
    table = to_table(runs)
    print(table)
    model, report = fit_model(data, runs)
    gtzan.write(_OUT.value, model)
    pathlib.Path(_OUT.value, "README.md").write_text(_card(model), encoding="utf-8")
    if _TABLE.value:
        pathlib.Path(_TABLE.value).write_text(table + "\n", encoding="utf-8")
    for name, accuracy in report.accuracy.items():
        print(f"member    {100 * accuracy:.1f} %  {name}")
    print(f"weights   {', '.join(f'{name} {w:.2f}' for name, w in report.weights.items())}")
    print(f"written   {_OUT.value}, {time.monotonic() - began:.0f} s")
    return 0


def read(arrays: str, taggrams: str) -> Data:
    """Return the tracks of an array file but those of the test part, with their tags.

    Raises:
      UserError: if a file cannot be read, or no track has tags.
    """
    from mgr_jax.classical import tag_head
    from mgr_jax.data import dataset
    from mgr_jax.data import taggrams as taggrams_lib
    from mgr_jax.pretrained import gtzan

    config = gtzan_arrays.get_config()
    config.data.root = arrays
    catalog, store = dataset.open_catalog(config)
    tags_of = taggrams_lib.read(taggrams, num_tags=gtzan.NUM_TAGS)
    tracks = [t for t in catalog.tracks if t.id in store.row and t.part != "test"]
    catalog = dataclasses.replace(catalog, tracks=tuple(tracks))
    tags = np.full((len(tracks), gtzan.NUM_TAGS), np.nan)
    for row, track in enumerate(tracks):
        if track.id in tags_of:
            tags[row] = tag_head.summarize([tags_of[track.id]])[0]
    if np.isnan(tags).all():
        raise command.UserError(f"--taggrams {taggrams}: has no track of {arrays}")
    return Data(
        catalog=catalog,
        ids=tuple(track.id for track in tracks),
        x=np.stack([store.waveform(store.row[track.id]) for track in tracks]),
        tags=tags,
        y=np.array([catalog.labels.index(track.label) for track in tracks]),
        artists=tuple(track.artist or track.id for track in tracks),
        features=config.features,
    )


def has_tags(data: Data) -> np.ndarray:
    """Return whether each track has tags, bool [N]."""
    return np.logical_not(np.isnan(data.tags).any(axis=1))


def make_folds(data: Data, *, seed: int) -> np.ndarray:
    """Return the fold [N] of each track with tags, with artists kept whole; -1 for the others."""
    from mgr_jax.classical import fitting

    mask, folds = has_tags(data), np.full(len(data.ids), -1)
    ids = [name for name, kept in zip(data.ids, mask, strict=True) if kept]
    folds[mask] = fitting.inner_folds(data.catalog, ids, seed=seed)
    return folds


def fit(data: Data, *, seed: int = 0) -> tuple[dict[str, np.ndarray], "fusion.Report"]:
    """Return parameters of `fusion` in the precision of the file, and figures."""
    from mgr_jax.classical import fusion
    from mgr_jax.pretrained import gtzan

    params, report = fusion.fit(
        data.x,
        data.tags,
        data.y,
        make_folds(data, seed=seed),
        data.artists,
        num_classes=len(data.catalog.labels),
        features=data.features,
    )
    return gtzan.compact(params), report


def cross_validate(data: Data, *, seed: int) -> Run:
    """Return log-probabilities of the tracks with tags by models of other artists.

    Tracks without tags are always learned from; none is of an artist of those with tags, or it is
    left out with them.
    """
    from mgr_jax.classical import fusion, stacking

    folds = make_folds(data, seed=seed)
    artists = np.array(data.artists)
    log_p = {name: np.zeros((len(folds), len(data.catalog.labels))) for name in _SYSTEMS}
    for fold in np.unique(folds[folds >= 0]):
        held_out = folds == fold
        kept = ~held_out & ~np.isin(artists, artists[held_out])
        began = time.monotonic()
        params, _ = fit(data.rows(kept), seed=seed)
        parts = fusion.part_scores(params, data.x[held_out], data.tags[held_out])
        one = np.ones(1)
        log_p["spectrogram"][held_out] = stacking.combine(parts[0][None], one)
        log_p["tags"][held_out] = stacking.combine(parts[1][None], one)
        log_p["both"][held_out] = stacking.combine(np.stack(parts), params["weights"])
        seconds = time.monotonic() - began
        print(f"fold      {fold} of seed {seed}: {held_out.sum()} tracks, {seconds:.0f} s")
    rows = data.rows(folds >= 0)
    return Run(rows.ids, rows.y, rows.artists, {k: v[folds >= 0] for k, v in log_p.items()})


def to_table(runs: Sequence[Run]) -> str:
    """Format the accuracies of the first run with intervals and tests, and those of the others."""
    from mgr_jax.evaluation import bootstrap, calibration, metrics, stats

    first = runs[0]
    right = {name: first.log_p[name].argmax(axis=1) == first.y for name in _SYSTEMS}
    lines = [
        "| system | accuracy, 95 % interval | by artist | other assignments of folds |"
        " the model against it |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, title in _SYSTEMS.items():
        described = stats.describe_accuracy(int(right[name].sum()), len(first.y), "artist_kfold")
        interval = bootstrap.mean_interval(right[name], groups=first.artists)
        by_artist = interval and f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
        others = [100 * np.mean(run.log_p[name].argmax(axis=1) == run.y) for run in runs[1:]]
        versus = ""
        if name != "both":
            test = stats.mcnemar(right["both"], right[name])
            artist_p = stats.sign_flip_test(right["both"], right[name], first.artists)
            points = 100 * (right["both"].mean() - right[name].mean())
            versus = (
                f"{points:+.1f} points ({test.only_first} against {test.only_second} tracks),"
                f" McNemar p = {test.exact:.2g}, by artist {artist_p:.2g}"
            )
        cells = [
            title,
            described,
            by_artist or "",
            ", ".join(f"{accuracy:.1f}" for accuracy in others),
            versus,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    log_p = first.log_p["both"]
    return "\n".join(
        [
            *lines,
            "",
            f"Log loss of the model {metrics.log_loss(log_p, first.y):.3f}, mean confidence"
            f" {100 * np.exp(log_p.max(axis=1)).mean():.1f} %, expected calibration error"
            f" {calibration.expected_calibration_error(log_p, first.y):.3f}.",
        ]
    )


def fit_model(data: Data, runs: Sequence[Run]) -> tuple["GtzanModel", "fusion.Report"]:
    """Return the model of all tracks, with the figures of the cross-validations as its facts."""
    from mgr_jax.evaluation import bootstrap
    from mgr_jax.pretrained.gtzan import GtzanModel

    params, report = fit(data)
    correct, *others = (run.log_p["both"].argmax(axis=1) == run.y for run in runs)
    interval = bootstrap.mean_interval(correct, groups=runs[0].artists)
    facts = {
        "protocol": "artist_kfold",
        "n": len(correct),
        "num_correct": int(correct.sum()),
        "num_correct_other_folds": [int(hits.sum()) for hits in others],
        "ci95_by_artist": interval and [round(end, 4) for end in interval],
        "num_tracks": len(data.ids),
        "num_with_tags": int(has_tags(data).sum()),
        "held_out_accuracy": {name: round(v, 4) for name, v in report.accuracy.items()},
    }
    return GtzanModel(data.catalog.labels, params, data.ids, facts), report


def _card(model: "GtzanModel") -> str:
    from mgr_jax.evaluation import stats

    facts = model.facts
    accuracy = stats.describe_accuracy(facts["num_correct"], facts["n"], facts["protocol"])
    low, high = facts["ci95_by_artist"] or (float("nan"), float("nan"))
    others = [f"{100 * hits / facts['n']:.1f} %" for hits in facts["num_correct_other_folds"]]
    return f"""# GTZAN model

30 s of music -> calibrated probabilities of {len(model.labels)} genres:
{", ".join(model.labels)}.

- **Method**: nine linear discriminants on views of a log spectrogram, and one on the mean
  log-activations of MusiCNN's 50 tags, added with two weights (`mgr_jax/classical/fusion.py`).
- **Trained on** {facts["num_tracks"]} tracks of GTZAN: the train and the valid part of the
  fault-filtered split, tags of {facts["num_with_tags"]} of the train part. `model.json` lists them.
- **Accuracy**, cross-validated with artists kept whole, weights and temperature fitted inside:
  {accuracy}, by artist
  [{100 * low:.1f}, {100 * high:.1f}]. This is not the published test part, which was not there.
  Other assignments of folds: {", ".join(others) or "not tried"}. Models of the folds learn from
  three quarters of the tracks.
- **Calibration**: the weights are those of least cross entropy on held-out tracks; there is no
  further temperature.
- **Unlike the training music**: distance of the tags to the nearest genre above that of 99 of 100
  held-out tracks (`relative_distances` above 1), or, where audio is heard, neighbouring frames of
  the spectrogram as little alike as those of noise (`mgr_jax/shipped.py`). Music of a genre that is
  not in the list is mostly *not* recognised so.
- **Limits**: GTZAN is 1000 excerpts from around 2000, with few artists a genre (blues 9, reggae
  mostly Bob Marley); its labels are disputed. MusiCNN was trained on the Million Song Dataset,
  which may have some of its recordings.
- **Made by** `taskset -c 0 python -m experiments.fit_gtzan --arrays=ARRAYS.npz
  --taggrams=TAGS.npz --out=DIR`; what was tried is in
  `experiments/results/gtzan_pretrained.md`. No audio of GTZAN is in it.
"""


if __name__ == "__main__":
    command.run(main)
