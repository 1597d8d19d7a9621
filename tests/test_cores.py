"""Cores that a process may use, with and without a system that tells."""

import os

import pytest

from mgr_jax import cores


def test_count_is_that_of_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7} if pid == 0 else set())
    assert cores.count() == 3


@pytest.mark.parametrize(("known", "expected"), [(6, 6), (None, 1)])
def test_count_without_affinity_is_that_of_the_machine(monkeypatch, known, expected):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: known)
    assert cores.count() == expected
