"""The cache folder: what was used least recently is removed first."""

import os

import filelock
import pytest

from mgr_jax.data import cache


@pytest.fixture(name="folder")
def _folder(tmp_path):
    """A cache whose entries of a block or two were used one after the other."""
    names = ("clips/old/store.json", "snapshots/a.safetensors", "xla/jit_f-1-cache", "clips/new/x")
    for used, name in enumerate(names):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 4096)
        os.utime(path, (1000 + used, 1000))
    return tmp_path


def names(entries):
    return ["/".join(entry.path.parts[-2:]) for entry in entries]


def test_entries_are_sorted_by_use(folder):
    entries = cache.entries([folder, folder])
    assert names(entries) == [
        "clips/old",
        "snapshots/a.safetensors",
        "xla/jit_f-1-cache",
        "clips/new",
    ]
    assert [entry.used for entry in entries] == [1000, 1001, 1002, 1003]
    assert all(entry.num_bytes >= 4096 for entry in entries)


def test_clean_removes_the_least_recently_used(folder):
    total = sum(entry.num_bytes for entry in cache.entries([folder]))
    assert cache.clean([folder], max_bytes=total) == ([], total)
    removed, left = cache.clean([folder], max_bytes=total - 4097)
    assert names(removed) == ["clips/old", "snapshots/a.safetensors"]
    assert left == sum(entry.num_bytes for entry in cache.entries([folder]))
    assert not (folder / "clips/old").exists()
    removed, left = cache.clean([folder], max_bytes=0)
    assert len(removed) == 2 and left == 0


def test_clean_keeps_a_store_that_is_being_written(folder):
    with filelock.FileLock(folder / "clips/old/lock"):
        removed, _ = cache.clean([folder], max_bytes=0)
    assert "clips/old" not in names(removed) and len(removed) == 3


def test_clean_of_an_empty_cache_removes_nothing(tmp_path):
    assert cache.clean([tmp_path / "nowhere"], max_bytes=0) == ([], 0)
