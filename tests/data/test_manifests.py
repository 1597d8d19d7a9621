"""Manifests of shards: reading returns what was written."""

import dataclasses
import json

import pytest

from mgr_jax.data import manifests
from tests.data import collection


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    """Folder of a collection and its shards."""
    return collection.make(tmp_path_factory)


def _about(shards, shard, num_shards=4):
    return manifests.manifest_path(shards, shard, num_shards)


def test_read_manifest_reads_what_was_written(made, tmp_path):
    manifest = manifests.read_manifest(_about(made / "shards", 1))
    assert manifests.to_text(manifest) == _about(made / "shards", 1).read_text()
    assert [t.id for t in manifest.tracks] == [f"audio/{i:02d}.wav" for i in range(3, 7)]
    assert [r.length for r in manifest.records] == [2300, 2300, 400, 2300]
    assert manifest.num_pieces() == [5, 5, 1, 5]
    assert manifest.records[0].scale > 3 and "short: 0.05 s" in manifest.records[2].note
    assert manifest.num_bytes == _data_size(made, 1)
    odd = dataclasses.replace(
        manifest,
        tracks=tuple(
            dataclasses.replace(t, artist="Bj\u00f6rk\u2028\ud83d") for t in manifest.tracks
        ),
    )
    path = _about(tmp_path, 1)
    path.write_text(manifests.to_text(odd))
    assert manifests.read_manifest(path).tracks[0].artist == "Bj\u00f6rk\u2028\ud83d"


def _data_size(made, shard):
    return manifests.data_path(made / "shards", shard, 4).stat().st_size


def test_manifest_describes_a_shard_in_json(made):
    values = json.loads(_about(made / "shards", 1).read_text())
    assert (values["shard"], values["num_shards"], values["num_records"]) == (1, 4, 16)
    assert (values["num_tracks"], values["num_skipped"]) == (4, 0)
    common = values["collection"]
    assert (common["sample_rate"], common["clip_samples"], common["num_tracks"]) == (8000, 2300, 15)
    assert set(common["decoder"]) == {"code", "libsndfile", "soxr"}
    data = manifests.data_path(made / "shards", 1, 4)
    assert values["sha256"] == collection.sha256(data)
