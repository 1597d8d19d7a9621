"""Sides in turns, each in a process of its own."""

import numpy as np
import pytest

from experiments.benchmarks import contest, machine

pytestmark = pytest.mark.e2e

STEPS = """
class Steps:
    def __init__(self, factor, *, offset):
        self.factor, self.offset, self.taken = factor, offset, 0

    def step(self):
        self.taken += 1

    def result(self, value):
        return self.factor * value + self.offset, self.taken

    def fail(self):
        raise ValueError("as it should")
"""


def test_statistics_of_turns():
    measured = contest.statistics([(1.0, 2.0), (2.0, 3.0), (1.0, 4.0)])
    assert measured["ours_s"] == 1.0 and measured["peer_s"] == 3.0
    assert measured["ratio"] == 2.0 and (measured["ratio_min"], measured["ratio_max"]) == (1.5, 4.0)
    assert measured["spread"] == pytest.approx(3.0 - 1.75)


def test_sides_take_turns_in_processes_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "steps_of_a_test.py").write_text(STEPS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(contest, "_MIN_SECONDS", 1e-4)
    sides = [contest.Side("steps_of_a_test.Steps", factor, offset=1) for factor in (2, 3)]
    with sides[0], sides[1]:
        measured = contest.alternate(*sides, turns=3)
        assert measured["turns"] == 3 and measured["ratio"] > 0
        mine, theirs = zip(*measured["by_turn"], strict=True)
        assert (np.median(mine), np.median(theirs)) == (measured["ours_s"], measured["peer_s"])
        assert len(mine) == 3
        values, taken = zip(*(side.call("result", 10) for side in sides), strict=True)
        assert values == (21, 31) and min(taken) > 4
        assert all(1 < side.peak_memory() < 10_000 for side in sides)
        with pytest.raises(ValueError, match="as it should"):
            sides[0].call("fail")


def test_turns_end_when_enough_time_has_passed(monkeypatch):
    monkeypatch.setattr(contest, "_ENOUGH_SECONDS", -1)
    pairs = list(contest.in_turns(lambda: 1.0, lambda: 2.0, turns=9))
    assert pairs == [(1.0, 2.0)] * 3


def test_machine_is_described_in_one_line():
    line, empty = machine.describe()
    assert empty == "" and "cores" in line and "jax 0." in line
