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
import itertools
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from absl import flags

from experiments import command, jax_settings
from experiments.configs import gtzan_arrays

if TYPE_CHECKING:
    from experiments import gtzan_text
    from mgr_jax.classical import fusion
    from mgr_jax.config import Features
    from mgr_jax.data.catalog import Catalog
    from mgr_jax.pretrained.gtzan import GtzanModel

# Seconds of the held-out tracks, to check accuracy, confidence and marks on short audio.
_LENGTHS = (30.0, 15.0, 10.0, 5.0, 3.0)

_ARRAYS = flags.DEFINE_string("arrays", None, "Array file of spectrograms.", required=True)
_TAGGRAMS = flags.DEFINE_string("taggrams", None, "File of tags over time.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the model.", required=True)
_TABLE = flags.DEFINE_string("table", None, "File to write the cross-validated figures to.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Assignments of folds to cross-validate with.", 1)


class Data(NamedTuple):
    """The N tracks to fit to, as arguments of `fusion.fit`; `tags` is NaN where there are none.

    `taggrams` has the probabilities [W, 50] that `tags` summarises, W being 0 where there are none.
    """

    catalog: "Catalog"
    ids: tuple[str, ...]
    x: np.ndarray
    tags: np.ndarray
    taggrams: tuple[np.ndarray, ...]
    y: np.ndarray
    artists: tuple[str, ...]
    features: "Features"

    def rows(self, kept: np.ndarray) -> "Data":
        """Return the tracks of a mask, bool [N]."""
        return self._replace(
            ids=tuple(np.array(self.ids)[kept].tolist()),
            x=self.x[kept],
            tags=self.tags[kept],
            taggrams=tuple(itertools.compress(self.taggrams, kept)),
            y=self.y[kept],
            artists=tuple(np.array(self.artists)[kept].tolist()),
        )


def main(argv: Sequence[str]) -> command.Ending:
    """Cross-validate, fit and write the model; return how it ended."""
    command.refuse_arguments(argv)

    from experiments import gtzan_text
    from mgr_jax import progress
    from mgr_jax.pretrained import gtzan

    jax_settings.set_up()
    data = read(_ARRAYS.value, _TAGGRAMS.value)
    print(f"data      {len(data.ids)} tracks, {has_tags(data).sum()} of them with tags")
    seeds = range(_SEEDS.value)
    runs = [cross_validate(data, seed=seed, recipe=seed == 0) for seed in seeds]
    table = f"{gtzan_text.to_table(runs)}\n\n{gtzan_text.to_length_table(runs[0])}"
    print(table)
    with progress.Progress("fit", "the model of all tracks"):
        model, report = fit_model(data, runs)
    gtzan.write(_OUT.value, model)
    pathlib.Path(_OUT.value, "README.md").write_text(gtzan_text.to_card(model), encoding="utf-8")
    if _TABLE.value:
        pathlib.Path(_TABLE.value).write_text(table + "\n", encoding="utf-8")
    n = has_tags(data).sum()
    for name, accuracy in report.accuracy.items():
        print(f"member    {round(accuracy * n)} of {n} tracks right in inner folds  {name}")
    print(f"weights   {', '.join(f'{name} {w:.2f}' for name, w in report.weights.items())}")
    print(f"written   {_OUT.value}")
    return command.Ending(0, command.page_or_prediction(f"--model={_OUT.value}"))


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
    over_time = [tags_of.get(track.id, np.zeros((0, gtzan.NUM_TAGS))) for track in tracks]
    for row, taggram in enumerate(over_time):
        if len(taggram):
            tags[row] = tag_head.summarize([taggram])[0]
    if np.isnan(tags).all():
        raise command.UserError(f"--taggrams {taggrams}: has no track of {arrays}")
    return Data(
        catalog=catalog,
        ids=tuple(track.id for track in tracks),
        x=np.stack([store.waveform(store.row[track.id]) for track in tracks]),
        tags=tags,
        taggrams=tuple(over_time),
        y=np.array([catalog.labels.index(track.label) for track in tracks]),
        artists=tuple(track.artist or track.id for track in tracks),
        features=config.features,
    )


def has_tags(data: Data) -> np.ndarray:
    """Return whether each track has tags, bool [N]."""
    return np.logical_not(np.isnan(data.tags).any(axis=1))


def make_folds(data: Data, *, seed: int) -> np.ndarray:
    """Return the fold [N] of each track with tags, with artists kept whole; -1 for the others."""
    from mgr_jax.classical.held_out import inner_folds

    mask, folds = has_tags(data), np.full(len(data.ids), -1)
    ids = [name for name, kept in zip(data.ids, mask, strict=True) if kept]
    folds[mask] = inner_folds(data.catalog, ids, seed=seed)
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


def cross_validate(data: Data, *, seed: int, recipe: bool) -> "gtzan_text.Run":
    """Return log-probabilities of the tracks with tags by models of other artists.

    Tracks without tags are always learned from; none is of an artist of those with tags, or it is
    left out with them.

    Args:
      data: all tracks.
      seed: seed of the folds and of the views.
      recipe: whether to train the recipe for arrays as well (`configs/gtzan_arrays.py`).
    """
    from experiments import gtzan_text
    from mgr_jax.classical import ensemble, fusion, library, stacking
    from mgr_jax.classical.held_out import inner_folds

    folds, num_classes = make_folds(data, seed=seed), len(data.catalog.labels)
    artists, names = np.array(data.artists), [*gtzan_text.SYSTEMS, *_LENGTHS]
    if not recipe:
        names.remove("recipe")
    log_p = {name: np.zeros((len(folds), num_classes)) for name in names}
    marked = {length: np.zeros((len(folds), len(gtzan_text.MARKS)), bool) for length in _LENGTHS}
    for fold in np.unique(folds[folds >= 0]):
        held_out = folds == fold
        kept = ~held_out & ~np.isin(artists, artists[held_out])
        began = time.monotonic()
        learned, tested = data.rows(kept), data.rows(held_out)
        params, _ = fit(learned, seed=seed)
        parts = fusion.part_scores(params, tested.x, tested.tags)
        one = np.ones(1)
        log_p["spectrogram"][held_out] = stacking.combine(parts[0][None], one)
        log_p["tags"][held_out] = stacking.combine(parts[1][None], one)
        log_p["both"][held_out] = stacking.combine(np.stack(parts), params["weights"])
        for length in _LENGTHS:
            piece = fusion.shorten(tested.x, tested.taggrams, seconds=length)
            log_p[length][held_out] = fusion.log_probabilities(params, *piece)
            seconds = np.full(len(tested.ids), length)
            measures = fusion.strangeness(params, *piece, seconds)
            columns = [measures[name] > 1 for name in gtzan_text.MARKS]
            marked[length][held_out] = np.stack(columns, axis=1)
        if recipe:
            members, _ = ensemble.fit(
                learned.x,
                learned.y,
                inner_folds(data.catalog, learned.ids, seed=seed),
                num_classes=num_classes,
                features=data.features,
                seed=seed,
                listed=library.LISTED,
            )
            log_p["recipe"][held_out] = ensemble.log_probabilities(members, tested.x)
        seconds = time.monotonic() - began
        print(f"fold      {fold} of seed {seed}: {held_out.sum()} tracks, {seconds:.0f} s")
    rows = data.rows(folds >= 0)
    log_p = {name: values[folds >= 0] for name, values in log_p.items()}
    lengths = {length: (log_p.pop(length), marked[length][folds >= 0]) for length in _LENGTHS}
    return gtzan_text.Run(rows.ids, rows.y, rows.artists, log_p, lengths)


def fit_model(data: Data, runs: Sequence["gtzan_text.Run"]) -> tuple["GtzanModel", "fusion.Report"]:
    """Return the model of all tracks, with the figures of the cross-validations as its facts."""
    from experiments import gtzan_text
    from mgr_jax.evaluation import intervals
    from mgr_jax.pretrained.gtzan import GtzanModel

    params, report = fit(data)
    first = runs[0]
    correct, *others = (run.log_p["both"].argmax(axis=1) == run.y for run in runs)
    interval = intervals.accuracy_interval(correct, first.artists)
    error = gtzan_text.calibration_error_of(first, first.log_p["both"])
    facts = {
        "protocol": "artist_kfold",
        "n": len(correct),
        "num_correct": int(correct.sum()),
        "num_groups": len(set(first.artists)),
        "num_correct_other_folds": [int(hits.sum()) for hits in others],
        "ci95_by_artist": interval and [round(end, 6) for end in interval],
        "calibration_error": {k: v and np.round(v, 6).tolist() for k, v in error.items()},
        "num_tracks": len(data.ids),
        "num_with_tags": int(has_tags(data).sum()),
        "held_out_accuracy": {name: round(v, 4) for name, v in report.accuracy.items()},
    }
    return GtzanModel(data.catalog.labels, params, data.ids, facts, to_calibration(first)), report


def to_calibration(run: "gtzan_text.Run") -> dict[str, Any]:
    """Return the values of `GtzanModel.calibration`: the tracks of a cross-validation."""
    from mgr_jax.evaluation import conformal

    tracks = conformal.make_calibration(run.log_p["both"], run.y, run.artists, "train")
    return conformal.to_json(tracks)


if __name__ == "__main__":
    command.run(main)
