"""The artists and recordings that a model was trained on, to check tracks of another file."""

from collections.abc import Mapping, Sequence

from mgr_jax.data import gtzan
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.folds import name_key
from mgr_jax.data.splits import Split

_FIELDS = ("artist", "recording")

# `artist` and `recording` -> names, without empty ones.
Names = Mapping[str, Sequence[str]]


def names(catalog: Catalog, split: Split) -> dict[str, list[str]]:
    """Return the artists and recordings of the training and the validation part, sorted."""
    ids = {*split.train, *split.valid}
    tracks = [track for track in catalog.tracks if track.id in ids]
    return {field: sorted({getattr(t, field) for t in tracks} - {""}) for field in _FIELDS}


def knows_artists(learned: Names, split: Split) -> bool:
    """Return whether any artist of the training data is known, so that others can be compared."""
    return bool(learned.get("artist")) or any(name in gtzan.facts() for name in _ids(split))


def shared(learned: Names, split: Split, tracks: Sequence[Track]) -> dict[str, tuple[str, ...]]:
    """Return the artists and recordings of `tracks` that a model was trained on, sorted.

    Names are compared without case and white space. Tracks with ids of GTZAN are also compared by
    the groups of `gtzan.facts`, since two files may name an artist differently.

    Args:
      learned: the `names` of the data that the model was trained on.
      split: the split of that data.
      tracks: the tracks to score, of another file.
    """
    facts, matches = gtzan.facts(), {}
    for field in _FIELDS:
        keys = {name_key(name) for name in learned.get(field, ())}
        groups = {getattr(facts[name], field) for name in _ids(split) if name in facts}
        names_in_both = set()
        for track in tracks:
            own = getattr(track, field)
            group = getattr(facts[track.id], field) if track.id in facts else ""
            if (own and name_key(own) in keys) or group in groups:
                names_in_both.add(own or group)
        matches[field] = tuple(sorted(names_in_both))
    return matches


def _ids(split: Split) -> tuple[str, ...]:
    return split.train + split.valid
