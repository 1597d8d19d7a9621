"""The table of networks and topologies, with `compile_for` replaced: cells are kept and shown."""

import json
import subprocess

import pytest

from experiments import topologies
from tests.experiments import commands

FACTS = {
    "topology": "v5e:2x4",
    "chip": "v5e",
    "devices": 8,
    "clips_per_device": 8,
    "peak_memory": 3 * 2**30,
    "hbm_bytes_per_clip": 2.5e9,
    "collectives": {"all-reduce": 19},
    "collective_bytes": 811252,
    "loops_counted_once": 0,
    "lower_bound_seconds": 0.0245,
    "bound": "memory",
    "scaling_efficiency": 0.9987,
}
TOO_LARGE = {
    "chip": "v5e",
    "devices": 8,
    "clips_per_device": 8,
    "error": "does not fit",
    "peak_memory": 22 * 2**30,
}


def test_format_table_shows_a_cell_a_row():
    head, rule, row = topologies.format_table([FACTS | {"system": "bbnn"}]).splitlines()
    assert head.count("|") == rule.count("|") == row.count("|") == len(topologies.COLUMNS) + 1
    assert row == (
        "| bbnn | 8 v5e | 8 | yes | 3.00 GiB | 2.500 GB | 19 all-reduce | 0.81 MB | 24.50 ms"
        " | memory | 99.9 % |"
    )
    looped = topologies.format_table([FACTS | {"system": "rnn", "loops_counted_once": 2}])
    assert "| 24.50 ms+ |" in looped and "| 99.9 %+ |" in looped


def test_format_table_shows_the_largest_batch_where_the_requested_one_does_not_fit():
    fewer = {"largest": 5, "facts_of_largest": FACTS | {"clips_per_device": 5}}
    *_, row, none = topologies.format_table(
        [TOO_LARGE | fewer | {"system": "bbnn"}, TOO_LARGE | {"system": "cnn", "largest": 0}]
    ).splitlines()
    assert row.startswith("| bbnn | 8 v5e | 5 | 8 do not: 22.0 GiB | 3.00 GiB |")
    assert none.startswith("| cnn | 8 v5e | 0 | 8 do not: 22.0 GiB | - |")
    assert none.count("|") == len(topologies.COLUMNS) + 1


@pytest.fixture(name="compiled")
def _compiled(monkeypatch):
    """Topologies that a fake `compile_for` is called with; it does not know v6e."""
    compiled = []

    def run(arguments, **_):
        values = dict(text.removeprefix("--").split("=", 1) for text in arguments if "=" in text)
        compiled.append(values["topology"])
        if values["topology"].startswith("v6e"):
            return subprocess.CompletedProcess(arguments, 1, "", "error: no such chips")
        with open(values["json"], "w") as file:
            json.dump([FACTS | {"topology": values["topology"]}], file)
        return subprocess.CompletedProcess(arguments, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return compiled


def test_fill_keeps_what_is_compiled_and_says_what_is_not(compiled, tmp_path, capsys):
    for _ in range(2):
        assert topologies.fill(tmp_path, "cnn", "v5e:2x4", clips_per_device=8)
        assert topologies.fill(tmp_path, "rnn", "v5e:8x8", clips_per_device=8)
        assert not topologies.fill(tmp_path, "cnn", "v6e:2x4", clips_per_device=8)
    assert compiled == ["v5e:2x4", "v5e:8x8", "v6e:2x4", "v6e:2x4"]
    assert "cnn v6e:2x4: error: no such chips" in capsys.readouterr().err
    topologies.write_table(tmp_path)
    topologies.write_table(tmp_path)  # The table itself is not taken for a cell.
    table = json.loads((tmp_path / "table.json").read_text())
    assert [record["system"] for record in table] == ["rnn", "cnn"]
    assert table[1]["command"] == (
        "python -m experiments.compile_for --config=experiments/configs/cnn.py"
        " --topology=v5e:2x4 --clips_per_device=8"
    )
    assert (tmp_path / "table.md").read_text() == topologies.format_table(table)


def test_scaling_refuses_an_unknown_system(tmp_path):
    line = commands.fails(tmp_path, "scaling", f"--folder={tmp_path}", "--systems=gru")
    assert "--systems gru: choose from rnn" in line
