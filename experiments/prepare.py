"""Decode and check a data set ahead of time: `python -m experiments.prepare --config=FILE`.

A large collection is written as shards, each by a process or machine of its own, in any order:

    python -m experiments.prepare --config=FILE --shards=DIR --shard=I/N    (I from 0 to N - 1)
    python -m experiments.prepare --config=FILE --shards=DIR --check

The same command again does nothing more, and goes on after a kill. `--check` names every shard that
is missing, damaged or made from other files than there are now. Training reads the shards, without
the files that they were made from, with `data.name=shards` and `data.root=DIR`.

`--check` without shards compares every file and clip with the hashes of the decoding: one that was
replaced or damaged is named. `--verify` compares the files with the checksums of `data.facts`;
`--wav=DIR` writes the clips as WAV files in class folders, which `data.name=folder` reads: so the
embedded band can be heard.

`--clean` only removes from the cache folder what was used least recently, decoded clips of changed
files among it, until `--clean_gb` are left; stop commands that are reading clips first.
"""

import errno
import hashlib
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import command
from mgr_jax import config as config_lib
from mgr_jax.escape import printable

_CONFIG = command.define_config()
_VERIFY = flags.DEFINE_bool("verify", False, "Compare files with the checksums of data.facts.")
_WAV = flags.DEFINE_string("wav", None, "Folder to write the clips to, as <class>/<id>.wav.")
_SHARDS = flags.DEFINE_string("shards", None, "Folder of shards, to write to or to check.")
_SHARD = flags.DEFINE_string("shard", None, "I/N: write shard I, 0 to N - 1, of N.")
_CHECK = flags.DEFINE_bool(
    "check", False, "Check that all shards are the whole collection, or clips and files unchanged."
)
_CLEAN = flags.DEFINE_bool("clean", False, "Make the cache folder smaller, and do nothing else.")
_CLEAN_GB = flags.DEFINE_float("clean_gb", 20.0, "Gigabytes that --clean leaves.", 0.0)


def main(argv: Sequence[str]) -> command.Ending:
    """Prepare or check; the code is 1 if `--verify` or `--check` finds a fault."""
    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)
    same = ("prepare", *command.config_arguments())
    if _CLEAN.value:
        return command.Ending(_clean(config.data.cache), same, on_host=True)
    is_sharded = config.data.name == "shards"
    if _SHARDS.value is not None or _SHARD.value is not None or (_CHECK.value and is_sharded):
        code = _prepare_shards(config)
        return command.Ending(code, _after_shards(config, code), on_host=True)
    code = _prepare_clips(config)
    if code:
        next_command = (*same, "--check")
    elif _WAV.value:
        next_command = ("predict", _WAV.value)
    else:
        next_command = ("audit", *same[1:])
    return command.Ending(code, next_command, on_host=True)


def _after_shards(config: config_lib.Config, code: int) -> tuple[str, ...]:
    """Return the command that writes the next shard, checks them all, or trains on them."""
    if config.data.name == "shards":
        return command.training(config)
    shards = ("prepare", *command.config_arguments(), f"--shards={_SHARDS.value}")
    if _SHARD.value:
        index, count = map(int, _SHARD.value.split("/"))
        return (*shards, f"--shard={index + 1}/{count}" if index + 1 < count else "--check")
    if code:
        return (*shards, "--check")
    overrides = ("--config.data.name=shards", f"--config.data.root={_SHARDS.value}")
    return command.training(config, *overrides)


def _prepare_clips(config: config_lib.Config) -> int:
    """Decode the clips, and check, verify or write them as WAV; return the exit code."""
    is_sharded = config.data.name == "shards"

    from mgr_jax import progress
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.data import gtzan, shards
    from mgr_jax.data.clips import Clips

    if _VERIFY.value and not config.data.facts:
        raise command.UserError(
            "data.facts is empty; --verify needs a CSV with track_id and md5, or mirdata's index of"
            " GTZAN (gtzan_genre_index_1.0.json)"
        )
    known = gtzan.read_checksums(config.data.facts) if _VERIFY.value else {}
    catalog, clips = dataset_lib.open_catalog(config)
    print(dataset_lib.describe_clips(catalog, clips))
    folder = getattr(clips, "folder", config.data.root)  # An array file is its own store.
    print(f"store     {folder} ({clips.samples.nbytes / 1e6:.0f} MB)")
    if _WAV.value:
        with progress.Progress("wav", "clips"):
            written = _write_wavs(catalog, clips, pathlib.Path(_WAV.value))
        print(f"wav       {written} clips in {_WAV.value}")
    if _CHECK.value:
        with progress.Progress("check", "files and clips"):
            faults = clips.find_faults(catalog) if isinstance(clips, Clips) else []
        for fault in faults:
            print(f"fault     {printable(fault)}")
        print(f"check     {len(catalog.tracks)} file(s) and clips, {len(faults)} fault(s)")
        if faults or not _VERIFY.value:
            return 1 if faults else 0
    if not _VERIFY.value:
        return 0
    with progress.Progress("verify", "checksums of files"):
        sums = shards.read_checksums(config.data.root) if is_sharded else _checksums(catalog.tracks)
    return _verify(catalog.tracks, known, sums)


def _prepare_shards(config: config_lib.Config) -> int:
    """Write one shard, or with `--check` print what is wrong with all of them."""
    from mgr_jax import progress
    from mgr_jax.data import shard_writer
    from mgr_jax.data.sources import make_catalog

    data, folder = config.data, _SHARDS.value
    if data.name == "shards":
        if folder or not _CHECK.value:
            raise command.UserError(
                "data.name is 'shards': they are written already; --check alone checks data.root"
            )
        folder = data.root
    if not folder:
        raise command.UserError("--shards is empty; name the folder of the shards")
    if (_SHARD.value is None) != _CHECK.value or _VERIFY.value or _WAV.value:
        raise command.UserError("--shards takes either --shard=I/N or --check, and nothing else")
    if data.name in ("arrays", "embeddings", "gtzan_facts"):
        raise command.UserError(f"data.name {data.name!r} has no audio to make shards of")
    shard = re.fullmatch(r"(\d+)/(\d+)", _SHARD.value or "0/1")
    if not shard:
        raise command.UserError(f"--shard is {_SHARD.value!r}; give I/N, such as 0/16")
    settings = {
        "sample_rate": config.features.sample_rate,
        "clip_samples": config_lib.clip_length(config),
    }
    if _CHECK.value:
        catalog = None if data.name == "shards" else make_catalog(data)
        with progress.Progress("check", "all shards"):
            manifests, faults = shard_writer.find_faults(catalog, folder, **settings)
        for fault in faults:
            print(f"fault     {printable(fault)}")
        if not faults:
            print(f"check     {shard_writer.describe(manifests)}: each track once")
        return 1 if faults else 0
    manifest, written = shard_writer.write_shard(
        make_catalog(data),
        folder,
        shard=int(shard[1]),
        num_shards=int(shard[2]),
        cache=data.cache,
        num_workers=data.num_workers,
        **settings,
    )
    for record in manifest.records:
        if record.error:
            print(f"          {record.id}: {printable(record.error)}")
    state = "written" if written else "was there already"
    print(f"shard     {_SHARD.value} in {folder} {state}: {shard_writer.describe([manifest])}")
    return 0


def _clean(folder: str) -> int:
    """Remove what was used least recently from `data.cache` and the user's cache folder."""
    from mgr_jax.data import cache
    from mgr_jax.data.clips import cache_folder

    # Clips may lie elsewhere; compiled programs and copies of checkpoints are always in the latter.
    folders = {cache_folder(folder), cache_folder("")}
    removed, left = cache.clean(folders, max_bytes=int(_CLEAN_GB.value * 1e9))
    for entry in removed:
        if entry.path.parent.name in ("clips", "shards"):
            print(f"removed   {entry.path} ({entry.num_bytes / 1e9:.3f} GB)")
    freed = sum(entry.num_bytes for entry in removed) / 1e9
    where = " and ".join(map(str, sorted(folders)))
    print(f"clean     {len(removed)} removed ({freed:.3f} GB), {left / 1e9:.3f} GB left in {where}")
    return 0


def _write_wavs(catalog, clips, folder: pathlib.Path) -> int:
    """Write the clips into folders by class; return how many."""
    import soundfile

    written = 0
    files: set[pathlib.Path] = set()
    try:
        for track in catalog.tracks:
            if track.id not in clips.row:
                continue
            row = clips.row[track.id]
            name = _file_name(track.id.removesuffix(".wav"))
            path = folder / _file_name(track.label) / f"{name}.wav"
            if path in files:
                path = path.with_name(f"{name} ({row}).wav")
            files.add(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            waveform = clips.waveform(row, 0, clips.records[row].length)
            waveform = waveform / max(1.0, clips.records[row].scale)
            soundfile.write(path, waveform, clips.sample_rate, subtype="PCM_16")
            written += 1
    except OSError as error:
        raise command.UserError(f"--wav {folder}: cannot be written ({error.strerror})") from error
    return written


def _file_name(name: str) -> str:
    """Return `name` as the name of a file in any folder: it cannot lead out of it or be hidden."""
    name = re.sub(r'[/\\:*?"<>|]', "_", printable(name))[:120]
    return f"_{name[1:]}" if name.startswith(".") else name


def _checksums(tracks) -> dict[str, str]:
    """Return track -> MD5 of its file, or the reason why it cannot be read."""
    sums = {}
    for track in tracks:
        try:
            if not os.path.isfile(track.path):  # To open a pipe would wait without end.
                raise FileNotFoundError(errno.ENOENT, "is not a file")
            with open(track.path, "rb") as file:
                sums[track.id] = hashlib.file_digest(file, "md5").hexdigest()
        except OSError as error:
            sums[track.id] = error.strerror
    return sums


def _verify(tracks, known: dict[str, str], sums: dict[str, str]) -> int:
    """Print every file that is not the published one or has two labels; return 1 if any does."""
    from mgr_jax.data import gtzan

    wrong = unknown = 0
    for track in tracks:
        if track.id not in known:
            unknown += 1
        elif sums[track.id] != known[track.id]:
            wrong += 1
            path = printable(track.path)
            print(f"          {path}: MD5 is {sums[track.id]}, published {known[track.id]}")
    same = len(tracks) - wrong - unknown
    print(f"verify    {same} file(s) as published, {wrong} differ, {unknown} without a checksum")
    first: dict[str, Any] = {}
    for track in tracks:
        if not re.fullmatch("[0-9a-f]{32}", sums[track.id]) or not sums[track.id].strip("0"):
            continue  # It was not read, or is of the band.
        other = first.setdefault(sums[track.id], track)
        is_known = (other.id, track.id) in gtzan.identical_pairs()
        if other.label != track.label and not is_known:
            wrong += 1
            print(f"          {other.id} ({other.label}) = {track.id} ({track.label}): same file")
    return 1 if wrong else 0


if __name__ == "__main__":
    command.run(main)
