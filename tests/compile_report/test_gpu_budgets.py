"""What an H100 would do, by XLA's compiler for it: no more than it does for the plain formulas."""

import importlib.util

import pytest

from experiments.benchmarks import gpu_counts
from mgr_jax.compile_report import devices

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(map(importlib.util.find_spec, devices.PLUGINS)),
        reason="the compiler for GPUs (extra `cuda`) is not installed",
    ),
]

# Network, step, precision, and the largest share of the bytes of the plain formulas.
CASES = [
    ("bbnn", "train", "tf32", 0.7),
    ("bbnn", "train", "bf16", 0.7),
    ("bbnn", "infer", "tf32", 1.0),
    ("bbnn", "infer", "bf16", 1.0),
    ("gru", "train", "tf32", 0.8),
    ("gru", "infer", "tf32", 1.0),
    ("lstm", "train", "tf32", 0.8),
    ("lstm", "infer", "tf32", 1.0),
    ("cnn", "train", "tf32", 1.0),
    ("cnn_lstm", "train", "tf32", 1.0),
]


@pytest.mark.parametrize(("net", "mode", "precision", "share"), CASES)
def test_step_moves_no_more_bytes_and_launches_no_more_kernels(net, mode, precision, share):
    chips = devices.describe("h100:1")
    reference, ours = (
        gpu_counts.count(chips, net, mode, precision, batch=64, side=side)
        for side in gpu_counts.SIDES
    )
    assert ours["gb"] <= share * reference["gb"]
    assert ours["kernels"] <= 1.1 * reference["kernels"]
    assert ours["peak_gb"] <= 1.01 * reference["peak_gb"]
