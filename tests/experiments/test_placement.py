"""The time from core to core: measured where there are two, and the process stays as it was."""

import os

import numpy as np
import pytest

from experiments.benchmarks import placement


def test_round_trip_takes_nanoseconds_and_leaves_the_process_its_cores():
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("one core")
    found = placement.round_trip()
    assert 1 < found < 1e6
    assert os.sched_getaffinity(0) == before


def test_either_side_of_an_exchange_counts_on_from_the_other():
    words = np.zeros(16, np.int64)
    placement._exchange(words, 0, 1)
    assert words[0] == 1
    placement._exchange(words, 1, 1)
    assert words[0] == 2


def test_round_trip_with_one_core_is_none(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert placement.round_trip() is None


def test_round_trip_without_affinity_is_none(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    assert placement.round_trip() is None
