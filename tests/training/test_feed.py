"""The double buffer: order, waiting times, and that the host never runs ahead."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax import parallel
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
