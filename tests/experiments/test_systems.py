"""`experiments.systems`: one table of all systems, which goes on after a kill."""

import json
import os
import signal
import threading
import time
import types

import pytest

from mgr_jax import files
from mgr_jax.evaluation import predictions_file
from mgr_jax.workdir import read_metrics
from tests.experiments import commands

systems = commands.load("systems")

TINY_IMAGE = {
    name.removeprefix("--config."): value
    for name, value in (override.split("=") for override in commands.TINY[1:])
} | {
    "data.clip_samples": 0,
    "features.image_height": 24,
    "features.image_width": 32,
    "optim.early_stop_patience": 0,
    "train.num_epochs": 60,
}


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Return a folder that the flags name."""
    flags = {"_WORKDIR": tmp_path, "_TABLE": tmp_path / "table.md", "_FIGURE": tmp_path / "f.png"}
    for name, path in flags.items():
        monkeypatch.setattr(systems, name, types.SimpleNamespace(value=str(path)))
    monkeypatch.setattr(systems, "_SIZE", types.SimpleNamespace(value="fast"))
    monkeypatch.setattr(systems.command, "override_values", lambda flags: {})
    return tmp_path


@pytest.mark.parametrize("size", systems.SYSTEMS)
def test_systems_have_a_workdir_each(workdir, size):
    folders = [system.workdir for system in systems.SYSTEMS[size]]
    assert len(set(folders)) == len(folders)
    assert {folder.parent for folder in folders} == {workdir}


def test_table_names_the_systems_that_are_not_finished(workdir):
    lines = systems._table(systems.SYSTEMS["full"]).splitlines()
    assert lines[2].startswith("| SVM on PCA | not finished | ")
    assert lines[2].endswith(" | 60 % |")
    assert len({line.count(" | ") for line in lines[2:]}) == 1
    head = systems._table(systems.SYSTEMS["ablation"]).splitlines()[0]
    assert head.endswith(" | validation accuracy, 95 % intervals |")


def test_costs_of_each_system_have_a_file_of_their_own(monkeypatch):
    monkeypatch.setattr(systems, "_WORKDIR", types.SimpleNamespace(value="runs"))
    for size, members in systems.SYSTEMS.items():
        files = {systems._costs_file(member).name for member in members}
        assert len(files) == len(members), size


def test_costs_are_sums_and_say_what_was_not_measured(tmp_path):
    file = tmp_path / "costs.jsonl"
    assert systems._costs(file) == ("not measured", "not measured")
    for name, seconds in (("train", 50.0), ("evaluate", 40.0)):
        files.append_record(file, {"started": name})
        files.append_record(file, {"ended": name, "wall_s": 9.0, "cpu_s": seconds, "peak": 2e9})
    assert systems._costs(file) == ("1.5 min", "2.0 GB")
    files.append_record(file, {"started": "train"})  # Killed.
    assert systems._costs(file) == ("at least 1.5 min", "at least 2.0 GB")


def _stop_after_an_epoch(workdir):
    file = workdir / "metrics.jsonl"
    while not (file.exists() and file.stat().st_size):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.e2e
def test_bbnn_on_a_picture_trains_resumes_evaluates_and_exports(workdir, monkeypatch):
    for name, value in commands._environment(workdir / "cache").items():
        monkeypatch.setenv(name, value)
    system = systems.System("BBNN", "bbnn.py:image", "88 %", TINY_IMAGE)
    monkeypatch.setattr(systems, "SYSTEMS", {"fast": (system,)})
    killer = threading.Thread(target=_stop_after_an_epoch, args=(system.workdir,), daemon=True)
    killer.start()
    assert systems.main([""]) == 75
    killer.join()
    num_epochs = len(read_metrics(system.workdir))
    assert 1 <= num_epochs < 60
    assert not (workdir / "table.md").exists()
    assert not (workdir / "f.png").exists()
    assert systems.main([""]).code == 0
    assert len(read_metrics(system.workdir)) == 60
    assert "| BBNN | " in (workdir / "table.md").read_text()
    assert "at least" not in (workdir / "table.md").read_text()  # A SIGTERM is measured.
    assert (workdir / "f.png").exists()
    config = json.loads((system.workdir / "config.json").read_text())["config"]
    assert config["features"]["kind"] == "mel_image"
    assert predictions_file.read_all([str(system.workdir)], ["BBNN"], "test")
    bundle = workdir / "bbnn.safetensors"
    arguments = (f"--workdir={system.workdir}", "--format=bundle", f"--output={bundle}")
    commands.run(workdir / "cache", "export", *arguments)
    assert bundle.exists()
