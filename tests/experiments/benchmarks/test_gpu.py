"""The GPU benchmark, at small sizes on the CPU."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from experiments.benchmarks import gpu, gpu_check, gpu_epoch, gpu_rows
from tests.experiments.commands import REPO

pytestmark = pytest.mark.e2e

# What a common image with CUDA does not have.
MISSING = "librosa soundfile soxr grain orbax ml_collections tensorboardX array_record pretty_midi"


@pytest.fixture(name="args")
def _args(tmp_path):
    args = gpu.parse(["--tiny", "--batches=2", "--nets=gru", f"--out={tmp_path / 'rows.jsonl'}"])
    args.deadline = args.began + 600
    return args


def _rows(args):
    with open(args.out, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_network_and_h2d_write_a_row_at_once(args, monkeypatch):
    monkeypatch.setattr(gpu_rows, "STEPS", (("infer", "tf32"),))
    for _ in gpu_rows.network(args, "ours", "gru"):
        pass
    (row,) = _rows(args)
    expected = {"side": "ours", "net": "gru", "mode": "infer", "precision": "tf32"}
    assert expected.items() <= row.items()
    assert 0 < row["ms_min"] <= row["ms"] <= row["ms_max"] and row["t"] > 0
    assert row["per_s"] == pytest.approx(2e3 / row["ms"], rel=0.1) and row["peak_mb"] > 0
    steps = gpu_rows.h2d(args)
    next(steps), next(steps)
    assert _rows(args)[1]["mode"] == "float32"


def test_error_of_a_row_leaves_the_next_ones(args):
    with gpu_rows.reported(args, net="gru"):
        raise ValueError("too\nlarge")
    assert _rows(args)[0]["error"] == "ValueError: too large"


def test_tasks_are_in_the_order_of_importance():
    args = gpu.parse([])
    tasks = [task for task, _ in gpu._tasks(args)]
    assert args.batch == 64 and tasks[:3] == ["check", "ours bbnn 64", "ours gru 64"]
    torch = "torch bbnn,gru,lstm,cnn,cnn_lstm,rnn 64"
    assert tasks.index("torch.compile bbnn 64") < tasks.index(torch) < tasks.index("h2d")
    epochs = [task for task in tasks if task.startswith("epoch")]
    assert epochs[:2] == ["epoch bbnn on_device 64", "epoch bbnn streaming 64"]
    assert len(epochs) == 4 and tasks.index("h2d") < tasks.index(epochs[0])
    assert tasks.index(epochs[-1]) < tasks.index("ours bbnn 256")
    assert tasks.index("h2d") < tasks.index("ours bbnn 256") < tasks.index("ours bbnn 8")
    assert gpu._environment("check")["XLA_FLAGS"].endswith("--xla_gpu_autotune_level=0")
    assert "autotune" not in gpu._environment("h2d")["XLA_FLAGS"]


@pytest.mark.slow  # It compiles two steps.
def test_epoch_from_the_device_takes_the_steps_of_streaming(args):
    """The same windows in the same order, so that the two ways end with the same parameters."""
    args.cache = str(REPO / ".pytest_cache" / "xla")
    for side in gpu_epoch.SIDES:
        for _ in gpu_epoch.epoch(args, "quickstart", side):
            pass
    rows = _rows(args)
    for side, row in zip(gpu_epoch.SIDES, rows, strict=True):
        expected = {"side": side, "net": "quickstart", "mode": "epoch", "batch": 2, "steps": 4}
        assert expected.items() <= row.items()
        assert 0 < row["ms_min"] <= row["ms"] <= row["ms_max"] and 0 < row["read_share"] < 1
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], abs=2e-4)


def test_windows_are_an_epoch_without_repetition_and_cut_reads_them(args):
    config = gpu_epoch.make_config("quickstart")
    config.data.clip_samples = 500
    clips = gpu_epoch.make_clips(config, args)
    assert clips[0].shape == (8, 500) and clips[0].dtype == np.int16
    plans = list(gpu_epoch.windows(clips, 200, 3, seed=1))
    chosen = np.concatenate([plan["clip"] for plan in plans])
    assert len(plans) == 2 and len(set(chosen)) == 6  # The two that are left fill no batch.
    for plan in plans:
        assert all(value.dtype == np.int32 and len(value) == 3 for value in plan.values())
        batch = gpu_epoch.cut(clips, plan, 200)
        for row, clip, start in zip(batch["waveform"], plan["clip"], plan["start"], strict=True):
            np.testing.assert_array_equal(row, clips[0][clip, start : start + 200])


def test_process_that_is_too_slow_is_killed(args, monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 0)
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(99)"],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert gpu._finish(args, "ours gru", process, 0.1) != 0
    assert process.poll() is not None
    assert _rows(args)[0]["task"] == "ours gru" and _rows(args)[0]["exit_code"] == -9


def test_all_parts_import_where_a_cuda_image_lacks_our_packages(tmp_path):
    modules = "experiments.benchmarks.gpu experiments.benchmarks.jax_steps mgr_jax.training.feed"
    blocker = f"import sys\nfor name in '{MISSING} tqdm'.split(): sys.modules[name] = None\n"
    code = f"{blocker}\nimport {', '.join(modules.split())}, mgr_jax.features.frontend"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)


@pytest.mark.e2e
def test_check_runs_where_a_cuda_image_lacks_our_packages(tmp_path):
    blocker = f"import sys\nfor name in {MISSING.split()}:\n    sys.modules[name] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocker)
    flags = ["--tiny", "--nets=gru", "--parts=check,h2d", "--commit=abc"]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.gpu", *flags],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    header, check, step, *copies, end = map(json.loads, done.stdout.splitlines())
    assert header["commit"] == "abc" and end["end"]
    assert check["ok"] and float(check["gradient, reference"]) < gpu_check.BOUND
    assert 0 < float(check["logits, bf16"]) < gpu_check.BF16_BOUND
    assert step["ok"] and float(step["resume"]) == 0 and float(step["pmap"]) < gpu_check.BOUND
    assert [row["mode"] for row in copies] == ["float32", "int16"]
