"""Scored tracks: a system with the audio of a part, its own or that of another data set."""

import copy
import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import hearing, predictor, runs, workdir
from mgr_jax.data import batches, clips, folds, splits
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.evaluation.reports import wording
from mgr_jax.features import array_spectrogram
from mgr_jax.plural import plural
from mgr_jax.version import VERSION

_SHOWN = 3


class Scored(NamedTuple):
    """A system and the tracks that it is scored on.

    Attributes:
      name: of the system.
      run: the workdir, for the report.
      dataset: has the part.
      part: `train`, `valid` or `test`.
      score: part -> log-probabilities [N, C] of its tracks.
      step: of the checkpoint.
      notes: remarks for the reader, a clause each.
    """

    name: str
    run: workdir.Run
    dataset: dataset_lib.Dataset
    part: str
    score: Callable[[batches.Part], np.ndarray]
    step: int
    notes: tuple[str, ...] = ()

    @property
    def tracks(self) -> list[Track]:
        """Return the scored tracks, in the order of the scores."""
        track_of = {track.id: track for track in self.dataset.catalog.tracks}
        return [track_of[name] for name in self.dataset.parts[self.part].ids]

    def classes(self) -> np.ndarray:
        """Return the classes of the tracks [N], as indices of the model's labels."""
        return np.array([self.run.labels.index(track.label) for track in self.tracks], int)

    def groups(self) -> dict[str, Any]:
        """Return `groups`, that of each track, and `grouped_by`, as comparisons take them."""
        tracks = self.tracks
        group_of = folds.group_ids(tracks)
        by = "artist" if any(track.artist for track in tracks) else "recording"
        return {"groups": [group_of[track.id] for track in tracks], "grouped_by": by}

    def facts(self) -> dict[str, Any]:
        """Return what a report says of the system and its tracks."""
        return {
            "system": self.name,
            "data": self.dataset.catalog.name,
            "part": self.part,
            "protocol": self.run.split.protocol,
            "checkpoint_step": self.step,
            "notes": list(self.notes),
            "mgr_jax": VERSION,
        }


def open_run(model: predictor.Predictor, part: str, config: config_lib.Config) -> Scored:
    """Return a trained system with a part of its split; see `runs.open_part`."""
    dataset = runs.open_part(model.run, part, config)
    run = dataclasses.replace(model.run, config=config)  # The data of overrides.
    name = model.config.model.name
    notes = wording.heard_before(model.run.split.protocol, part, name)
    return Scored(name, run, dataset, part, model.score_tracks, model.step, notes)


def open_gtzan(
    model: predictor.Predictor,
    trained_on: tuple[str, ...],
    data: config_lib.Data,
    part: str,
    folder: str | os.PathLike,
) -> Scored:
    """Return the GTZAN model with the tracks of an audio data set that it was not trained on.

    They are those of `part` where the data set comes with parts, else all. Tracks of GTZAN that the
    model was trained on are recognised by their names, and left out.

    Args:
      model: the loaded model.
      trained_on: names of the tracks that it was trained on.
      data: the data set; clips of 30 s, unless it gives another length.
      part: `train`, `valid` or `test`.
      folder: for the report.

    Raises:
      UserError: if the data set cannot be read, has no track of the part but what the model was
        trained on, or a class that the model does not know.
    """
    config = copy.deepcopy(model.config)
    config.data = dataclasses.replace(data)
    if data.clip_seconds == config_lib.Data.clip_seconds and not data.clip_samples:
        config.data.clip_samples = array_spectrogram.NUM_SAMPLES
    where = f"--config.data.root {data.root or data.name}"
    catalog, store = dataset_lib.open_catalog(config)
    print(dataset_lib.describe_clips(catalog, store), flush=True)
    tracks = [track for track in catalog.tracks if track.id in store.row]
    if any(track.part for track in tracks):
        tracks = [track for track in tracks if track.part == part]
        if not tracks:
            raise UserError(f"{where}: has no track of part {part!r}; set --split to one it has")
    learned = {*trained_on}
    known = [t.id for t in tracks if {t.id, pathlib.PurePath(t.path).stem} & learned]
    tracks = [track for track in tracks if track.id not in {*known}]
    if not tracks:
        raise UserError(
            f"{where}: the model was trained on all of its tracks; give music it has not heard"
        )
    unknown = sorted({track.label for track in tracks} - {*model.labels})
    if unknown:
        raise UserError(
            f"{where}: class {unknown[0]!r} is unknown to the model, which knows"
            f" {', '.join(model.labels)}; give folders of these names"
        )
    notes = [
        f"the model was trained on {len(trained_on)} tracks of GTZAN, which are recognised by their"
        " names alone: whether other files are the same music is not known"
    ]
    if known:
        more = ", ..." if known[_SHOWN:] else ""
        notes.insert(
            0,
            f"{plural(len(known), 'track')} left out, by the names of tracks that the model was"
            f" trained on ({', '.join(known[:_SHOWN])}{more})",
        )
    ids = tuple(track.id for track in tracks)
    split = splits.Split(
        splits.IMPORTED, **(dict.fromkeys(("train", "valid", "test"), ()) | {part: ids})
    )
    record = {"data_hash": catalog.hash(), "split_hash": split.hash()}
    run = workdir.Run(pathlib.Path(folder), config, model.labels, split, record)
    label_of = {track.id: track.label for track in catalog.tracks}
    parts = {part: batches.make_part(store, ids, label_of, catalog.labels)}
    dataset = dataset_lib.Dataset(catalog, store, split, parts)
    return Scored("GTZAN model", run, dataset, part, make_score(model), 0, tuple(notes))


def make_score(model: predictor.Predictor) -> Callable[[batches.Part], np.ndarray]:
    """Return the function from a part with audio to the log-probabilities [N, C] of its tracks."""

    def score(part: batches.Part) -> np.ndarray:
        return tracks_lib.score_tracks(
            lambda batch: model.score_audio(batch).log_probabilities,
            part,
            batch_size=model.batch_size,
            window=hearing.window_length(model.config),
        )

    return score


def check_scores(scores: np.ndarray, flag: str) -> np.ndarray:
    """Return scores [N, C]; raise `UserError`, which names `flag`, if there is a NaN."""
    if np.isnan(scores).any():
        raise UserError(f"{flag}: the model gives no numbers for some tracks; train it anew")
    return scores


def check_audio(dataset: dataset_lib.Dataset, flag: str) -> clips.Clips:
    """Return the clip store of `dataset`; raise `UserError`, which names `flag`, if it has none."""
    store = dataset.clips
    if not isinstance(store, clips.Clips):
        raise UserError(
            f"{flag}: data.root of {dataset.catalog.name} holds no audio; give a system that was"
            " trained on audio, or --model=gtzan"
        )
    return store
