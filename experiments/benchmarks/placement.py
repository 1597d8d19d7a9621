"""How far apart two cores are: the time a cache line takes from one to the other and back.

Cores that share no last-level cache hand values over several times as slowly. A hypervisor may move
a virtual machine between such cores from one second to the next, while the machine that the guest
sees stays the same: so this is measured beside every turn.
"""

import os
import threading
import time

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_ROUNDS = 20_000
_WORD = 8  # bytes


def round_trip() -> float | None:
    """Nanoseconds to the last core of this process and back to the first, the least of three.

    None with one core, and on systems where threads cannot be put on a core.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    return min(_measure() for _ in range(3))


def _measure() -> float:
    cores = sorted(os.sched_getaffinity(0))
    word, seconds = np.zeros(16, np.int64), [0.0]  # a cache line of its own, or two

    def answer() -> None:
        os.sched_setaffinity(0, {cores[-1]})  # 0: this thread alone
        _exchange(word, 1, _ROUNDS)

    def ask() -> None:
        os.sched_setaffinity(0, {cores[0]})
        began = time.perf_counter()
        _exchange(word, 0, _ROUNDS)
        seconds[0] = time.perf_counter() - began

    _exchange(word, 0, 0)  # Compiles.
    threads = [threading.Thread(target=part) for part in (answer, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds[0] / _ROUNDS * 1e9


@intrinsic
def _read(typingctx, words):
    """Word 0 as it is now, which a compiler would else read once for all."""

    def generate(context, builder, signature, args):
        array = cgutils.create_struct_proxy(words)(context, builder, value=args[0])
        return builder.load_atomic(array.data, ordering="acquire", align=_WORD)

    return types.int64(words), generate


@intrinsic
def _write(typingctx, words, value):
    """Puts `value` into word 0, where the other core sees it."""

    def generate(context, builder, signature, args):
        array = cgutils.create_struct_proxy(words)(context, builder, value=args[0])
        builder.store_atomic(args[1], array.data, ordering="release", align=_WORD)
        return context.get_dummy_value()

    return types.void(words, types.int64), generate


@numba.njit(nogil=True)
def _exchange(words, side, rounds):
    """Counts word 0 up in turns with the other side: 0 makes it odd, 1 even."""
    for i in range(rounds):
        while _read(words) != 2 * i + side:
            pass
        _write(words, 2 * i + side + 1)
