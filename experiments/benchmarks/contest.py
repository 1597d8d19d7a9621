"""Two sides in turns, one at work while the other waits; most often in a process each.

A process of its own keeps the thread pools apart and makes peak memory a number of one side.
"""

import concurrent.futures
import contextlib
import functools
import importlib
import math
import multiprocessing
import operator
import pathlib
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mgr_jax.errors import UserError

_MIN_SECONDS = 0.2  # Shorter work is repeated within a turn.
_ENOUGH_SECONDS = 45  # After so long, and three turns, no further turn begins.


class Side:
    """A process that holds one object, whose methods are called from here; ends with `with`."""

    def __init__(self, name: str, *args: Any, **settings: Any):
        """Start a process with an object of the class of this dotted name.

        It has the memory settings of the commands, whatever library the object computes with.
        """
        context = multiprocessing.get_context("spawn")
        self._process = concurrent.futures.ProcessPoolExecutor(
            1, context, initializer=_keep_freed_memory
        )
        self._made = self._process.submit(_make, name, args, settings)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._process.shutdown()

    def call(self, method: str, *args: Any) -> Any:
        """Return the result of a method of the object, or raise its exception."""
        return self._apply(operator.methodcaller(method, *args))

    def warm(self) -> float:
        """Take a first step, which may compile, and return the seconds of a second one."""
        self._apply(_forget_peak)
        return self.seconds()

    def seconds(self, repeats: int = 1) -> float:
        """Return the seconds of a step, by `seconds_of_step`."""
        return self._apply(_seconds, repeats)

    def peak_memory(self) -> float:
        """Return the largest resident set in MB since `warm`."""
        return self._apply(_peak_memory)

    def _apply(self, function: Callable[..., Any], *args: Any) -> Any:
        self._made.result()  # Raises what the constructor raised.
        return self._process.submit(_call, function, *args).result()


def _keep_freed_memory() -> None:
    # Imported here, since the rows of the GPU are made where its packages may be missing.
    from experiments import jax_settings

    jax_settings.keep_freed_memory()


_held: list[Any] = []  # The object of this process.


def _make(name: str, args: tuple, settings: dict) -> None:
    module, _, kind = name.rpartition(".")
    _held.append(getattr(importlib.import_module(module), kind)(*args, **settings))


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(_held[0], *args)


def _seconds(steps: Any, repeats: int) -> float:
    return seconds_of_step(steps.step, repeats)


def _forget_peak(_: Any) -> None:
    """Let the peak of memory begin anew, where the kernel is Linux."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory(_: Any) -> float:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def choose(only: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """Return the names in `only`, or all that are known if it is empty.

    Raises:
      UserError: an unknown name.
    """
    for name in only:
        if name not in known:
            raise UserError(f"--only has {name!r}; it may have {', '.join(known)}")
    return only or known


def seconds_of(function: Callable[[], Any]) -> float:
    """Return the wall-clock seconds of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def seconds_of_step(step: Callable[[], Any], repeats: int = 1) -> float:
    """Return the seconds of a step, the mean of `repeats` after one that is not timed.

    While the other side worked, a hypervisor may have taken back the memory that this one had
    freed.
    """
    step()
    return seconds_of(lambda: [step() for _ in range(repeats)]) / repeats


def alternate(ours: Side, peer: Side, *, turns: int) -> dict[str, Any]:
    """Return `statistics` of both sides in turns, and the seconds of both `by_turn`."""
    timers = [
        functools.partial(side.seconds, max(1, math.ceil(_MIN_SECONDS / side.warm())))
        for side in (ours, peer)
    ]
    pairs = list(in_turns(*timers, turns=turns))
    return statistics(pairs) | {"by_turn": pairs}


def compare(ours: Callable[[], Any], peer: Callable[[], Any], *, turns: int) -> dict[str, float]:
    """Return `statistics` of two functions of this process, called in turns."""
    timers = (functools.partial(seconds_of, function) for function in (ours, peer))
    return statistics(list(in_turns(*timers, turns=turns)))


def in_turns(
    ours: Callable[[], float], peer: Callable[[], float], *, turns: int
) -> Iterator[tuple[float, float]]:
    """Yield the seconds of both, turn by turn; which comes first changes."""
    began = time.perf_counter()
    for turn in range(turns):
        if turn >= 3 and time.perf_counter() - began > _ENOUGH_SECONDS:
            return
        if turn % 2 == 0:
            our_seconds, peer_seconds = ours(), peer()
        else:
            peer_seconds, our_seconds = peer(), ours()
        yield our_seconds, peer_seconds


def statistics(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Return medians of pairs (our seconds, the peer's seconds), and of their ratios.

    A ratio above 1: we are faster. `spread` is the distance of the quartiles of the ratios.
    """
    ratios = [theirs / mine for mine, theirs in pairs]
    ours_s, peer_s = np.median(np.asarray(pairs), axis=0)
    return {
        "ours_s": float(ours_s),
        "peer_s": float(peer_s),
        "ratio": float(np.median(ratios)),
        "spread": float(np.ptp(np.quantile(ratios, (0.25, 0.75)))),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "turns": len(pairs),
    }
