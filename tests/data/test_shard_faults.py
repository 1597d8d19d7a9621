"""Faults of a folder of shards: each has its own line, with a remedy."""

import dataclasses
import json
import pathlib
import shutil

import pytest

from mgr_jax.data import manifests, shard_faults
from mgr_jax.errors import UserError
from tests.data import collection


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    """Folder of a collection and its shards."""
    return collection.make(tmp_path_factory)


@pytest.fixture(name="shards")
def _shards(made, tmp_path):
    """A copy of the shards that a test may damage."""
    return collection.copy_shards(made, tmp_path)


def _about(shards, shard, num_shards=4):
    return manifests.manifest_path(shards, shard, num_shards)


def _faults(shards):
    return shard_faults.find_faults(shards)[1]


def test_find_faults_is_silent_about_a_whole_collection(shards):
    sound, faults = shard_faults.find_faults(shards)
    assert not faults and [m.shard for m in sound] == [0, 1, 2, 3]
    (shards / "shard-00001-of-00004.json.partial").touch()  # From a killed run.
    (shards / "notes.txt").touch()
    assert not _faults(shards)


def test_find_faults_names_what_is_missing(shards):
    for path in shards.glob("shard-00001*"):
        path.unlink()
    _about(shards, 2).unlink()
    assert _faults(shards) == [
        "shard 2/4 has no manifest, so it is not finished; run prepare with --shard=2/4",
        "shard 1/4 is missing; run prepare with --shard=1/4",
    ]
    with pytest.raises(UserError) as caught:
        shard_faults.read_manifests(shards)
    assert str(caught.value).startswith(f"data.root {shards}: shard 2/4 has no manifest")
    assert "shard 1/4 is missing" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ("{}", "format None, not 1"),
        ("[1]", "AttributeError|TypeError"),
        ('{"format": 1, "checksum": "0"}', "changed after it was written"),
        ('{"format": 2}', "format 2, not 1"),
        ("\0\xff", "not text|Expecting value"),
    ],
)
def test_find_faults_names_a_damaged_manifest(shards, content, reason):
    _about(shards, 3).write_bytes(content.encode("latin-1"))
    [fault] = _faults(shards)
    before, after = fault.split(" (", 1)
    assert before == "shard 3/4 has a damaged manifest"
    assert any(word in after for word in reason.split("|"))
    assert after.endswith("; run prepare with --shard=3/4") and "\n" not in fault


@pytest.mark.parametrize("field", ["length", "label", "scale"])
def test_find_faults_sees_a_changed_field(shards, field):
    path = _about(shards, 0)
    values = json.loads(path.read_text())
    values["tracks"][field][0] = {"length": 7, "label": "b", "scale": 2.0}[field]
    path.write_text(json.dumps(values))
    assert "changed after it was written" in _faults(shards)[0]


def test_find_faults_names_a_shard_that_is_there_twice(shards):
    for suffix in ("json", "array_record"):
        shutil.copy(
            shards / f"shard-00001-of-00004.{suffix}", shards / f"shard-00002-of-00004.{suffix}"
        )
    assert _faults(shards) == [
        "shard 2/4 is a copy of shard 1/4; delete shard-00002-of-00004.json, then run prepare with"
        " --shard=2/4"
    ]


def test_find_faults_names_a_cut_shard(shards):
    path = manifests.data_path(shards, 2, 4)
    path.write_bytes(path.read_bytes()[:-1])
    size = path.stat().st_size
    assert _faults(shards) == [
        f"shard 2/4 is cut or overwritten: {size} bytes, {size + 1} in its manifest; run prepare"
        " with --shard=2/4"
    ]


def test_find_faults_refuses_shards_of_two_numbers(made, shards):
    collection.write_shard(made, 0, 1, to=shards.parent / "one")
    for path in (shards.parent / "one").iterdir():
        shutil.copy(path, shards)
    assert _faults(shards) == [
        "shards of 1 and of 4 are mixed; delete those of all numbers but one"
    ]


def test_find_faults_names_a_shard_unlike_the_others(shards):
    manifest = manifests.read_manifest(_about(shards, 0))
    _about(shards, 0).write_text(manifests.to_text(collection.with_decoder(manifest, soxr="9.9")))
    assert _faults(shards) == ["shard 0/4 has another decoder (soxr); run prepare with --shard=0/4"]
    common = dataclasses.replace(manifest.collection, name="fma", clip_samples=3000)
    other = dataclasses.replace(manifest, collection=common)
    _about(shards, 0).write_text(manifests.to_text(other))
    assert _faults(shards) == [
        "shard 0/4 has another clip_samples (3000, not 2300), another data set (fma, not manifest);"
        " run prepare with --shard=0/4"
    ]


def test_find_faults_sees_tracks_twice_or_not_at_all(shards):
    one, two = (manifests.read_manifest(_about(shards, i)) for i in (1, 2))
    fields = {"records": one.records, "sources": one.sources}
    _about(shards, 2).write_text(
        manifests.to_text(dataclasses.replace(two, tracks=one.tracks, **fields))
    )
    assert _faults(shards) == [
        "shard 2/4 repeats 4 track(s) of others (audio/03.wav); run prepare with --shard=2/4"
    ]
    fields = {name: getattr(two, name)[1:] for name in ("tracks", "records", "sources")}
    _about(shards, 2).write_text(manifests.to_text(dataclasses.replace(two, **fields)))
    assert _faults(shards) == [
        "the 14 tracks of all shards are not the 15 of the catalog; write all shards again"
    ]


@pytest.mark.parametrize("name", ["no", "file"])
def test_read_manifests_refuses_other_folders(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no such folder; give the one that prepare --shards had"):
        shard_faults.read_manifests(tmp_path / name)
    with pytest.raises(UserError, match="no shard in it; write them with prepare --shard=I/N"):
        shard_faults.read_manifests(tmp_path)


def test_read_manifests_lists_three_faults_and_counts_the_rest(shards):
    for path in pathlib.Path(shards).glob("*.array_record"):
        path.unlink()
    with pytest.raises(UserError) as caught:
        shard_faults.read_manifests(shards)
    assert str(caught.value).count("run prepare with") == 3
    assert str(caught.value).endswith("; and 1 more")
