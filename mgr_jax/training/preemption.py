"""Stopping for SIGTERM and SIGINT, also if they reach only one of several processes."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax


class Interrupted(Exception):
    """The run stopped for a signal, whose number is `signal`, and its state is saved."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped at step {step}, saved; the same command goes on from there")
        self.signal = number


@contextlib.contextmanager
def watch(reached_preemption: Callable[[int], bool]) -> Iterator[Callable[[int], int | None]]:
    """Record signals instead of letting them cut a step; in one process a second one acts at once.

    Only the main thread can do that; in another one, as of a notebook server, signals are left as
    they are. In several processes JAX handles SIGTERM itself: `reached_preemption` (Orbax's) then
    turns true at the same later step in all of them, whichever received it. Ctrl-C is passed on as
    a SIGTERM.

    Yields:
      stop_signal: to be called after every step with its number; returns the number of the signal
        to stop for, or None.
    """
    received: list[int] = []
    previous_handlers = {}

    def record(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, previous_handlers[number])

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        signal.raise_signal(signal.SIGTERM)

    def stop_signal(step: int) -> int | None:
        if reached_preemption(step):
            return received[0] if received else signal.SIGTERM
        return received[0] if received and jax.process_count() == 1 else None

    if jax.process_count() == 1:
        handlers = {signal.SIGINT: record, signal.SIGTERM: record}
    else:
        handlers = {signal.SIGINT: pass_on}
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    for number, handler in handlers.items():
        previous_handlers[number] = signal.signal(number, handler)
    try:
        yield stop_signal
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
