"""The suites of the benchmark, on a small scale."""

import subprocess
import sys

import pytest

from experiments.suites import frontend, parity, parity_cases


def test_frontend_times_the_same_work_as_librosa(monkeypatch):
    monkeypatch.setattr(frontend, "PEERS", {"librosa": frontend.PEERS["librosa"]})
    rows = frontend.run(clips=2, samples=22_050, turns=2)
    assert [row["case"] for row in rows] == list(frontend.CASES)
    for row in rows:
        assert {"case", "peer", "ours_s", "peer_s", "ratio", "spread"} <= row.keys()
        assert row["max_difference"] < 1e-3 and row["ours_s"] > 0 and row["peer_s"] > 0
    assert len(frontend.table(rows)) == 2 + len(rows)


def test_parity_table_tells_the_largest_error_of_every_case(monkeypatch):
    cases = [case for case in parity_cases.cases() if case.function in ("rms", "spectral_centroid")]
    monkeypatch.setattr(parity_cases, "cases", lambda: iter(cases))
    monkeypatch.delenv("MGR_JAX_SHARED", raising=False)
    rows = parity.run(samples=8192)
    assert len(rows) == 5 * len(cases)
    text = "\n".join(parity.table(rows))
    assert "`rms(center=False)`" in text and "| `spectral_centroid` | sine |" in text


@pytest.mark.parametrize("flags", [["--suite=nothing"], [], ["--suite=parity", "more"]])
def test_benchmark_names_a_wrong_flag_in_one_line(flags):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark", *flags], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
