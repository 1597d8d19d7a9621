"""The switch between the fast implementations of the operations and their reference formulas."""

import contextlib
import contextvars
from collections.abc import Iterator

IMPLEMENTATIONS = ("auto", "reference")

_current = contextvars.ContextVar("implementation", default="auto")


@contextlib.contextmanager
def implementation(name: str) -> Iterator[None]:
    """Compute the operations called in this context by the implementation `name`.

    It is `auto`, the best one on the platform, or `reference`, the formula. It is read while a
    function is traced: enter the context inside the function that is compiled, or around its first
    call. A function that is already compiled stays as it is.

    Raises:
      ValueError: for another name.
    """
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"implementation is {name!r}; use one of {', '.join(IMPLEMENTATIONS)}")
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


def is_reference() -> bool:
    """Return whether operations are to be computed by their reference formulas."""
    return _current.get() == "reference"
