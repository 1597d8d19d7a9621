"""Batches on their way to the devices, and how long the training waited for them."""

import collections
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from mgr_jax.data.batches import Batch

# Steps on the devices: one that runs, and one whose batch is there when it ends.
_IN_FLIGHT = 2


class Feed:
    """A double buffer: the next batch is read and sent to the devices while a step runs.

    Call `next` for a batch, dispatch its step, and tell `follow` of it.
    """

    def __init__(
        self, source: Iterator[Batch], shard: Callable[[Batch], dict[str, jax.Array]]
    ) -> None:
        """Takes batches from `source` and places them by `shard`."""
        self._source, self._shard = source, shard
        self._running: collections.deque[jax.Array] = collections.deque()
        self._waited = 0.0

    def next(self) -> dict[str, jax.Array]:
        """The next batch, on its way to the devices.

        Raises:
          StopIteration: there is none.
        """
        began = time.monotonic()
        batch = next(self._source)
        self._waited += time.monotonic() - began
        return self._shard(batch)

    def follow(self, step: jax.Array) -> None:
        """Waits until the step before the one that gives `step` has ended.

        Without it, a host would queue step after step, each with its batch in the devices' memory.
        """
        # A copy: the next step takes the memory of the state that `step` belongs to.
        self._running.append(jnp.copy(step))
        if len(self._running) == _IN_FLIGHT:
            jax.block_until_ready(self._running.popleft())

    def take_wait(self) -> float:
        """Seconds since the last call in which the training stood still, waiting for a batch."""
        waited, self._waited = self._waited, 0.0
        return waited
