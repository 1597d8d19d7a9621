"""`experiments.compile_for`: refusals, the lowering for GPUs, and TPUs where libtpu is."""

import importlib.util
import json

import pytest

from tests.experiments import commands

RNN = ("--config=experiments/configs/rnn.py:fast", "--config.data.window_seconds=0.5")


def test_compile_for_cuda_reports_the_lowered_program(tmp_path):
    file = tmp_path / "cuda.json"
    out, _ = commands.run(
        tmp_path, "compile_for", *RNN, "--topology=cuda", "--clips_per_device=2", f"--json={file}"
    )
    (record,) = json.loads(file.read_text())
    assert record["batch_size"] == 2 and record["flops"] > 0 and record["bytes_before_fusion"] > 0
    assert record["operations"]["while"] == record["loops_counted_once"] > 0
    assert "bodies once" in out


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--config=experiments/configs/svm.py", "--topology=cuda"], "model.name"),
        ([*RNN, "--topology=cuda", "--clips_per_device=0"], "--clips_per_device"),
        ([*RNN, "--topology=cuda", "--config.train.parallelism=pmap"], "train.parallelism"),
        ([*RNN, "--topology=cuda", "stray"], "stray"),
    ],
)
def test_compile_for_refuses_in_one_line(tmp_path, flags, named):
    assert named in commands.fails(tmp_path, "compile_for", *flags)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu (extra `tpu`) is not installed"
)
def test_compile_for_a_tpu_counts_its_collectives(tmp_path):
    file = tmp_path / "v5e.json"
    commands.run(
        tmp_path, "compile_for", *RNN, "--topology=v5e:2x4", "--clips_per_device=1,2",
        f"--json={file}",
    )  # fmt: skip
    one, two = json.loads(file.read_text())
    assert one["devices"] == 8 and two["batch_size"] == 16
    assert one["flops"] < two["flops"] and one["collectives"]["all-reduce"] >= 1
    assert one["bound"] in ("compute", "memory", "network")
