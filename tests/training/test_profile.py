"""Traces: which steps, in which files, and bad values of the flag."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from mgr_jax.errors import UserError
from mgr_jax.training import profile


def test_parse_steps_reads_a_range():
    assert profile.parse_steps("10:15") == range(10, 15)
    assert profile.parse_steps("0:1") == range(1)
    assert not profile.parse_steps("")


@pytest.mark.parametrize(
    "text", ["5", "5:5", "6:5", "-1:4", "a:b", "1:2:3", "1.5:3", ":3", "9" * 99]
)
def test_parse_steps_refuses_anything_but_a_range(text):
    with pytest.raises(UserError, match=r"^--profile is .*; give the first step and "):
        profile.parse_steps(text)


def test_check_steps_refuses_steps_after_the_run():
    profile.check_steps(range(9, 99), num_steps=10)
    profile.check_steps(range(0), num_steps=10)
    with pytest.raises(UserError, match="--profile is 10:12, but the run has only 10 steps"):
        profile.check_steps(range(10, 12), num_steps=10)


@pytest.mark.parametrize(
    ("first", "steps", "message"),
    [
        (0, range(2, 4), "steps 2 to 3"),
        (5, range(2, 7), "steps 5 to 6"),
        (0, range(6, 99), "steps 6 to 7"),
    ],
    ids=["in the middle", "resumed inside", "cut by the end"],
)
def test_profiler_traces_its_steps(tmp_path, monkeypatch, first, steps, message):
    calls, lines = [], []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append(("start", at)))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append(("stop", at)))
    profiler = profile.Profiler(tmp_path, steps, lines.append)
    for at in range(first, 8):
        profiler.before(at, jnp.zeros(()))
    at = 8
    profiler.close()
    profiler.close()
    assert calls == [("start", max(first, steps.start)), ("stop", min(8, steps.stop))]
    assert len(lines) == 1 and message in lines[0]


def test_profiler_writes_a_trace_that_a_browser_can_open(tmp_path):
    lines = []
    profiler = profile.Profiler(tmp_path / "profile", range(1, 2), lines.append)
    double = jax.jit(lambda x: 2 * x)
    x = jnp.ones(())
    for step in range(3):
        profiler.before(step, x)
        x = double(x)
    (path,) = (tmp_path / "profile").rglob("*.trace.json.gz")
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert str(tmp_path / "profile") in lines[0]


def test_profiler_of_no_steps_does_nothing(tmp_path):
    profiler = profile.Profiler(tmp_path / "profile", range(0), print)
    for step in range(3):
        profiler.before(step, None)
    profiler.close()
    assert not (tmp_path / "profile").exists()
