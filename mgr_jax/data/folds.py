"""Folds: every track in one of k test parts, at random or with artists and recordings kept whole.

All arithmetic is on integers and all draws are SHA-256 of seed and id: the folds are the same on
every machine, with every version of any library and for any order of the tracks.
"""

import collections
import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.errors import UserError

PROTOCOLS = ("kfold", "artist_kfold")
# Above this many groups, moving single groups balances well and swapping pairs takes long.
_MAX_SWAPPED = 1000
# Validation tracks: one in so many of the whole data set, as in `holdout`.
_VALID_ONE_IN = 10


def name_key(name: str) -> str:
    """Return `name` without case and white space, in compatible Unicode, to compare spellings."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def label_conflicts(tracks: Iterable[Track]) -> tuple[tuple[str, ...], ...]:
    """Return the ids of the tracks of each recording that has more than one label, sorted."""
    ids, labels = collections.defaultdict(list), collections.defaultdict(set)
    for track in tracks:
        if track.recording:
            ids[name_key(track.recording)].append(track.id)
            labels[name_key(track.recording)].add(track.label)
    return tuple(sorted(tuple(sorted(ids[key])) for key, names in labels.items() if len(names) > 1))


def artist_groups(tracks: Iterable[Track]) -> list[list[Track]]:
    """Return groups of tracks linked by artist or recording, transitively; sorted by id.

    Names are compared by `name_key`. A track of unknown artist and recording is a group of one.
    """
    tracks = sorted(tracks, key=lambda track: track.id)
    parent = list(range(len(tracks)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, track in enumerate(tracks):
        for field in ("artist", "recording"):
            key = name_key(getattr(track, field))
            if key:
                parent[root(i)] = root(first.setdefault((field, key), i))
    groups = collections.defaultdict(list)
    for i, track in enumerate(tracks):
        groups[root(i)].append(track)
    return sorted(groups.values(), key=lambda group: group[0].id)


def group_ids(tracks: Iterable[Track]) -> dict[str, str]:
    """Return track id -> id of the first track of its group in `artist_groups`."""
    return {track.id: group[0].id for group in artist_groups(tracks) for track in group}


def assign_folds(catalog: Catalog, *, protocol: str, num_folds: int, seed: int) -> dict[str, int]:
    """Return track id -> fold `0..num_folds - 1`, sorted by id.

    Args:
      catalog: the tracks.
      protocol: `kfold`: a random draw; the sizes of the folds, in each class and in all, differ by
        one track at most. `artist_kfold`: `artist_groups` stay whole, and the folds are as equal
        in size and in every class as a greedy assignment with local search makes them; tracks of
        a recording with two labels are in no fold.
      num_folds: k, 2 or more.
      seed: seed of the draw.

    Raises:
      UserError: if a class has fewer tracks (`kfold`) or fewer groups (`artist_kfold`) than folds.
    """
    if num_folds < 2:
        raise UserError(f"data.num_folds is {num_folds}; give 2 or more")
    if protocol == "kfold":
        folds = _deal(catalog, num_folds, seed)
    else:
        folds = _assign_groups(catalog, num_folds, seed)
    return dict(sorted(folds.items()))


def valid_tracks(
    tracks: Sequence[Track], *, protocol: str, num_folds: int, fold: int, seed: int
) -> set[str]:
    """Return the validation ids among `tracks`, those of all folds but `fold`, by the same rule.

    They are about a tenth of the whole data set; every class keeps a track (a group) to train on.
    """
    if protocol == "kfold":
        valid = set()
        for label, ids in _ids_by_label(tracks).items():
            ids.sort(key=lambda name: _draw("kfold valid", seed, num_folds, fold, name))
            size = len(ids) * num_folds  # Size of the whole class, times k - 1.
            count = (2 * size + _VALID_ONE_IN * (num_folds - 1)) // (
                2 * _VALID_ONE_IN * (num_folds - 1)
            )
            if len(ids) < 2:
                raise UserError(
                    f"data.protocol 'kfold': class {label!r} has {len(ids)} track(s) besides fold"
                    f" {fold}; it needs 2 or more, one each to train and validate on"
                )
            valid.update(ids[: min(max(1, count), len(ids) - 1)])
        return valid
    groups = artist_groups(tracks)
    # A tenth of the whole is k / (10 (k - 1)) of all folds but the test fold.
    shares = (_VALID_ONE_IN * (num_folds - 1) - num_folds, num_folds)
    bins = _balance(groups, shares, ("artist_kfold valid", seed, num_folds, fold))
    return {track.id for group, where in zip(groups, bins, strict=True) if where for track in group}


def _deal(catalog: Catalog, num_folds: int, seed: int) -> dict[str, int]:
    by_label = _ids_by_label(catalog.tracks)
    _check_counts(catalog, {k: len(v) for k, v in by_label.items()}, "kfold", num_folds)
    folds: dict[str, int] = {}
    for label in catalog.labels:
        ranked = sorted(by_label[label], key=lambda name: _draw("kfold", seed, num_folds, name))
        # Each class continues where the previous one ended, so that the totals differ by one, too.
        start = len(folds)
        folds |= {name: (start + rank) % num_folds for rank, name in enumerate(ranked)}
    return folds


def _assign_groups(catalog: Catalog, num_folds: int, seed: int) -> dict[str, int]:
    conflicting = {name for ids in label_conflicts(catalog.tracks) for name in ids}
    # Grouped before they are left out: a track that is left out still links its artists.
    groups = [
        [track for track in group if track.id not in conflicting]
        for group in artist_groups(catalog.tracks)
    ]
    groups = [group for group in groups if group]
    counts = collections.Counter(label for g in groups for label in {track.label for track in g})
    _check_counts(catalog, counts, "artist_kfold", num_folds)
    bins = _balance(groups, (1,) * num_folds, ("artist_kfold", seed, num_folds))
    return {track.id: where for group, where in zip(groups, bins, strict=True) for track in group}


def _check_counts(
    catalog: Catalog, counts: Mapping[str, int], protocol: str, num_folds: int
) -> None:
    what = "artist group(s)" if protocol == "artist_kfold" else "readable track(s)"
    for label in catalog.labels:
        count = counts.get(label, 0)
        if count < num_folds:
            least = f"use data.num_folds={count}" if count > 1 else "add tracks of other artists"
            if count < 2 and protocol == "kfold":
                least = "add tracks"
            raise UserError(
                f"data.protocol {protocol!r}: class {label!r} has {count} {what}, fewer than"
                f" data.num_folds {num_folds}; {least}, or another protocol"
            )


def _balance(
    groups: Sequence[Sequence[Track]], shares: Sequence[int], draw: tuple[object, ...]
) -> list[int]:
    """Return a bin for each group, such that each has its share of every class and of all tracks.

    Largest groups first, each to the bin where it costs least; then single groups are moved, and
    pairs of a class swapped, as long as that lowers the cost: bins that lack a class, and then the
    squared deviation of each bin from its share, relative to the size of the class.
    """
    sizes: list[collections.Counter[str | None]] = [
        collections.Counter(track.label for track in group) for group in groups
    ]
    for size in sizes:
        size[None] = size.total()  # All tracks together are balanced like one more class.
    total = sum(sizes, collections.Counter())
    whole = sum(shares)
    weight = {label: 10**6 // count + 1 for label, count in total.items()}
    filled = [collections.Counter() for _ in shares]
    # A missing class costs more than all imbalance together.
    missing = 10**7 * whole**2 * max(1, total[None]) ** 2

    def cost(label: str | None, where: int, count: int, empty: int) -> int:
        deviation = whole * count - shares[where] * total[label]
        return deviation**2 * weight[label] + (0 if count else empty)

    def change(i: int, where: int, sign: int, empty: int = missing) -> int:
        """Return the rise of the cost if group `i` is put into a bin (or taken out of it)."""
        counts = filled[where]
        return sum(
            cost(label, where, counts[label] + sign * n, empty)
            - cost(label, where, counts[label], empty)
            for label, n in sizes[i].items()
        )

    def put(i: int, where: int, sign: int) -> None:
        for label, n in sizes[i].items():
            filled[where][label] += sign * n

    drawn = [_draw(*draw, group[0].id) for group in groups]
    order = sorted(range(len(groups)), key=lambda i: (-sizes[i][None], drawn[i]))
    # Each group tries the bins in its own random order, which decides between equally good ones.
    tried = [sorted(range(len(shares)), key=lambda b: _draw(name, b)) for name in drawn]
    bins = [0] * len(groups)
    for i in order:
        # A missing class costs nothing yet: the largest groups would go into the smallest bin.
        bins[i] = min(tried[i], key=lambda where: change(i, where, 1, 0))
        put(i, bins[i], 1)

    def move(i: int) -> bool:
        here = bins[i]
        rise, best = min(
            ((change(i, b, 1), b) for b in tried[i] if b != here), key=lambda pair: pair[0]
        )
        if rise + change(i, here, -1) >= 0:
            return False
        put(i, here, -1)
        put(i, best, 1)
        bins[i] = best
        return True

    def swap(i: int, j: int) -> bool:
        here, there = bins[i], bins[j]
        if here == there:
            return False
        steps = ((i, here, -1), (j, there, -1), (i, there, 1), (j, here, 1))
        rise = 0
        for step in steps:
            rise += change(*step)
            put(*step)
        if rise < 0:
            bins[i], bins[j] = there, here
            return True
        for group, where, sign in steps:
            put(group, where, -sign)
        return False

    pairs = []
    if len(groups) <= _MAX_SWAPPED:
        labels = [size.keys() - {None} for size in sizes]
        pairs = [
            (i, j)
            for n, i in enumerate(order)
            for j in order[:n]
            if labels[i] & labels[j] and sizes[i] != sizes[j]
        ]
    # The cost is an integer and falls at every step, so that the loop ends.
    changed = True
    while changed:
        changed = sum(move(i) for i in order) > 0 or sum(swap(i, j) for i, j in pairs) > 0
    return bins


def _ids_by_label(tracks: Iterable[Track]) -> dict[str, list[str]]:
    ids = collections.defaultdict(list)
    for track in tracks:
        ids[track.label].append(track.id)
    return dict(sorted(ids.items()))


def _draw(*what: object) -> bytes:
    return hashlib.sha256("/".join(map(str, what)).encode()).digest()
