"""The double buffer: order, waiting times, and that the host never runs ahead."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax import parallel
from mgr_jax.data import batches
from mgr_jax.data.clips import Clips
from mgr_jax.data.records import Record
from mgr_jax.training import steps
from mgr_jax.training.feed import Feed

BATCHES = [{"x": np.full((8, 2), i, np.float32)} for i in range(6)]


def on_mesh(batch):
    return parallel.shard(batch, parallel.make_mesh())


def test_feed_gives_every_batch_on_all_devices_in_order():
    feed = Feed(iter(BATCHES), on_mesh)
    for batch in BATCHES:
        placed = feed.next()["x"]
        assert len(placed.sharding.device_set) == 4
        np.testing.assert_array_equal(placed, batch["x"])
    with pytest.raises(StopIteration):
        feed.next()


def test_feed_measures_the_wait_for_the_reader_alone():
    def slow():
        for batch in BATCHES:
            time.sleep(0.05)
            yield batch

    def place(batch):
        time.sleep(0.05)
        return batch

    feed = Feed(slow(), place)
    for _ in range(3):
        feed.next()
        time.sleep(0.05)  # The step.
    assert 0.15 <= feed.take_wait_seconds() < 0.29
    assert feed.take_wait_seconds() == 0
    feed.next()
    assert 0.05 <= feed.take_wait_seconds() < 0.15


def _part(num_clips, length, folder):
    """Clips of noise; one is louder than full scale, one shorter than the others."""
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (num_clips, length), np.int16)
    records = [Record(str(i), length=length, scale=1 + 0.1 * (i == 2)) for i in range(num_clips)]
    records[1] = Record("1", length=length // 3)
    ids = [record.id for record in records]
    return batches.make_part(
        Clips(samples, tuple(records), 8000, folder), ids, dict.fromkeys(ids, "a"), "a"
    )


def test_batches_travel_as_int16_and_are_the_same_to_the_last_bit(tmp_path):
    options = {"batch_size": 4, "window": 700, "seed": 3, "start_step": 1, "num_steps": 4}
    part = _part(6, 1000, tmp_path)
    sides = [list(batches.train_batches(part, **options, as_int16=how)) for how in (False, True)]
    for floats, int16 in zip(*sides, strict=True):
        assert int16["waveform"].dtype == np.int16 and int16["scale"].dtype == np.float32
        on_device = jax.jit(steps.to_float32)(on_mesh(int16))
        assert on_device.keys() == floats.keys()
        for name, value in floats.items():
            np.testing.assert_array_equal(on_device[name], value)
    assert steps.to_float32(sides[0][0]) == sides[0][0]


def test_evaluation_batches_travel_as_int16_too(tmp_path):
    """The last one is padded with silence."""
    part = _part(6, 1000, tmp_path)
    sides = [
        list(batches.eval_batches(part, batch_size=4, window=300, as_int16=how))
        for how in (False, True)
    ]
    for floats, int16 in zip(*sides, strict=True):
        assert int16["waveform"].dtype == np.int16 and len(int16["scale"]) == 4
        on_device = jax.jit(steps.to_float32)(on_mesh(int16))
        for name, value in floats.items():
            np.testing.assert_array_equal(on_device[name], value)


@pytest.mark.slow
def test_reading_keeps_up_with_a_device_that_takes_ten_milliseconds_a_step(tmp_path):
    """800 clips of 30 s in a second, of which training waits less than 5 % of the time."""
    part = _part(32, 661_794, tmp_path)
    reader = batches.train_batches(
        part, batch_size=8, window=661_500, seed=0, start_step=0, num_steps=400, as_int16=True
    )
    mesh = parallel.make_mesh(jax.devices()[:1])
    feed = Feed(reader, lambda batch: parallel.shard(batch, mesh))
    for _ in range(20):  # The threads start.
        feed.next()
        time.sleep(0.01)
    feed.take_wait_seconds()
    start = time.monotonic()
    for _ in range(300):
        feed.next()
        time.sleep(0.01)
    assert feed.take_wait_seconds() < 0.05 * (time.monotonic() - start)
    reader.close()


def test_throttle_keeps_one_step_waiting_behind_the_one_that_runs(monkeypatch):
    ended = []
    monkeypatch.setattr(jax, "block_until_ready", lambda step: ended.append(int(step)))
    feed = Feed(iter(BATCHES), on_mesh)
    for step in range(1, 6):
        feed.throttle(jnp.int32(step))
        # All but the last one have ended.
        assert ended == list(range(1, step))


def test_throttle_outlives_the_donation_of_the_state():
    feed = Feed(iter(BATCHES), on_mesh)
    advance = jax.jit(lambda step: step + 1, donate_argnums=0)
    step = jnp.int32(0)
    for _ in range(5):
        step = advance(step)
        feed.throttle(step)
    assert int(step) == 5
