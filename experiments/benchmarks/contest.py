"""Two sides in turns, one at work while the other waits; most often in a process each.

A process of its own keeps the thread pools apart and makes peak memory a number of one side.
"""

import contextlib
import functools
import importlib
import itertools
import multiprocessing
import pathlib
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.benchmarks import placement

_MIN_SECONDS = 0.2  # shorter work is repeated within a turn


class Side:
    """A process that holds one object, the methods of which are called from here."""

    def __init__(self, module: str, *args: Any, **settings: Any):
        """Starts a process with `module.Steps(*args, **settings)`."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, module, args, settings), daemon=True
        )
        self._process.start()
        theirs.close()

    def call(self, method: str, *args: Any) -> Any:
        """The result of a method in the process.

        Raises:
          RuntimeError: the process ended, having written why.
        """
        try:
            self._pipe.send((method, args))
            return self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(f"the process of {method} ended; see its error above") from error

    def seconds(self, repeats: int = 1) -> float:
        """Wall-clock seconds of one step, the mean of `repeats` after one that is not timed."""
        return self.call("_seconds", repeats)

    def peak_memory(self) -> float:
        """Largest resident set in MB since the first measured step."""
        return self.call("_peak_memory")

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


@contextlib.contextmanager
def sides(*started: Side) -> Iterator[tuple[Side, ...]]:
    """Closes the sides at the end."""
    with contextlib.ExitStack() as stack:
        for side in started:
            stack.callback(side.close)
        yield started


def _serve(pipe: Any, module: str, args: tuple, settings: dict) -> None:
    steps = importlib.import_module(module).Steps(*args, **settings)

    def seconds(repeats: int) -> float:
        return seconds_of(steps.step, repeats)

    own = {"_seconds": seconds, "_peak_memory": _peak_memory, "_forget_peak": _forget_peak}
    while True:
        try:
            method, call = pipe.recv()
        except EOFError:
            return
        pipe.send((own.get(method) or getattr(steps, method))(*call))


def seconds_of(step: Callable[[], Any], repeats: int = 1) -> float:
    """Wall-clock seconds of a step, the mean of `repeats` after one that is not timed.

    While the other side worked, a hypervisor may have taken back the memory that this one had
    freed.
    """
    step()
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - began) / repeats


def _forget_peak() -> None:
    """Lets the peak of memory begin anew, where the kernel is Linux."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory() -> float:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def warm(side: Side) -> float:
    """Takes the first steps, which compile; gives the seconds of one more."""
    side.seconds()
    side.call("_forget_peak")
    return side.seconds()


def trial(side: Side) -> float:
    """Seconds of the fastest of three steps, after the first ones: one alone may be disturbed."""
    return min(warm(side), side.seconds(), side.seconds())


def alternate(ours: Side, peer: Side, *, turns: int) -> dict[str, Any]:
    """`statistics` of both sides in turns.

    With them `by_turn`: seconds of both, and the longest `placement.round_trip` around the turn.
    """
    repeats = [max(1, int(np.ceil(_MIN_SECONDS / warm(side)))) for side in (ours, peer)]
    timers = [functools.partial(s.seconds, n) for s, n in zip((ours, peer), repeats, strict=True)]
    pairs, trips = [], [placement.round_trip()]
    for pair in in_turns(*timers, turns=turns):
        pairs.append(pair)
        trips.append(placement.round_trip())
    around = [None if None in both else max(both) for both in itertools.pairwise(trips)]
    by_turn = [(*pair, trip) for pair, trip in zip(pairs, around, strict=True)]
    return statistics(pairs) | {"by_turn": by_turn}


def in_turns(
    ours: Callable[[], float], peer: Callable[[], float], *, turns: int
) -> Iterator[tuple[float, float]]:
    """Seconds of both, turn by turn; which comes first changes, so that neither always does."""
    for turn in range(turns):
        timers = (ours, peer) if turn % 2 == 0 else (peer, ours)
        seconds = tuple(timer() for timer in timers)
        yield seconds if turn % 2 == 0 else seconds[::-1]


def statistics(pairs: list) -> dict[str, float]:
    """What a list of (our seconds, the peer's seconds) says; a ratio above 1: we are faster.

    Medians of both, the median of the ratios, and the distance of its quartiles.
    """
    ratios = [theirs / mine for mine, theirs in pairs]
    ours_s, peer_s = np.median(np.asarray(pairs), axis=0)
    return {
        "ours_s": float(ours_s),
        "peer_s": float(peer_s),
        "ratio": float(np.median(ratios)),
        "spread": float(np.ptp(np.quantile(ratios, (0.25, 0.75)))),
        "ratio_min": float(min(ratios)),
        "ratio_max": float(max(ratios)),
        "turns": len(pairs),
    }
