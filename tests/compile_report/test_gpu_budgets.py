"""What an H100 would do, by XLA's compiler for it: no more than it does for the plain formulas."""

import json

import pytest

from experiments.benchmarks import gpu_counts
from tests.compile_report import gpu_compiler

# Network, step, precision, batch, and the largest share of the bytes of the plain formulas.
CASES = [
    ("bbnn", "train", "tf32", 64, 0.7),
    ("bbnn", "train", "bf16", 64, 0.65),
    ("bbnn", "train", "bf16", 256, 0.65),
    ("bbnn", "infer", "tf32", 64, 1.0),
    ("bbnn", "infer", "bf16", 64, 1.0),
    ("gru", "train", "tf32", 64, 0.8),
    ("gru", "infer", "tf32", 64, 1.0),
    ("lstm", "train", "tf32", 64, 0.8),
    ("lstm", "infer", "tf32", 64, 1.0),
    ("cnn", "train", "tf32", 64, 1.0),
    ("cnn_lstm", "train", "tf32", 64, 1.0),
]


@gpu_compiler.needed
@pytest.mark.parametrize(("net", "mode", "precision", "batch", "share"), CASES)
def test_step_moves_no_more_bytes_and_launches_no_more_kernels(
    tmp_path, net, mode, precision, batch, share
):
    file = tmp_path / "rows.jsonl"
    gpu_compiler.run(
        "benchmarks.gpu_counts", f"--nets={net}", f"--steps={mode} {precision}",
        f"--batches={batch}", f"--out={file}",
    )  # fmt: skip
    rows = {row["side"]: row for row in map(json.loads, file.read_text().splitlines())}
    reference, ours = (rows[side] for side in gpu_counts.SIDES)
    assert ours["gb"] <= share * reference["gb"]
    assert ours["kernels"] <= 1.1 * reference["kernels"]
    assert ours["peak_gb"] <= 1.01 * reference["peak_gb"]
