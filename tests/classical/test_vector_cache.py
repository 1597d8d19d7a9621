"""The cache of vectors: each track once, whatever happens to the file."""

import dataclasses
import shutil

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


def _folders(part):
    return list(part.clips.folder.glob("features-*"))


def _files(part):
    return sorted(path for folder in _folders(part) for path in folder.iterdir())


@pytest.fixture(name="part")
def _part(data):
    for folder in _folders(data.parts["train"]):
        shutil.rmtree(folder)
    return data.parts["train"]


def test_cached_computes_each_track_once(part, monkeypatch):
    monkeypatch.setattr(vector_cache, "_TRACKS_PER_FILE", 3)
    compute = _Counter()
    first = _tracks(part, [4, 1, 2, 0, 7])
    x = vector_cache.cached(first, compute, window=40_000)
    assert np.array_equal(x, _Counter()(first)) and len(x) == 10
    assert tuple(compute.ids) == first.ids
    x = vector_cache.cached(part, compute, window=40_000)
    assert np.array_equal(x, _Counter()(part))
    assert sorted(compute.ids) == sorted(part.ids)
    vector_cache.cached(first, compute, window=40_000)
    assert len(compute.ids) == len(part.ids) and len(_folders(part)) == 1


def test_cached_computes_again_what_a_damaged_or_lost_file_had(part, monkeypatch):
    monkeypatch.setattr(vector_cache, "_TRACKS_PER_FILE", 4)
    compute = _Counter()
    x = vector_cache.cached(part, compute, window=40_000)
    path, *others = _files(part)
    content = path.read_bytes()
    half, value = len(content) // 2, content.index(b"vectors.npy") + 145
    flipped = [content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in (half, value)]
    for damaged in (b"", content[:200], *flipped, None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        before = len(compute.ids)
        assert np.array_equal(vector_cache.cached(part, compute, window=40_000), x)
        assert 0 < len(compute.ids) - before <= 4
        assert _files(part) == [path, *others] and path.read_bytes() == content


def test_cached_is_not_confused_by_what_a_killed_process_left(part):
    x = vector_cache.cached(part, _Counter(), window=40_000)
    (path,) = _files(part)
    path.rename(f"{path}.partial")
    assert np.array_equal(vector_cache.cached(part, _Counter(), window=40_000), x)
    assert path in _files(part)


def test_processes_that_add_at_once_share_what_both_have_written(part):
    """Another one adds tracks while this one computes."""
    others, compute = _tracks(part, [0, 1, 2]), _Counter()

    def interrupted(own):
        vector_cache.cached(others, _Counter(), window=40_000)
        return compute(own)

    vector_cache.cached(_tracks(part, [3, 4]), interrupted, window=40_000)
    vector_cache.cached(_tracks(part, [4, 2, 0, 3, 1]), compute, window=40_000)
    assert len(compute.ids) == 2 and len(_files(part)) == 2


def test_cached_keeps_settings_apart_and_needs_a_clip_store(part, monkeypatch):
    compute = _Counter()
    vector_cache.cached(part, compute, window=40_000)
    vector_cache.cached(part, _Counter(), window=40_001)
    vector_cache.cached(part, _Counter(), window=40_000, settings={"n_mels": 3})
    assert len(_folders(part)) == 3
    monkeypatch.setattr(vector_cache, "_version", lambda: "other weights")
    vector_cache.cached(part, compute, window=40_000)
    assert len(compute.ids) == 2 * len(part.ids)
    clips = dataclasses.replace(part.clips, samples=np.array(part.clips.samples))
    in_memory = dataclasses.replace(part, clips=clips)
    vector_cache.cached(in_memory, compute, window=40_000)
    assert len(compute.ids) == 3 * len(part.ids) and len(_folders(part)) == 4


def test_cached_takes_vectors_of_the_same_clip_alone(part):
    """The clip of a track was decoded anew, with another content."""
    vector_cache.cached(part, _Counter(), window=40_000)
    records = list(part.clips.records)
    row = int(part.rows[0])
    records[row] = dataclasses.replace(records[row], digest="other")
    clips = dataclasses.replace(part.clips, records=tuple(records))
    compute = _Counter()
    vector_cache.cached(dataclasses.replace(part, clips=clips), compute, window=40_000)
    assert compute.ids == [part.ids[0]]


def test_cached_keeps_nothing_of_clips_without_digest(part):
    records = tuple(dataclasses.replace(record, digest="") for record in part.clips.records)
    unknown = dataclasses.replace(part, clips=dataclasses.replace(part.clips, records=records))
    compute = _Counter()
    for _ in range(2):
        x = vector_cache.cached(unknown, compute, window=40_000)
        assert np.array_equal(x, _Counter()(unknown))
    assert len(compute.ids) == 2 * len(part.ids) and not _folders(part)


def test_cached_computes_short_tracks_apart_from_full_ones(part):
    records = list(part.clips.records)
    for index in (1, 3):
        row = int(part.rows[index])
        records[row] = dataclasses.replace(records[row], length=30_000, digest=f"short {index}")
    clips = dataclasses.replace(part.clips, records=tuple(records))
    mixed = dataclasses.replace(_tracks(part, [0, 1, 2, 3]), clips=clips)
    seen = []

    def compute(own):
        seen.append(own.ids)
        return _Counter()(own)

    x = vector_cache.cached(mixed, compute, window=40_000)
    assert seen == [(part.ids[0], part.ids[2]), (part.ids[1], part.ids[3])]
    assert np.array_equal(x, _Counter()(mixed))


def test_cached_goes_on_if_it_cannot_write(part, monkeypatch):
    def fail(*_):
        raise OSError("read-only file system")

    monkeypatch.setattr(vector_cache, "write_arrays", fail)
    assert np.array_equal(vector_cache.cached(part, _Counter(), window=40_000), _Counter()(part))
