"""Copies of checkpoints: equal to the restored variables, or ignored."""

import dataclasses
import os
import pathlib
import random

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import snapshot, system, workdir
from mgr_jax.data import splits
from mgr_jax.training import checkpoint
from tests.export import trained
from tests.training.test_checksums import flip


@pytest.fixture(name="run")
def _run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("7/state/data", "7/metrics/metrics"):
        path = tmp_path / "run" / "checkpoints" / name
        path.parent.mkdir(parents=True)
        path.write_text("content")
    split = splits.Split(protocol="listed", train=(), valid=(), test=())
    record = {"config": config_lib.to_json(config_lib.Config()), "labels": ["a", "b"]}
    return workdir.Run(tmp_path / "run", config_lib.Config(), ("a", "b"), split, record)


def _keep(run, variables):
    snapshot.write(run, "best", snapshot.source(run), 7, variables)


def _copy(tmp_path):
    (path,) = (tmp_path / "cache").rglob("*.safetensors")
    return path


@pytest.mark.parametrize(
    ("name", "fields"), [("bbnn", {}), ("bbnn", {"features_normalize": "bin"}), ("rnn", {})]
)
def test_read_gives_what_was_written(run, name, fields):
    variables = trained.make_system(name, **fields).variables
    assert snapshot.read(run, "best") is None
    _keep(run, variables)
    step, actual = snapshot.read(run, "best")
    assert step == 7
    assert jax.tree.structure(actual) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, actual, variables)
    assert snapshot.read(run, "latest") is None


def _grow(run):
    path = run.path / "checkpoints" / "8" / "state"
    path.mkdir(parents=True)
    (path / "data").write_text("new")
    return run


def _touch(run):
    os.utime(run.path / "checkpoints/7/state/data", ns=(1, 1))
    return run


def _remove(run):
    (run.path / "checkpoints/7/metrics/metrics").unlink()
    return run


def _edit(run):
    return dataclasses.replace(run, record=run.record | {"labels": ["b", "a"]})


@pytest.mark.parametrize("change", [_grow, _touch, _remove, _edit])
def test_read_gives_nothing_when_the_run_has_changed(run, change):
    _keep(run, {"params": {"a": np.ones(3)}, "batch_stats": {}, "normalizer": None})
    assert snapshot.read(run, "best") is not None
    assert snapshot.read(change(run), "best") is None


@pytest.mark.parametrize("at", [3, 40, -5])
def test_read_gives_nothing_of_a_damaged_copy(run, tmp_path, at):
    _keep(run, {"params": {"a": np.ones(3)}, "batch_stats": {}, "normalizer": None})
    content = bytearray(_copy(tmp_path).read_bytes())
    content[at] ^= 4
    _copy(tmp_path).write_bytes(content)
    assert snapshot.read(run, "best") is None
    _copy(tmp_path).write_bytes(content[:20])
    assert snapshot.read(run, "best") is None


def test_read_gives_nothing_else_after_any_of_200_flipped_bits(run, tmp_path):
    variables = {"params": {"a": np.arange(3.0)}, "batch_stats": {"b": np.ones(2)}}
    _keep(run, variables | {"normalizer": None})
    generator, path = random.Random(0), _copy(tmp_path)
    for _ in range(200):
        bit = generator.randrange(8 * path.stat().st_size)
        flip(path, bit)
        assert snapshot.read(run, "best") is None, bit
        flip(path, bit)
    assert snapshot.read(run, "best") is not None


def test_write_keeps_one_copy_and_ignores_an_unwritable_folder(run, tmp_path, monkeypatch):
    for value in (1.0, 2.0):
        _keep(run, {"params": {"a": np.full(3, value)}, "batch_stats": {}, "normalizer": None})
    assert snapshot.read(run, "best")[1]["params"]["a"][0] == 2
    assert [path.name for path in _copy(tmp_path).parent.iterdir()] == [_copy(tmp_path).name]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    _keep(run, {"params": {}, "batch_stats": {}, "normalizer": None})
    assert snapshot.read(run, "best") is None


def test_load_restores_once(run, monkeypatch):
    restored = trained.make_system("bbnn").variables
    calls = []

    @dataclasses.dataclass
    class State:
        def variables(self):
            return restored

    def restore(path: pathlib.Path, which: str, abstract, warn):
        calls.append(which)
        return 7, State()

    monkeypatch.setattr(checkpoint, "restore", restore)
    for _ in range(2):
        step, actual = system._variables(run, "best")
        assert step == 7
        jax.tree.map(np.testing.assert_array_equal, actual, restored)
    assert calls == ["best"]
