"""Damage for files of every kind, and the bounds in which each must be read or refused."""

import contextlib
import copy
import faulthandler
import pathlib
import re
import struct
import sys
import time

import numpy as np
import pytest

# Inputs of one kind: a few at each run, and all of them in `slow`.
COUNTS = [20, pytest.param(2000, marks=pytest.mark.slow)]
# Of kinds that take seconds to begin with.
LATE_COUNTS = [pytest.param(20, marks=pytest.mark.e2e), COUNTS[1]]
_SECONDS, _KIBIBYTES = 60, 4 << 20
_STATUS, _REFERENCES = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")
_WILD = [
    None, -1, 0, 1, 10**9, 10**30, 1e300, -1e300, float("nan"), float("inf"), "", "../../passwd",
    [], {}, [1], {"a": 1}, True, [["a"]], "x" * 1000, 0.5, "\x1b[2J", "\ud800", "=1+1", "a\nb",
]  # fmt: skip
_PIECES = (b"", b"{", b"]", b'"', b",", b"\\u0000", b"\0", b"\xff", b"1e999", b"9" * 5000, b"NaN",
           b"null", b"[" * 50_000, b'{"a":' * 20_000)  # fmt: skip


@contextlib.contextmanager
def bounds(*, children=False):
    """Fail if a block takes a minute or 4 GiB; a hang ends this process with its stack.

    `children` are the processes that it has started and waited for; a child begins at the size of
    this process, which is its parent's until it runs its own program. Without Linux's `/proc` only
    the time is measured.
    """
    faulthandler.dump_traceback_later(_SECONDS, exit=True, file=sys.__stderr__)
    before = 0
    if _REFERENCES.exists():
        _REFERENCES.write_text("5")  # The largest size begins anew, at what earlier tests left.
        before = _largest_size()
    began = time.monotonic()
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert time.monotonic() - began < _SECONDS
    if _REFERENCES.exists():
        assert _largest_size() - before < _KIBIBYTES
    if children:
        import resource

        inherited = _largest_size() if _REFERENCES.exists() else 0
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - inherited < _KIBIBYTES


def _largest_size():
    return int(re.search(r"VmHWM:\s*(\d+)", _STATUS.read_text())[1])


def refused(error, *names):
    """Check that an error is one line of sensible length, which has one of `names` in it."""
    text = str(error)
    assert text and "\n" not in text and len(text) < 3000, text
    assert not names or any(str(name) in text for name in names), text


def mutated(content, generator):
    """Flips, cuts, doubles and overwrites bytes, half of the time in the header."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        end = len(data) if generator.random() < 0.5 else min(200, len(data))
        if not end:
            break
        at = int(generator.integers(end))
        match generator.integers(7):
            case 0:
                data[at] ^= 1 << int(generator.integers(8))
            case 1:
                del data[at:]
            case 2:
                data[at : at + 4] = generator.bytes(4)
            case 3:
                number = generator.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1])
                data[at : at + 4] = struct.pack("<I", int(number))
            case 4:
                data[at:at] = generator.bytes(int(generator.integers(1, 50)))
            case 5:
                del data[at : at + int(generator.integers(1, 50))]
            case _:
                number = generator.choice([np.nan, np.inf, 1e300, -1])
                data[at : at + 8] = struct.pack("<d", number)
    return bytes(data)


def mutated_text(content, generator):
    """Puts pieces of JSON into a text, or damages its bytes."""
    if generator.random() < 0.5:
        return mutated(content, generator)
    at = int(generator.integers(len(content) + 1))
    piece = _PIECES[generator.integers(len(_PIECES))]
    return content[:at] + piece + content[at + int(generator.integers(5)) :]


def edited(value, generator):
    """A copy of nested JSON values with one to three of them removed or replaced."""
    value = copy.deepcopy(value)
    for _ in range(generator.integers(1, 4)):
        node = value
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                break
            key = keys[generator.integers(len(keys))]
            child = node[key]
            if isinstance(child, dict | list) and child and generator.random() < 0.8:
                node = child
                continue
            if generator.random() < 0.3:
                del node[key]
            else:
                node[key] = copy.deepcopy(_WILD[generator.integers(len(_WILD))])
            break
    return value
