"""`experiments.compile_for`: refusals, the lowering for GPUs, and TPUs where libtpu is."""

import importlib.util
import json

import pytest

from tests.compile_report import gpu_compiler
from tests.experiments import commands

RNN = ("--config=experiments/configs/rnn.py:fast", "--config.data.window_seconds=0.5")


def for_tpu(test):
    """Of tests that compile for TPUs, which takes libtpu and minutes."""
    reason = "libtpu (extra `tpu`) is not installed"
    missing = importlib.util.find_spec("libtpu") is None
    return pytest.mark.slow(pytest.mark.skipif(missing, reason=reason)(test))


def test_compile_for_cuda_reports_the_lowered_program(tmp_path):
    file = tmp_path / "cuda.json"
    out, _ = commands.run(
        tmp_path, "compile_for", *RNN, "--config.data.window_seconds=2", "--topology=cuda",
        "--clips_per_device=2", f"--json={file}",
    )  # fmt: skip
    (record,) = json.loads(file.read_text())
    assert record["batch_size"] == 2 and record["flops"] > 0 and record["bytes_before_fusion"] > 0
    assert record["operations"]["while"] == record["loops_counted_once"] > 0
    assert "bodies once" in out


def test_compile_for_cuda_counts_what_this_cpu_would_give_to_a_library(tmp_path, monkeypatch):
    # The second convolution alone: 8 x 478 x 638 x 32 outputs of 288 products, and its gradients.
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    file = tmp_path / "cuda.json"
    commands.run(
        tmp_path, "compile_for", "--config=experiments/configs/cnn.py", "--topology=cuda",
        "--clips_per_device=8", f"--json={file}",
    )  # fmt: skip
    (record,) = json.loads(file.read_text())
    assert record["flops"] > 3 * 2 * 8 * 478 * 638 * 32 * 288
    assert "custom_call" not in record["operations"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--config=experiments/configs/svm.py", "--topology=cuda"], "model.name"),
        ([*RNN, "--topology=cuda", "--clips_per_device=0"], "--clips_per_device"),
        ([*RNN, "--topology=cuda", "--config.train.parallelism=pmap"], "train.parallelism"),
        ([*RNN, "--topology=cuda", "stray"], "stray"),
        ([*RNN, "--topology=h100:12"], "--topology h100:12: give 1 to 8 GPUs"),
    ],
)
def test_compile_for_refuses_in_one_line(tmp_path, flags, named):
    assert named in commands.fails(tmp_path, "compile_for", *flags)


@for_tpu
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


@for_tpu
@pytest.mark.parametrize(("flags", "count"), [([], 19), (["local_batch_norm=True"], 1)])
def test_compile_for_a_tpu_joins_the_collectives_of_a_bbnn(tmp_path, flags, count):
    """As `tests/compile_report/test_program.py` has it on CPU, for small pictures."""
    file = tmp_path / "v5e.json"
    commands.run(
        tmp_path, "compile_for", "--config=experiments/configs/bbnn.py", "--topology=v5e:2x4",
        "--config.data.clip_samples=4096", "--config.features.n_fft=256",
        "--config.features.hop_length=128", "--config.features.n_mels=16",
        *[f"--config.model.{flag}" for flag in flags], f"--json={file}",
    )  # fmt: skip
    (record,) = json.loads(file.read_text())
    assert record["collectives"] == {"all-reduce": count}


@for_tpu
def test_compile_for_refuses_a_batch_that_does_not_fit_and_names_the_largest(tmp_path):
    file = tmp_path / "v5e.json"
    line = commands.fails(
        tmp_path, "compile_for", *RNN, "--config.model.hidden_size=2048",
        "--config.features.hop_length=64", "--topology=v5e:2x4", "--clips_per_device=4096",
        f"--json={file}",
    )  # fmt: skip
    (record,) = json.loads(file.read_text())
    assert record["error"] == "does not fit" and record["peak_memory"] > record["memory"]
    assert 0 < record["largest"] < 4096
    assert "4096 clips per device do not fit in 15.75 GiB of HBM; the largest that does is" in line
    facts = record["facts_of_largest"]
    assert facts["peak_memory"] < record["memory"] < facts["peak_memory"] * 1.5


@for_tpu
@pytest.mark.parametrize("topology", ["v5p:2x2x2", "v6e:2x4"])
def test_compile_for_knows_the_other_chips(tmp_path, topology):
    file = tmp_path / "chips.json"
    commands.run(
        tmp_path, "compile_for", *RNN, f"--topology={topology}", "--clips_per_device=1",
        f"--json={file}",
    )  # fmt: skip
    (record,) = json.loads(file.read_text())
    assert record["devices"] == 8 and record["chip"] == topology[:3]
    assert 0 < record["scaling_efficiency"] < 1


@gpu_compiler.needed
def test_compile_for_gpus_counts_kernels_and_collectives(tmp_path):
    file = tmp_path / "gpus.json"
    out = gpu_compiler.run(
        "compile_for", *RNN, "--topology=h100:8,a100:1", "--clips_per_device=2", f"--json={file}"
    )
    eight, one = json.loads(file.read_text())
    assert (eight["chip"], eight["devices"], one["chip"]) == ("h100", 8, "a100")
    assert eight["flops"] == one["flops"] > 0 and one["collectives"] == {}
    assert eight["collectives"]["all-reduce"] >= 1 and 0 < eight["scaling_efficiency"] < 1
    assert one["num_kernels"] > 10 and f"kernels      {one['num_kernels']} in a step" in out
