"""The cache of vectors: each track once, whatever happens to the file."""

import dataclasses

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax.classical import vector_cache
from mgr_jax.data import batches
from mgr_jax.data import dataset as dataset_lib


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory):
    config = config_lib.Config()
    config.data.clip_seconds, config.data.cache = 4.0, str(tmp_path_factory.mktemp("cache"))
    config.data.num_grooves, config.data.clips_per_groove, config.data.num_workers = 3, 1, 1
    config.features.sample_rate = 16_000
    return dataset_lib.open_dataset(config)


class _Counter:
    """Vectors of two values, the row and the first sample; remembers which tracks it computed."""

    def __init__(self):
        self.ids = []

    def __call__(self, part):
        self.ids += part.ids
        grid = batches.windows_of(part, 40_000)
        return np.stack([[part.rows[track], start] for track, start in grid]).astype(np.float32)


def _tracks(part, chosen):
    return dataclasses.replace(
        part,
        ids=tuple(part.ids[i] for i in chosen),
        rows=part.rows[chosen],
        labels=part.labels[chosen],
    )


def _cache_files(part):
    return list(part.clips.folder.glob("musicnn-*"))


@pytest.fixture(name="part")
def _part(data):
    for path in _cache_files(data.parts["train"]):
        path.unlink()
    return data.parts["train"]


def test_cached_computes_each_track_once(part, monkeypatch):
    monkeypatch.setattr(vector_cache, "_TRACKS_PER_WRITE", 3)
    compute = _Counter()
    first = _tracks(part, [4, 1, 2, 0, 7])
    x = vector_cache.cached(first, compute, window=40_000)
    assert np.array_equal(x, _Counter()(first)) and len(x) == 10
    assert tuple(compute.ids) == first.ids
    x = vector_cache.cached(part, compute, window=40_000)
    assert np.array_equal(x, _Counter()(part))
    assert sorted(compute.ids) == sorted(part.ids)
    vector_cache.cached(first, compute, window=40_000)
    assert len(compute.ids) == len(part.ids) and len(_cache_files(part)) == 1


def test_cached_replaces_a_damaged_file(part):
    compute = _Counter()
    x = vector_cache.cached(part, compute, window=40_000)
    (path,) = _cache_files(part)
    content = bytearray(path.read_bytes())
    for damaged in (b"", content[:200], content[:-400] + bytes(8) + content[-392:]):
        path.write_bytes(damaged)
        assert np.array_equal(vector_cache.cached(part, compute, window=40_000), x)
    assert len(compute.ids) == 4 * len(part.ids)


def test_cached_keeps_windows_apart_and_needs_a_clip_store(part, monkeypatch):
    compute = _Counter()
    vector_cache.cached(part, compute, window=40_000)
    vector_cache.cached(part, _Counter(), window=40_001)
    assert len(_cache_files(part)) == 2
    monkeypatch.setattr(vector_cache, "_version", lambda: "other weights")
    vector_cache.cached(part, compute, window=40_000)
    assert len(compute.ids) == 2 * len(part.ids)
    clips = dataclasses.replace(part.clips, samples=np.array(part.clips.samples))
    in_memory = dataclasses.replace(part, clips=clips)
    vector_cache.cached(in_memory, compute, window=40_000)
    assert len(compute.ids) == 3 * len(part.ids) and len(_cache_files(part)) == 3


def test_cached_goes_on_if_it_cannot_write(part, monkeypatch):
    def fail(*_):
        raise OSError("read-only file system")

    monkeypatch.setattr(vector_cache, "write_whole", fail)
    assert np.array_equal(vector_cache.cached(part, _Counter(), window=40_000), _Counter()(part))
