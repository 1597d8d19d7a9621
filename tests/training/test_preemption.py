"""Signals are recorded in the main thread, and left alone in others."""

import concurrent.futures
import signal

from mgr_jax.training import preemption


def _watch():
    """Return the handler of SIGTERM while it is watched, and the signal to stop for."""
    with preemption.watch(lambda step: False) as stop_signal:
        return signal.getsignal(signal.SIGTERM), stop_signal(1)


def test_watch_gives_the_handlers_back():
    before = signal.getsignal(signal.SIGTERM)
    during, stop = _watch()
    assert (signal.getsignal(signal.SIGTERM), stop) == (before, None)
    assert during is not before


def test_watch_works_in_another_thread():
    before = signal.getsignal(signal.SIGTERM)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(_watch).result() == (before, None)
