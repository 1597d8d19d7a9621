"""A small collection with every field that shards carry, as files and as shards."""

import dataclasses
import hashlib
import pathlib
import shutil

import numpy as np
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax.data import shard_writer
from mgr_jax.data.sources import make_catalog

RATE, LENGTH, NUM_SHARDS = 8000, 2300, 4
# Pieces of a clip, so small that a clip has several.
PIECE = 500
_PARTS = ("train", "train", "train", "valid", "test")


def write_files(folder: pathlib.Path) -> None:
    """Write 15 tracks of two classes and `folder/tracks.csv`; some are short, loud or damaged."""
    (folder / "audio").mkdir()
    lines = ["path,label,artist,recording,split"]
    for i in range(15):
        path = folder / "audio" / f"{i:02d}.wav"
        noise = np.random.default_rng(i).uniform(-0.9, 0.9, 400 if i == 5 else LENGTH + 17 * i)
        loud = 3.5 if i == 3 else 1.0
        soundfile.write(path, loud * noise, RATE, subtype="FLOAT" if i == 3 else "PCM_16")
        recording = "one" if i in (0, 6) else ""
        part = _PARTS[i // 2 % 5]
        lines.append(f"audio/{i:02d}.wav,{'ab'[i % 2]},artist {i // 2},{recording},{part}")
    (folder / "audio" / "07.wav").write_text("no audio")
    (folder / "tracks.csv").write_text("\n".join(lines) + "\n")


def make(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a new folder with the files of `write_files` and their shards."""
    folder = tmp_path_factory.mktemp("made")
    write_files(folder)
    write_shards(folder)
    return folder


def get_config(folder: pathlib.Path, *, sharded: bool = False, **data) -> config_lib.Config:
    """Return the config of the files in `folder`, or of their shards in `folder/shards`."""
    fields = {"name": "manifest", "root": str(folder / "tracks.csv"), "protocol": "listed"}
    if sharded:
        fields |= {"name": "shards", "root": str(folder / "shards")}
    fields |= {"clip_samples": LENGTH, "cache": str(folder / "cache"), "num_workers": 1}
    config = config_lib.Config(data=config_lib.Data(**(fields | data)))
    config.features.sample_rate = RATE
    return config_lib.validate(config)


def write_shard(folder: pathlib.Path, shard: int, num_shards: int = NUM_SHARDS, **settings):
    """Write a shard of the files in `folder` to `folder/shards`: see `shard_writer.write_shard`."""
    catalog = make_catalog(get_config(folder).data)
    to = str(settings.pop("to", folder / "shards"))
    fields = {"cache": str(folder / "cache"), "num_workers": 1}
    fields |= {"sample_rate": RATE, "clip_samples": LENGTH} | settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "PIECE_SAMPLES", PIECE)
        return shard_writer.write_shard(catalog, to, shard=shard, num_shards=num_shards, **fields)


def write_shards(folder: pathlib.Path) -> None:
    for shard in (2, 0, 3, 1):  # Any order.
        write_shard(folder, shard)


def find_faults(folder: pathlib.Path, *, alone: bool = False, **settings):
    """Return the faults of `folder/shards`, compared with the files of `folder` or `alone`."""
    catalog = None if alone else make_catalog(get_config(folder).data)
    fields = {"sample_rate": RATE, "clip_samples": LENGTH} | settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "PIECE_SAMPLES", PIECE)
        return shard_writer.find_faults(catalog, str(folder / "shards"), **fields)[1]


def copy_shards(folder: pathlib.Path, other: pathlib.Path) -> pathlib.Path:
    """Copy `folder/shards` to `other/shards`."""
    return pathlib.Path(shutil.copytree(folder / "shards", other / "shards"))


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Return name -> bytes of the files in `folder/shards`."""
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def md5(path: str) -> str:
    return hashlib.md5(pathlib.Path(path).read_bytes()).hexdigest()


def with_decoder(manifest, **versions: str):
    """Return `manifest` as if made by another decoder."""
    decoder = {**manifest.collection.decoder, **versions}
    common = dataclasses.replace(manifest.collection, decoder=decoder)
    return dataclasses.replace(manifest, collection=common)


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
