"""Being asked to stop: SIGTERM and SIGINT, also when they reach one process of several."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax


class Interrupted(Exception):
    """A signal asked to stop; the state is saved. `signal` is its number."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped at step {step}, saved; the same command goes on from there")
        self.signal = number


@contextlib.contextmanager
def watch(reached: Callable[[int], bool]) -> Iterator[Callable[[int], int | None]]:
    """Collects signals, so that a step is never cut; in one process a second one acts at once.

    In several processes JAX catches SIGTERM itself: `reached`, Orbax's `reached_preemption`, is
    then true at the same later step in all of them, whichever was asked. Ctrl-C becomes a SIGTERM.

    Yields:
      A function to call after every step with its number: the signal to stop for, or None.
    """
    received: list[int] = []
    before = {}

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        os.kill(os.getpid(), signal.SIGTERM)

    def asked(step: int) -> int | None:
        if reached(step):
            return received[0] if received else signal.SIGTERM
        return received[0] if received and jax.process_count() == 1 else None

    if jax.process_count() == 1:
        handlers = {signal.SIGINT: handle, signal.SIGTERM: handle}
    else:
        handlers = {signal.SIGINT: pass_on}
    for number, handler in handlers.items():
        before[number] = signal.signal(number, handler)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
