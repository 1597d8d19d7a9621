"""Batches: functions of (seed, step) alone, complete, and within the audio."""

import collections
import contextlib
import dataclasses
import pathlib

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr_jax.data import batches, clips

LENGTHS = (100, 80, 37, 100, 64, 9, 55)
WINDOW = 20


def _part(lengths=LENGTHS, *, total=100):
    """Return a part of every second row; sample t of row r is r + t/1000, and 0 after its end."""
    rows = np.arange(2 * len(lengths))
    samples = np.zeros((len(rows), total), np.int16)
    records = []
    for row in rows:
        length = lengths[row // 2]
        samples[row, :length] = row * 1000 + np.arange(length)
        records.append(clips.Record(f"t{row:02d}", length=length, scale=32.768))
    store = clips.Clips(samples, tuple(records), 8000, pathlib.Path())
    ids = [f"t{row:02d}" for row in rows[1::2]]
    labels = ("a", "b", "c")
    return batches.make_part(store, ids, {name: labels[int(name[1:]) % 3] for name in ids}, labels)


def _train(part, **kwargs):
    settings = {"batch_size": 4, "window": WINDOW, "seed": 1, "start_step": 0, "num_steps": 12}
    return list(batches.train_batches(part, **{**settings, **kwargs}))


def _tracks(batch):
    """Return the index of the track of each row, from its samples, and the first sample."""
    values = np.rint(batch["waveform"][:, 0] * 1000).astype(int)
    return (values // 1000) // 2, values % 1000


def _equal(one, two):
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_make_part_looks_up_rows_and_classes():
    part = _part()
    assert part.ids[:3] == ("t01", "t03", "t05")
    np.testing.assert_array_equal(part.rows, np.arange(1, 14, 2))
    np.testing.assert_array_equal(part.labels, np.arange(1, 14, 2) % 3)


@pytest.mark.parametrize(("tracks", "size", "steps"), [(7, 4, 1), (8, 4, 2), (3, 4, 1), (7, 1, 7)])
def test_steps_per_epoch_counts_whole_batches(tracks, size, steps):
    assert batches.steps_per_epoch(_part((50,) * tracks), size) == steps


def test_train_batches_have_the_promised_shapes():
    part = _part()
    stream = _train(part)
    assert len(stream) == 12
    for batch in stream:
        kinds = {name: (x.dtype, x.shape) for name, x in batch.items()}
        assert kinds == {
            "waveform": (np.float32, (4, WINDOW)),
            "num_samples": (np.int32, (4,)),
            "label": (np.int32, (4,)),
            "row": (np.int32, (4,)),
        }
        np.testing.assert_array_equal(batch["row"], np.arange(4))
        tracks, _ = _tracks(batch)
        np.testing.assert_array_equal(batch["label"], part.labels[tracks])


@pytest.mark.parametrize("start", [1, 5, 11])
def test_train_batches_depend_on_seed_and_step_alone(start):
    part = _part()
    whole = _train(part)
    resumed = _train(part, start_step=start)
    assert len(resumed) == 12 - start
    for one, two in zip(whole[start:], resumed, strict=True):
        _equal(one, two)
    longer = _train(part, num_steps=20)
    for one, two in zip(whole, longer, strict=False):
        _equal(one, two)


def test_train_batches_of_other_seeds_differ():
    part = _part()
    one, two = _train(part, seed=1), _train(part, seed=2)
    assert any((a["waveform"] != b["waveform"]).any() for a, b in zip(one, two, strict=True))


def test_train_batches_take_every_track_once_in_every_pass():
    part = _part()
    stream = _train(part, num_steps=4 * 7)  # 16 passes over 7 tracks, in batches of 4.
    order = np.concatenate([_tracks(batch)[0] for batch in stream])
    passes = order.reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(passes, axis=1), np.tile(np.arange(7), (16, 1)))
    assert len({tuple(one) for one in passes}) > 10  # Reshuffled for every pass.


def test_train_batches_take_windows_from_all_over_the_audio():
    part = _part((100,), total=100)
    stream = _train(part, batch_size=1, num_steps=2000)
    starts = np.array([_tracks(batch)[1][0] for batch in stream])
    counts = np.bincount(starts, minlength=81)
    assert (starts.min(), starts.max()) == (0, 80)  # The last window ends where the audio does.
    # Uniform: chi-square of 80 degrees of freedom, 5 deviations above its mean.
    assert ((counts - 2000 / 81) ** 2 / (2000 / 81)).sum() < 80 + 5 * np.sqrt(160)


def test_train_windows_are_pieces_of_their_track_which_is_repeated_when_it_is_short():
    for batch in _train(_part()):
        tracks, starts = _tracks(batch)
        for row, (track, start) in enumerate(zip(tracks, starts, strict=True)):
            length = LENGTHS[track]
            count = min(WINDOW, length)
            assert batch["num_samples"][row] == count
            assert start + count <= length
            piece = (2 * track + 1) + (start + np.arange(count)) / 1000
            expected = np.resize(piece, WINDOW)
            np.testing.assert_allclose(batch["waveform"][row], expected, atol=1e-5)


@pytest.mark.parametrize("count", [2, 4])
def test_train_batches_of_all_processes_make_up_the_global_batch(count):
    part = _part()
    whole = _train(part)
    shares = [_train(part, process_index=i, process_count=count) for i in range(count)]
    for step, batch in enumerate(whole):
        joined = {name: np.concatenate([share[step][name] for share in shares]) for name in batch}
        _equal(joined, batch)


@pytest.fixture(name="mapped", scope="module")
def _mapped(tmp_path_factory):
    """A part whose samples are on disk."""
    part = _part()
    store = np.memmap(
        tmp_path_factory.mktemp("store") / "clips.int16",
        dtype=np.int16,
        mode="w+",
        shape=part.clips.samples.shape,
    )
    store[:] = part.clips.samples
    store.flush()
    return dataclasses.replace(part, clips=dataclasses.replace(part.clips, samples=store))


@pytest.mark.parametrize(
    "loader",
    [
        {"read_threads": 1},
        {"read_threads": 9},
        pytest.param({"read_processes": 2}, marks=pytest.mark.e2e),
    ],
    ids=str,
)
def test_train_batches_are_the_same_for_every_loader(mapped, loader):
    settings = {"batch_size": 4, "window": WINDOW, "seed": 1, "start_step": 3, "num_steps": 12}
    whole = _train(_part())[3:]
    with contextlib.closing(batches.train_batches(mapped, **settings, **loader)) as source:
        loaded = list(source)
    assert len(loaded) == 9
    for one, two in zip(loaded, whole, strict=True):
        _equal(one, two)


def test_a_part_is_sent_to_another_process_without_its_samples(mapped):
    total = 50_000_000
    shape = (2, total // 2)
    path = mapped.clips.samples.filename.with_suffix(".large")
    samples = np.memmap(path, np.int16, "w+", shape=shape)
    large = dataclasses.replace(mapped, clips=dataclasses.replace(mapped.clips, samples=samples))
    sent = cloudpickle.dumps(large)
    assert len(sent) < 10_000
    received = cloudpickle.loads(sent)
    assert isinstance(received.clips.samples, np.memmap)
    assert received.clips.samples.shape == shape and not received.clips.samples.flags.writeable
    assert received.ids == large.ids and received.clips.row == large.clips.row


def test_train_batches_refuses_rows_that_do_not_divide():
    with pytest.raises(ValueError, match="batch_size 4 does not divide by 3 processes"):
        _train(_part(), process_count=3)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 120))
def test_window_starts_cover_every_sample(length, window):
    starts = batches.window_starts(length, window)
    covered = {t for start in starts for t in range(start, min(start + window, length))}
    assert covered == set(range(length))
    assert starts == sorted(set(starts))
    assert starts[-1] == max(0, length - window)
    assert len(starts) == max(1, -(-length // window))


def test_windows_of_lists_the_windows_track_by_track():
    grid = batches.windows_of(_part((45, 20, 5)), WINDOW)
    np.testing.assert_array_equal(grid, [[0, 0], [0, 20], [0, 25], [1, 0], [2, 0]])


@pytest.mark.parametrize("batch_size", [1, 4, 6, 64])
def test_eval_batches_are_complete_and_masked(batch_size):
    part = _part()
    stream = list(batches.eval_batches(part, batch_size=batch_size, window=WINDOW))
    grid = batches.windows_of(part, WINDOW)
    assert len(stream) == -(-len(grid) // batch_size)
    seen = []
    for batch in stream:
        assert {len(x) for x in batch.values()} == {batch_size}
        assert batch["mask"].dtype == np.float32
        real = batch["mask"] > 0
        tracks, starts = _tracks(batch)
        np.testing.assert_array_equal(batch["row"][real], tracks[real])
        np.testing.assert_array_equal(batch["label"][real], part.labels[tracks[real]])
        assert not batch["waveform"][~real].any()
        seen += list(zip(tracks[real], starts[real], strict=True))
    np.testing.assert_array_equal(seen, grid)
    assert collections.Counter(track for track, _ in seen).keys() == set(range(len(LENGTHS)))
    # Only the end of the last batch is padded.
    mask = np.concatenate([batch["mask"] for batch in stream])
    np.testing.assert_array_equal(mask, np.arange(len(mask)) < len(grid))


def test_eval_batches_count_the_samples_that_are_audio():
    stream = list(batches.eval_batches(_part((45, 5)), batch_size=4, window=WINDOW))
    np.testing.assert_array_equal(stream[0]["num_samples"], [20, 20, 20, 5])
    short = stream[0]["waveform"][3]
    assert short[:5].all()
    np.testing.assert_array_equal(short, np.tile(short[:5], 4))
