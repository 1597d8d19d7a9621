"""Errors of Orbax and tensorstore: damage or not, one line for a full disk, quiet threads."""

import contextlib
import errno
import functools
import logging as std_logging
import re
import sys
from collections.abc import Iterator
from typing import Any

from absl import logging

from mgr_jax.errors import UserError

# Errors of reading that say nothing about the files: no memory, no permission, too many files open.
_NOT_DAMAGE = (errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE)
_NOT_DAMAGE_WORDS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "Too many open files")


def is_damage(error: Exception) -> bool:
    """Return whether an error of reading a checkpoint lies in its files."""
    return not (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno in _NOT_DAMAGE)
        or any(word in str(error) for word in _NOT_DAMAGE_WORDS)
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, cut to 200 characters, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextlib.contextmanager
def one_line_of_write_errors(folder: Any) -> Iterator[None]:
    """Turn what Orbax raises on a full disk, or later for one, into a `UserError`.

    Tensorstore's errors of the system are ValueErrors, with its number.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        text = str(error)
        if isinstance(error, ValueError) and "[os_error_code=" not in text:
            raise
        path = getattr(error, "filename", None) or _first(r'(?:file|writing:) "([^"]+)"', text)
        path = path or folder
        reason = getattr(error, "strerror", None) or _first(r": ([\w -]+) \[os_error", text)
        raise UserError(
            f"{path}: the checkpoint cannot be written ({reason or first_line(error)}); make room,"
            " or make it writable, and the same command goes on from the last one"
        ) from error


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Orbax's log, which would break the progress bar; errors are raised all the same."""
    _hide_abandoned_errors()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@functools.cache  # Once in a process.
def _hide_abandoned_errors() -> None:
    """Hide the errors of reads and writes that Orbax abandons, at any later time.

    When several fail, Orbax raises the error of one and closes the event loop of the others, which
    would print a traceback each: those that are still running when they end, the rest when their
    futures are freed.
    """
    show = sys.unraisablehook

    def show_others(args: Any) -> None:
        if str(args.exc_value) != "Event loop is closed":
            show(args)

    sys.unraisablehook = show_others
    std_logging.getLogger("asyncio").addFilter(_is_not_abandoned_by_orbax)


def _is_not_abandoned_by_orbax(record: std_logging.LogRecord) -> bool:
    text = std_logging.Formatter().format(record)  # With its traceback.
    return "orbax" not in text and "tensorstore" not in text
