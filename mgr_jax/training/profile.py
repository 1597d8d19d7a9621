"""Profiler traces of some steps: `--profile=START:STOP`."""

import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax

from mgr_jax.errors import UserError


def parse_steps(text: str) -> range:
    """Return the steps of `START:STOP`, counted from 0, STOP excluded; none for an empty text.

    Raises:
      UserError: if `text` is not two numbers, the first below the second.
    """
    if not text:
        return range(0)
    match = re.fullmatch(r"(\d{1,18}):(\d{1,18})", text)
    steps = range(int(match[1]), int(match[2])) if match else range(0)
    if not steps:
        raise UserError(
            f"--profile is {text}; give the first step and the one after the last, as in 10:15"
        )
    return steps


def check_steps(steps: range, *, num_steps: int) -> None:
    """Raise `UserError` if a run of `num_steps` ends before `steps`."""
    if steps and steps.start >= num_steps:
        raise UserError(
            f"--profile is {steps.start}:{steps.stop}, but the run has only {num_steps} steps; the"
            " first is step 0"
        )


class Profiler:
    """Writes a trace of `steps` into `folder`, and logs how to open it."""

    def __init__(self, folder: pathlib.Path, steps: range, log: Callable[[str], None]) -> None:
        self._folder, self._steps, self._log = folder, steps, log
        self._first: int | None = None
        self._next = 0

    def before(self, step: int, previous_outputs: Any) -> None:
        """To be called before each step, with arrays that the previous step computes."""
        if self._first is None and step in self._steps:
            jax.block_until_ready(previous_outputs)
            jax.profiler.start_trace(str(self._folder))
            self._first = step
        elif self._first is not None and step == self._steps.stop:
            jax.block_until_ready(previous_outputs)
            self.close()
        self._next = step + 1

    def close(self) -> None:
        """End the trace that is being written, if there is one."""
        if self._first is None:
            return
        jax.profiler.stop_trace()
        last = min(self._next, self._steps.stop) - 1
        self._log(
            f"profile   steps {self._first} to {last} in {self._folder}: open the .trace.json.gz"
            f" in it at https://ui.perfetto.dev, or `xprof --logdir={self._folder}`"
        )
        self._first, self._steps = None, range(0)
