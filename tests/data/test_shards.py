"""Shards give what the clip store gives, bit for bit, and only the requested records are read."""

import contextlib
import dataclasses

import cloudpickle
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax.data import batches, shard_writer, shards
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.catalog import PARTS
from mgr_jax.data.sources import make_catalog
from mgr_jax.errors import UserError
from tests.data import collection
from tests.data.collection import LENGTH, RATE

WINDOW = 700


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    """Folder of a collection and its shards; the collection as it was read from its files."""
    folder = collection.make(tmp_path_factory)
    return folder, dataset_lib.open_dataset(collection.get_config(folder))


def _open(folder, **data):
    return dataset_lib.open_dataset(collection.get_config(folder, sharded=True, **data))


def _train(part, **settings):
    settings = {"batch_size": 4, "window": WINDOW, "seed": 3, "start_step": 0} | settings
    with contextlib.closing(batches.train_batches(part, num_steps=8, **settings)) as source:
        return list(source)


def _equal(ours, theirs):
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            assert one[name].dtype == two[name].dtype
            np.testing.assert_array_equal(one[name], two[name])


class _Spy:
    """Counts the records that are read from a source."""

    def __init__(self, source):
        self.source, self.read = source, []

    def __getitem__(self, record):
        self.read.append(record)
        return self.source[record]


def _watched(part):
    spy = _Spy(part.clips.samples.source)
    samples = dataclasses.replace(part.clips.samples, source=spy)
    return spy, dataclasses.replace(part, clips=dataclasses.replace(part.clips, samples=samples))


def test_open_shards_has_the_rows_and_records_of_the_clip_store(made):
    folder, dataset = made
    _, store = shards.open_shards(folder / "shards", sample_rate=RATE, clip_samples=LENGTH)
    assert store.records == dataset.clips.records
    assert store.row == dataset.clips.row
    assert store.errors() and store.errors() == dataset.clips.errors()
    assert store.notes() and store.notes() == dataset.clips.notes()
    assert store.samples.shape == dataset.clips.samples.shape == (len(store.samples), LENGTH)
    assert store.samples.dtype == dataset.clips.samples.dtype
    assert store.samples.nbytes == dataset.clips.samples.nbytes
    for row in range(len(store.records)):
        np.testing.assert_array_equal(store.samples[row], dataset.clips.samples[row])
        np.testing.assert_array_equal(store.waveform(row), dataset.clips.waveform(row))


@pytest.mark.parametrize("stop", [0, 1, 499, 500, 501, 1500, LENGTH - 1, LENGTH, LENGTH + 9, -7])
@pytest.mark.parametrize("start", [0, 1, 499, 500, 999, LENGTH - 1, LENGTH, -600])
def test_samples_slice_as_an_array_does(made, start, stop):
    folder, dataset = made
    _, store = shards.open_shards(folder / "shards", sample_rate=RATE, clip_samples=LENGTH)
    samples = store.samples
    for row in (0, 3, 5, len(samples) - 1):
        expected = dataset.clips.samples[row, start:stop]
        np.testing.assert_array_equal(samples[row, start:stop], expected)
    with pytest.raises(ValueError, match="without a step"):
        samples[0, ::2]


def test_read_catalog_is_the_catalog_without_its_files(made):
    folder, dataset = made
    catalog = make_catalog(collection.get_config(folder, sharded=True).data)
    assert (catalog.name, catalog.labels) == ("manifest", dataset.catalog.labels)
    listed = dataclasses.replace(dataset.catalog, content={})
    assert (catalog.hash(), catalog.skipped) == (listed.hash(), listed.skipped)
    for ours, theirs in zip(catalog.tracks, dataset.catalog.tracks, strict=True):
        assert dataclasses.replace(ours, path="") == dataclasses.replace(theirs, path="")
        assert ours.path.endswith(".array_record/" + theirs.path.rpartition("/")[2])


@pytest.mark.parametrize(
    "data",
    [
        {"protocol": "listed"},
        {"protocol": "holdout", "seed": 4},
        {"protocol": "kfold", "fold": 1, "num_folds": 3},
        {"protocol": "artist_kfold", "fold": 1, "num_folds": 2},
    ],
    ids=lambda data: data["protocol"],
)
def test_every_protocol_splits_shards_as_it_splits_their_files(made, data):
    folder, _ = made
    ours = _open(folder, **data)
    theirs = dataset_lib.open_dataset(collection.get_config(folder, **data))
    assert ours.split == theirs.split
    for part in PARTS:
        one, two = ours.parts[part], theirs.parts[part]
        assert one.ids == two.ids
        np.testing.assert_array_equal(one.labels, two.labels)
        _equal(
            list(batches.eval_batches(one, batch_size=3, window=WINDOW)),
            list(batches.eval_batches(two, batch_size=3, window=WINDOW)),
        )
    _equal(_train(ours.parts["train"]), _train(theirs.parts["train"]))
    assert dataset_lib.describe(ours) == dataset_lib.describe(theirs)


@pytest.mark.parametrize(
    "loader",
    [
        {"read_threads": 5},
        {"start_step": 5},
        pytest.param({"read_processes": 2}, marks=pytest.mark.e2e),
    ],
    ids=lambda loader: next(iter(loader)),
)
def test_train_batches_of_shards_are_the_same_for_every_loader(made, loader):
    folder, dataset = made
    expected = _train(dataset.parts["train"])[loader.get("start_step", 0) :]
    _equal(_train(_open(folder).parts["train"], **loader), expected)


def test_each_process_reads_its_own_rows_alone(made):
    folder, dataset = made
    whole = _train(dataset.parts["train"], start_step=7)
    part, shares, read = _open(folder).parts["train"], [], []
    for index in range(2):
        spy, own = _watched(part)
        shares += _train(own, start_step=7, process_index=index, process_count=2)
        read.append(set(spy.read))
    joined = {name: np.concatenate([share[name] for share in shares]) for name in whole[0]}
    _equal([joined], whole)
    # Four rows of four tracks in this step: no record is of two of them.
    assert read[0] and read[1] and not read[0] & read[1]


def test_a_window_is_read_without_the_rest_of_its_clip(made):
    folder, _ = made
    spy, part = _watched(_open(folder).parts["train"])
    row = int(part.rows[0])
    first, size = int(part.clips.samples.first[row]), part.clips.samples.piece_samples
    part.clips.waveform(row, size + 3, size - 3)
    assert spy.read == [first + 1]
    part.clips.waveform(row, size - 1, 2)
    assert spy.read[1:] == [first, first + 1]
    part.clips.waveform(row, LENGTH, 5)
    assert len(spy.read) == 3


def test_a_part_of_shards_is_sent_to_another_process_without_its_samples(made):
    folder, _ = made
    part = _open(folder).parts["train"]
    part.clips.waveform(0)  # Opens a reader, which stays here.
    sent = cloudpickle.dumps(part)
    assert len(sent) < 5000
    received = cloudpickle.loads(sent)
    np.testing.assert_array_equal(received.clips.waveform(2), part.clips.waveform(2))
    assert received.clips.row == part.clips.row


def test_open_shards_cuts_longer_clips(made):
    folder, dataset = made
    _, store = shards.open_shards(folder / "shards", sample_rate=RATE, clip_samples=1200)
    assert max(record.length for record in store.records) == 1200
    for row in range(len(store.records)):
        np.testing.assert_array_equal(store.samples[row], dataset.clips.samples[row, :1200])


def test_open_shards_refuses_another_rate_or_longer_clips(made):
    folder, _ = made
    root = folder / "shards"
    with pytest.raises(UserError, match=r"have 8000 Hz, not 16000; set features.sample_rate=8000"):
        shards.open_shards(root, sample_rate=16_000, clip_samples=LENGTH)
    with pytest.raises(UserError, match=f"fewer than 9999; set data.clip_samples={LENGTH}"):
        shards.open_shards(root, sample_rate=RATE, clip_samples=9999)


def test_read_checksums_are_those_of_the_files(made):
    folder, dataset = made
    sums = shards.read_checksums(folder / "shards")
    assert sums == {track.id: collection.md5(track.path) for track in dataset.catalog.tracks}


def test_damaged_samples_are_refused_by_name(made, tmp_path):
    folder, _ = made
    copy = collection.copy_shards(folder, tmp_path)
    path = sorted(copy.glob("*.array_record"))[1]
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    dataset = dataset_lib.open_dataset(collection.get_config(tmp_path, sharded=True))
    with pytest.raises(UserError) as caught:
        for row in range(len(dataset.clips.records)):
            dataset.clips.waveform(row)
    assert path.name in str(caught.value)
    assert "hash mismatch" in str(caught.value) and "delete it" in str(caught.value)
    assert "\n" not in str(caught.value)
    dataset = dataset_lib.open_dataset(collection.get_config(tmp_path, sharded=True))
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} cannot be read"):
        dataset.clips.waveform(4)


def test_shards_without_a_readable_track_are_refused(tmp_path):
    collection.write_files(tmp_path)
    for path in (tmp_path / "audio").iterdir():
        path.write_text("no audio")
    collection.write_shards(tmp_path)
    with pytest.raises(UserError, match="none of 15 files can be read"):
        _open(tmp_path)


def test_shards_need_a_root_and_no_resident_clips(tmp_path):
    config = collection.get_config(tmp_path, sharded=True)
    config.train.folds_at_once = 2
    with pytest.raises(UserError, match=r"train.folds_at_once keeps all clips"):
        config_lib.validate(config)
    config.train.folds_at_once, config.data.root = 0, ""
    with pytest.raises(UserError, match=r"data.root is empty; data.name 'shards' needs a path"):
        config_lib.validate(config)


def test_the_band_can_be_sharded(tmp_path):
    config = collection.get_config(tmp_path, sharded=True)
    config.data.root, config.data.name = "", "band"
    config.data.num_grooves, config.data.clips_per_groove = 3, 1
    catalog = make_catalog(config.data)
    manifest, _ = shard_writer.write_shard(
        catalog,
        str(tmp_path / "band"),
        shard=0,
        num_shards=10,
        sample_rate=RATE,
        clip_samples=LENGTH,
        cache=str(tmp_path / "cache"),
    )
    assert [track.path for track in manifest.tracks] == [t.path for t in catalog.tracks[:3]]
    assert [record.length for record in manifest.records] == [LENGTH] * 3
    assert not any(source.md5 for source in manifest.sources)
