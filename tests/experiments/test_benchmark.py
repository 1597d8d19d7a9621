"""The flags of the benchmark; its suites are tested in `benchmarks`."""

import json

import pytest

from tests.experiments import commands


@pytest.mark.parametrize(
    "flags",
    [
        ["--suite=nothing"],
        [],
        ["--suite=parity", "more"],
        ["--suite=shards", "--only=9"],
        ["--suite=parity", "--only=rms"],
        ["--suite=growth", "--only=rms"],
        ["--suite=parity", "--plot=a.png"],
        ["--suite=parity", "--compile"],
        ["--quick", "--only=bbnn"],
    ],
)
def test_benchmark_names_a_wrong_flag_in_one_line(cache, flags):
    commands.fails(cache, "benchmark", *flags)


@pytest.mark.e2e
def test_benchmark_quick_writes_the_rows_of_the_contract(cache, tmp_path):
    path = tmp_path / "rows.json"
    out, _ = commands.run_process(
        cache, "benchmark", "--suite=frontend", "--quick", f"--json={path}"
    )
    rows = json.loads(path.read_text())
    assert all({"case", "peer", "ours_s", "peer_s", "ratio", "spread"} <= r.keys() for r in rows)
    assert "librosa" in out
