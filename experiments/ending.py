"""How a command ends: its time, its devices, the next useful command, a reader that has left."""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

CLOSED_PIPE = 141  # 128 + SIGPIPE, the convention of shells.
# In the environment of a command that another one runs, which knows what comes next.
CHILD = {"MGR_JAX_CHILD": "1"}

# What the user types before the name of a command; `experiments.__main__` changes it.
prefix = "python -m experiments."
# Of several processes the first one alone shows its end (`experiments.distributed`).
is_shown = True


class Ending(NamedTuple):
    """What the `main` of a command returns.

    Attributes:
      code: exit code.
      next: the next useful command and its arguments, `("evaluate", "--workdir=runs/mine")`; empty
        after a failure.
      on_host: it has used no device of JAX.
    """

    code: int
    next: Sequence[str]
    on_host: bool = False


def show(ending: Ending, seconds: float) -> None:
    """Print on stderr how long the command took, where it ran, and which one may come next."""
    from mgr_jax import devices
    from mgr_jax.progress import duration

    sys.stdout.flush()
    if not is_shown:
        return
    where = "the host" if ending.on_host else devices.names()
    print(f"done      in {duration(seconds)} on {where}", file=sys.stderr)
    if ending.next and not CHILD.keys() & os.environ.keys():
        print(f"next      {prefix}{shlex.join(ending.next)}", file=sys.stderr)


def spell(text: str) -> str:
    """Return a text with its commands as the user types them, `mgr-jax train` or as a module."""
    return re.sub(r"python -m experiments\.(?=\w)", prefix, text)


@contextlib.contextmanager
def open_pipes() -> Iterator[None]:
    """Exit silently where the reader of a pipe has left: `predict ... | head -1`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # Python flushes both streams once more.
        for number in (1, 2):
            with contextlib.suppress(OSError):
                os.dup2(nowhere, number)
        sys.exit(CLOSED_PIPE)
