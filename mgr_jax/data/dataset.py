"""A data set ready for training: catalog, clip store, split and the parts that can be read."""

import collections
import dataclasses
import os
from collections.abc import Mapping

from mgr_jax import config as config_lib
from mgr_jax.data import arrays, batches, clips, embeddings, shards, splits
from mgr_jax.data import learned as learned_lib
from mgr_jax.data.catalog import PARTS, Catalog
from mgr_jax.data.clip_writer import file_hash
from mgr_jax.data.sources import make_catalog
from mgr_jax.errors import UserError
from mgr_jax.escape import printable

Store = clips.Clips | arrays.Arrays

_SHOWN = 5  # Files of one note.


@dataclasses.dataclass(frozen=True)
class Dataset:
    """`catalog` has every track, `split` only those that can be read; `parts` follows `split`."""

    catalog: Catalog
    clips: Store
    split: splits.Split
    parts: Mapping[str, batches.Part]


def open_catalog(config: config_lib.Config) -> tuple[Catalog, Store]:
    """Return the tracks that `config.data` names, and their clip store, decoded where needed.

    Raises:
      UserError: if there are no tracks, or none can be read.
    """
    data, length = config.data, config_lib.clip_length(config)
    rate = config.features.sample_rate
    if data.name == "gtzan_facts":
        raise UserError(
            "data.name 'gtzan_facts' has no audio and serves experiments.audit alone; set"
            " data.name=gtzan and data.root"
        )
    if data.name == "shards":
        catalog, store = shards.open_shards(data.root, sample_rate=rate, clip_samples=length)
    elif data.name == "arrays":
        catalog = make_catalog(data)
        store = arrays.open_arrays(
            data.root,
            num_frames=length,
            num_bins=config.features.num_bins,
            sample_rate=config_lib.samples_per_second(config),
        )
    elif data.name == "embeddings":
        catalog, store = make_catalog(data), embeddings.open_embeddings(data.root)
    else:
        catalog = make_catalog(data)
        store = clips.open_clips(
            catalog,
            sample_rate=rate,
            clip_samples=length,
            cache=data.cache,
            num_workers=data.num_workers,
        )
    if not store.row:
        name, error = next(iter(store.errors().items()))
        raise UserError(
            f"data.root {data.root}: none of {len(catalog.tracks)} files can be read"
            f" ({name}: {error}); check the folder"
        )
    if isinstance(store, clips.Clips):
        content = store.content()
    else:  # One file, wherever it lies, holds all tracks.
        content = {"data.root": file_hash(os.path.expanduser(data.root))}
    return dataclasses.replace(catalog, content=content), store


def open_dataset(config: config_lib.Config) -> Dataset:
    """Return the data set of `config`: decode what is not yet decoded, and split what can be read.

    Raises:
      UserError: see `open_catalog` and `splits.make_split`.
    """
    return split_dataset(config, *open_catalog(config))


def label_conflicts(catalog: Catalog) -> list[tuple[str, ...]]:
    """Return the ids of the tracks of each file, by its bytes, that has more than one label."""
    by_content = collections.defaultdict(list)
    for track in catalog.tracks:
        if track.id in catalog.content:
            by_content[catalog.content[track.id]].append(track)
    return [
        tuple(track.id for track in tracks)
        for tracks in by_content.values()
        if len({track.label for track in tracks}) > 1
    ]


def split_dataset(config: config_lib.Config, catalog: Catalog, store: Store) -> Dataset:
    """Return the data set of `open_dataset` for an open catalog and store.

    The same file under two labels is in no part, but for the published split of GTZAN.

    Raises:
      UserError: see `splits.make_split`.
    """
    num_folds = config.data.num_folds
    stored = tuple(track for track in catalog.tracks if track.id in store.row)
    protocol = splits.choose_protocol(
        config.data.protocol, dataclasses.replace(catalog, tracks=stored), num_folds=num_folds
    )
    # The published split of GTZAN has one of each pair, by its authors' choice.
    conflicts = [] if protocol == "fault_filtered" else label_conflicts(catalog)
    in_conflict = {name for ids in conflicts for name in ids}
    readable = tuple(track for track in stored if track.id not in in_conflict)
    if not readable:
        raise UserError(
            f"data.root {config.data.root}: every file is there under two labels, such as"
            f" {' = '.join(conflicts[0][:2])}; correct the labels"
        )
    # The test part of arrays may be in another file.
    is_array = config.data.name in config_lib.ARRAY_NAMES
    split = splits.make_split(
        dataclasses.replace(catalog, tracks=readable),
        protocol=protocol,
        fold=config.data.fold,
        seed=config_lib.split_seed(config.data),
        num_folds=num_folds,
        refit=config.train.refit,
        needs_test=not (is_array and protocol == "listed"),
    )
    parts = {part: _part(catalog, store, getattr(split, part)) for part in PARTS}
    return Dataset(catalog, store, split, parts)


def open_part(
    config: config_lib.Config,
    split: splits.Split,
    part: str,
    *,
    learned: learned_lib.Names | None = None,
) -> Dataset:
    """Return the data set of an earlier run: its own split, and only `part` of it as `parts`.

    Tracks of the part that are missing now are absent from `catalog`, and those that cannot be read
    are in `clips.errors()`; the caller reports them. An imported model has no split: its part is
    all tracks. An array file that has none of the part's tracks is a different data set, and its
    own `split` field says which tracks are scored. The `split` of the result then has these tracks
    as this part, with the artists and recordings that they share with `learned`, the names that
    the model was trained on.

    Raises:
      UserError: if no track of the part is there, or the model was trained on tracks of another
        array file that would be scored.
    """
    catalog, store = open_catalog(config)
    if config.data.name in config_lib.ARRAY_NAMES:
        split = _other_arrays(config, catalog, split, part, learned or {})
    part_ids = list(store.row) if split.protocol == splits.IMPORTED else getattr(split, part)
    ids = [name for name in part_ids if name in store.row]
    if not ids:
        raise UserError(
            f"data.root {config.data.root}: it has no track of part {part!r} of this workdir;"
            " point data.root at the data set that the model was split on"
        )
    return Dataset(catalog, store, split, {part: _part(catalog, store, ids)})


def _other_arrays(
    config: config_lib.Config,
    catalog: Catalog,
    split: splits.Split,
    part: str,
    learned: learned_lib.Names,
) -> splits.Split:
    """Return `split`, with the tracks of a file that the model has never seen as `part`."""
    listed = {track.id for track in catalog.tracks if track.part == part}
    present = {track.id for track in catalog.tracks}
    if not listed or present & set(getattr(split, part)):
        return split
    known = sorted(listed & {*split.train, *split.valid})
    if known:
        more = f" and {len(known) - 3} more" if len(known) > 3 else ""
        raise UserError(
            f"data.root {config.data.root}: the model was trained on {', '.join(known[:3])}{more}"
            f" of its part {part!r}; take them out, or score another part"
        )
    tracks = [track for track in catalog.tracks if track.id in listed]
    shared = learned_lib.shared(learned, split, tracks)
    return dataclasses.replace(
        split,
        **{part: tuple(sorted(listed))},
        shared_artists=shared["artist"],
        shared_recordings=shared["recording"],
    )


def _part(catalog: Catalog, store: Store, ids: tuple[str, ...] | list[str]) -> batches.Part:
    label_of = {track.id: track.label for track in catalog.tracks}
    return batches.make_part(store, ids, label_of, catalog.labels)


def describe(dataset: Dataset) -> str:
    """Return lines for a terminal: counts, every skipped file, what is shared between parts."""
    split = dataset.split
    sizes = ", ".join(f"{len(getattr(split, part))} {part}" for part in PARTS)
    tracks = describe_clips(dataset.catalog, dataset.clips)
    return f"{tracks}\nsplit     {split.protocol}: {sizes}{_leaks(split)}"


def describe_clips(catalog: Catalog, store: Store) -> str:
    """Return lines for a terminal: counts of tracks, and every skipped or odd file."""
    if isinstance(store, embeddings.Embeddings):
        extent = store.describe()
    else:
        extent = f" of {store.samples.shape[1] / store.sample_rate:g} s"
    lines = [
        f"data      {catalog.name}: {len(store.row)} of {len(catalog.tracks)} tracks{extent},"
        f" {len(catalog.labels)} classes"
    ]
    lines += [f"          {count} left aside: {why}" for why, count in catalog.skipped]
    if conflicts := label_conflicts(catalog):
        names = "; ".join(" = ".join(ids) for ids in conflicts[:_SHOWN])
        more = f"; and {len(conflicts) - _SHOWN} more" if conflicts[_SHOWN:] else ""
        count = sum(map(len, conflicts))
        why = "the same file under two labels"
        lines.append(f"          {count} in no part that is drawn: {why}: {names}{more}")
    errors, notes = store.errors(), store.notes()
    if errors:
        lines.append(f"          {len(errors)} track(s) skipped:")
        lines += [f"            {name}: {printable(reason)}" for name, reason in errors.items()]
    if notes:
        lines.append(f"          {len(notes)} track(s) used although odd:")
        by_note = collections.defaultdict(list)
        for name, note in notes.items():
            by_note[note].append(name)
        for note, names in by_note.items():
            more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
            lines.append(f"            {', '.join(names[:_SHOWN])}{more}: {printable(note)}")
    return "\n".join(lines)


def _leaks(split: splits.Split) -> str:
    artists, recordings = len(split.shared_artists), len(split.shared_recordings)
    left = f", {len(split.left_out)} left out" if split.left_out else ""
    if left and split.protocol == "artist_kfold":
        left += f" (same audio under two labels: {', '.join(split.left_out[:6])})"
    if not artists and not recordings:
        return left
    return f"{left}; LEAKS: {artists} artist(s) and {recordings} recording(s) on both sides of test"
