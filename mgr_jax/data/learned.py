"""Whether tracks of another file are new to a model: the artists and recordings it learned from."""

from collections.abc import Mapping, Sequence

from mgr_jax.data import gtzan
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.folds import name_key
from mgr_jax.data.splits import Split

_FIELDS = ("artist", "recording")

# `artist` and `recording` -> their names, without empty ones.
Names = Mapping[str, Sequence[str]]


def names(catalog: Catalog, split: Split) -> dict[str, list[str]]:
    """Artists and recordings of the tracks in the training and the validation part, sorted."""
    ids = {*split.train, *split.valid}
    tracks = [track for track in catalog.tracks if track.id in ids]
    return {field: sorted({getattr(t, field) for t in tracks} - {""}) for field in _FIELDS}


def knows_artists(learned: Names, split: Split) -> bool:
    """Whether an artist is known of what was learned, so that others can be compared with it."""
    return bool(learned.get("artist")) or any(name in gtzan.facts() for name in _ids(split))


def shared(learned: Names, split: Split, tracks: Sequence[Track]) -> dict[str, tuple[str, ...]]:
    """Artists and recordings of `tracks` that a model has learned from, sorted.

    Names are compared without case and white space. Tracks named as GTZAN's are also compared by
    what is known of that data set, since two files may name an artist differently.

    Args:
      learned: the `names` of the data that the model learned from.
      split: its split.
      tracks: those to be scored, of another file.
    """
    known, found = gtzan.facts(), {}
    for field in _FIELDS:
        keys = {name_key(name) for name in learned.get(field, ())}
        groups = {getattr(known[name], field) for name in _ids(split) if name in known}
        hits = set()
        for track in tracks:
            own = getattr(track, field)
            group = getattr(known[track.id], field) if track.id in known else ""
            if (own and name_key(own) in keys) or group in groups:
                hits.add(own or group)
        found[field] = tuple(sorted(hits))
    return found


def _ids(split: Split) -> tuple[str, ...]:
    return split.train + split.valid
