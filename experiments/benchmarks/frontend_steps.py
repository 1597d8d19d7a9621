"""The train step from features and from the waveform, in one process.

In two processes the sides would differ by more than the front end takes: by the pages they got.
"""

import functools

import numpy as np

from experiments.benchmarks import contest, jax_steps
from mgr_jax import config as config_lib


class Steps:
    """Both steps, ready to take turns; made in a process of its own."""

    def __init__(
        self,
        config: config_lib.Config,
        features: np.ndarray,
        waveform: np.ndarray,
        labels: np.ndarray,
    ):
        self.steps = [
            jax_steps.Steps(config, inputs, labels, mode="train", frontend=frontend)
            for inputs, frontend in ((features, False), (waveform, True))
        ]

    def seconds_in_turns(self, turns: int) -> list[tuple[float, float]]:
        """Seconds of the step from features and of that from the waveform, turn by turn."""
        timers = [functools.partial(contest.seconds_of, each.step) for each in self.steps]
        return list(contest.in_turns(*timers, turns=turns))
