"""Batches on their way to the devices, and how long training waited for them."""

import collections
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

Batch = dict[str, np.ndarray]  # See `mgr_jax.data.batches`, which imports grain.

# Steps dispatched and not finished: one that runs, and one whose batch is there when it ends.
_MAX_IN_FLIGHT = 2


class Feed:
    """A double buffer: the next batch is read and sent to the devices while a step runs.

    Call `next` for a batch, dispatch its step, and pass an output of the step to `throttle`.
    """

    def __init__(
        self, source: Iterator[Batch], shard: Callable[[Batch], dict[str, jax.Array]]
    ) -> None:
        """Takes batches from `source` and places them on the devices by `shard`."""
        self._source, self._shard = source, shard
        self._in_flight: collections.deque[jax.Array] = collections.deque()
        self._wait_seconds = 0.0

    def next(self) -> dict[str, jax.Array]:
        """Return the next batch, on its way to the devices.

        Raises:
          StopIteration: if there is none.
        """
        start = time.monotonic()
        batch = next(self._source)
        self._wait_seconds += time.monotonic() - start
        return self._shard(batch)

    def throttle(self, output: jax.Array) -> None:
        """Block until the step before the one that computes `output` has finished.

        Otherwise the host would queue step after step, each with its batch in the devices' memory.
        """
        # A copy, since the next step donates the state that `output` belongs to.
        self._in_flight.append(jnp.copy(output))
        if len(self._in_flight) == _MAX_IN_FLIGHT:
            jax.block_until_ready(self._in_flight.popleft())

    def take_wait_seconds(self) -> float:
        """Return the seconds that training waited for a batch since the last call."""
        seconds, self._wait_seconds = self._wait_seconds, 0.0
        return seconds
