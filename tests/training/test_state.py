"""The state before the first step."""

import jax
import numpy as np

from mgr_jax.training.state import zero_metrics
from tests.training import tiny


def test_create_state_is_a_function_of_its_key():
    first = tiny.parts(tiny.config())[3]
    second = tiny.parts(tiny.config())[3]
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert int(first.step) == 0
    assert set(first.params) and set(first.batch_stats)


def test_zero_metrics_are_zero():
    assert set(zero_metrics()) >= {"loss", "correct", "count"}
    assert not any(zero_metrics().values())
