"""A workdir made by hand, its data set, and an evaluation of it."""

import dataclasses
import pathlib

import numpy as np

from mgr_jax.data import batches, catalog, clips, dataset, splits
from mgr_jax.evaluation.reports import report

LABELS = ("blues", "drum | bass", "rock, soft")
PER_CLASS = 8


def make_dataset(*, labels=LABELS, broken=()):
    """A data set of 24 tracks; those of `broken` cannot be read."""
    tracks = tuple(
        catalog.Track(
            f"{i}|{label}", f"/home/x/{i} <b>.wav", label, artist=f"{label} {(i + 1) // 3}"
        )
        for i in range(PER_CLASS)
        for label in labels
    )
    tracks = tuple(sorted(tracks, key=lambda track: track.id))
    songs = catalog.Catalog("folder", tracks, tuple(sorted(labels)))
    records = tuple(
        clips.Record(t.id, length=10, error="is silent" if t.id in broken else "") for t in tracks
    )
    store = clips.Clips(np.zeros((len(tracks), 10), np.int16), records, 8000, pathlib.Path())
    parts = {t.id: ("test", "test", "valid", "train")[int(t.id[0]) % 4] for t in tracks}
    split = splits.make_split(
        dataclasses.replace(
            songs, tracks=tuple(dataclasses.replace(t, part=parts[t.id]) for t in tracks)
        ),
        protocol="listed",
    )
    label_of = {t.id: t.label for t in tracks}
    parts_by_name = {
        part: batches.make_part(
            store, [n for n in getattr(split, part) if n in store.row], label_of, songs.labels
        )
        for part in catalog.PARTS
    }
    return dataset.Dataset(songs, store, split, parts_by_name)


def make_scores(n, seed=0):
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(3), n))


def write(run, data, part="test", seed=0, step=40):
    scores = make_scores(len(data.parts[part].ids), seed)
    return report.write_report(run, data, part, scores, checkpoint_step=step), scores
