"""What is going on while it takes long: a live line on a terminal, sparse lines in a log.

Everything goes to stderr. `TQDM_DISABLE=1` turns it off.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Self

import tqdm

from mgr_jax.plural import plural

# Seconds before the line of a terminal appears, and between its changes.
_LIVE = 1.0
# Seconds of silence before the first line of a log; twice as many before each further one, up to
# the second number.
_FIRST, _LONGEST = 5.0, 60.0


def duration(seconds: float) -> str:
    """Return a time in words: `0.4 s`, `12 s` or `1.5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


class Progress:
    """A context that shows on stderr what its block does, and for how long already.

    A block of `total` items calls `update`. A terminal has a bar then, else a line, which stays
    current; in a log, lines such as `decode    96 of 240 tracks  5 s` come after silence.
    """

    def __init__(
        self,
        verb: str,
        what: str = "",
        *,
        total: int = 0,
        unit: str = "",
        initial: int = 0,
        is_shown: bool = True,
    ) -> None:
        """Takes the keyword of the line, nine characters at most, and what it is about.

        Args:
          total, unit: number and kind of the items, in place of `what`.
          initial: items that are done already.
          is_shown: False shows nothing.
        """
        self._verb, self._what, self._total, self._unit = verb, what, total, unit
        self._began = self._last_line = time.monotonic()
        self._is_shown = is_shown and not os.environ.get("TQDM_DISABLE")
        is_terminal = self._is_shown and sys.stderr.isatty()
        self.n, self.has_bar, self._is_terminal = initial, is_terminal and total > 0, is_terminal
        self._bar = tqdm.tqdm(
            desc=verb,
            total=total,
            unit=unit,
            initial=initial,
            delay=_LIVE,
            leave=None,  # Not below another one.
            disable=not self.has_bar,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._is_shown and not self.has_bar:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._bar.close()

    def update(self, count: int = 1) -> None:
        """Count further items as done."""
        self.n += count
        self._bar.update(count)

    def annotate(self, text: str) -> None:
        """Show a text behind the bar of a terminal (`has_bar`)."""
        self._bar.set_postfix_str(text)

    def write(self, line: str) -> None:
        """Print a line on stdout, above the bar."""
        with self.printing():
            print(line, flush=True)

    @contextlib.contextmanager
    def printing(self) -> Iterator[None]:
        """Take the bar away while the block prints; a log then needs no line for a while."""
        with self._bar.external_write_mode():
            yield
        self._last_line = time.monotonic()

    def _watch(self) -> None:
        """Write the lines, in a thread, since the block may be in a compiler."""
        interval = _LIVE if self._is_terminal else _FIRST
        line = None
        # A reader that closes stderr ends the lines, not the command.
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            while not self._ended.wait(max(0.0, self._last_line + interval - time.monotonic())):
                now = time.monotonic()
                if now < self._last_line + interval:  # Something was printed meanwhile.
                    continue
                self._last_line = now
                text = f"{self.n} of {plural(self._total, self._unit)}"
                text = text if self._total else f"{self._what} ..."
                text = f"{self._verb:<9} {text}  {duration(now - self._began)}"
                if self._is_terminal:
                    if line is None:
                        bar = tqdm.tqdm(bar_format="{desc}", desc=text, leave=False)
                        line = stack.enter_context(bar)
                    line.set_description_str(text)
                else:
                    print(text, file=sys.stderr, flush=True)
                    interval = min(2 * interval, _LONGEST)
