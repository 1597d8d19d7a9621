"""Measure the networks and the front end on one GPU, beside plain formulas and PyTorch, in minutes.

    python -m experiments.benchmarks.gpu --out=rows.jsonl --cache=DIR --budget=540
    python -m experiments.benchmarks.gpu --tiny --nets=gru --budget=200  # a trial without a GPU

One call checks the numbers first, then measures. Every row is a JSON line, printed and appended to
`--out` at once, the most important ones first: what was never measured and what has changed since
(`experiments/results/gpu.md`), then the other sides, then further batches. So a run that is cut off
keeps what it has measured; with `--cache` the next one compiles nothing again. Each network of each
side has a process of its own with a time limit: XLA's compilers share locks, so two of them in one
process would stall whatever is timed. Meanwhile the process of the next row already imports and
traces, then waits.
Needs numpy, jax, flax, optax and torch, nothing else.

Fields of a row:
  t: seconds since the start.
  side: ours, reference (`model.implementation`), torch, torch.compile, naive jnp, ...
  net, mode, precision: tf32 is float32 with products in TF32, JAX's default; bf16 is bfloat16.
  ms, ms_min, ms_max: milliseconds of a step, the median and the range over blocks of steps.
  per_s: examples per second by the median.
  peak_mb: JAX: arguments, results and temporaries by the compiler; torch: allocated at the peak.
  compile_s: seconds of compilation (torch: of the first step).
  epoch_s: seconds of an epoch from waveforms, by the median; read_share: share of it that the host
    takes to choose and read batches, most of it while the device computes.
"""

import argparse
import contextlib
import faulthandler
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from experiments.benchmarks import gpu_check, gpu_epoch, gpu_rows

# Seconds for each side of a network; the first have changed most since they were measured. They are
# enough on a GPU; with --tiny, for a CPU, they are ten times as many.
LIMITS = {"bbnn": 90, "gru": 35, "lstm": 35, "cnn": 110, "cnn_lstm": 110, "rnn": 35}
PARTS = ("check", "networks", "compile", "torch", "frontend", "h2d", "epoch")
SIDES = ("ours", "reference")
GRACE = 3  # seconds, in which a process that is too slow shows where and ends by itself


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--nets", default=",".join(LIMITS))
    parser.add_argument("--batches", default="64,256,8", help="of networks; the rest at the first")
    parser.add_argument("--out", default="", help="file that rows are appended to")
    parser.add_argument("--budget", type=float, default=540, help="seconds for everything")
    parser.add_argument("--commit", default="", help="recorded: the copy may not be a repository")
    parser.add_argument("--cache", default="", help="folder for what JAX compiles")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    parser.add_argument("--task", default="", help=argparse.SUPPRESS)
    parser.set_defaults(device="")
    args = parser.parse_args(arguments)
    args.batch = int(args.batches.partition(",")[0])
    return args


def main() -> int:
    args = parse()
    if args.task:
        return work(args)
    flags = os.environ.get("XLA_FLAGS", "")
    gpu_rows.emit(args, commit=args.commit, argv=sys.argv[1:], xla_flags=flags)
    tasks, code = list(_tasks(args)), 0
    waiting = [_start(args, tasks[0][0])]
    try:
        for (task, limit), after in zip(tasks, [*tasks[1:], None], strict=True):
            limit = min(limit * (10 if args.tiny else 1), args.began + args.budget - time.time())
            if limit < 5:
                gpu_rows.emit(args, task=task, skipped="out of time")
                continue
            if after is not None:
                waiting.append(_start(args, after[0]))
            code = _finish(args, task, waiting.pop(0), limit) or code
    finally:
        for process in waiting:
            _kill(process)
    gpu_rows.emit(args, end=True)
    return code


def _tasks(args: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Yield the name and the limit in seconds of every process, the most important first."""
    parts, nets = args.parts.split(","), args.nets.split(",")
    if "check" in parts:
        yield "check", 90
    for i, batch in enumerate(args.batches.split(",")):
        if "networks" in parts:
            yield from ((f"{side} {net} {batch}", LIMITS[net]) for side in SIDES for net in nets)
        if "compile" in parts and i == 0:
            compiled = [net for net in ("bbnn", "cnn") if net in nets]
            yield from ((f"torch.compile {net} {batch}", 60) for net in compiled)
        if "torch" in parts:
            yield f"torch {args.nets} {batch}", 90
        if "frontend" in parts and i == 0:
            yield from (("frontend", 30), ("torch-frontend", 30))
        if "h2d" in parts and i == 0:
            yield "h2d", 20
        if "epoch" in parts and i == 0:
            pairs = itertools.product(gpu_epoch.CASES, gpu_epoch.SIDES)
            yield from ((f"epoch {net} {side} {batch}", 60) for net, side in pairs)


def _environment(task: str) -> dict[str, str]:
    """Return variables of a process; the check takes any kernels rather than time them."""
    flags = os.environ.get("XLA_FLAGS", "")
    if task == "check":
        flags = f"{flags} --xla_gpu_autotune_level=0".strip()
    # Two processes hold the GPU at times: without this the first would take most of its memory.
    return {"XLA_FLAGS": flags, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def _start(args: argparse.Namespace, task: str) -> subprocess.Popen:
    """Start a process, which prepares its work and then waits for a line with its limit."""
    command = [sys.executable, "-m", "experiments.benchmarks.gpu", *sys.argv[1:]]
    return subprocess.Popen(
        [*command, f"--task={task}", f"--began={args.began}"],
        env=os.environ | _environment(task),
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finish(args: argparse.Namespace, task: str, process: subprocess.Popen, limit: float) -> int:
    """Let a process work for `limit` seconds at most, and return its exit code."""
    try:
        process.communicate(f"{limit}\n", timeout=limit + GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _kill(process)
    if process.returncode:
        gpu_rows.emit(args, task=task, limit=round(limit), exit_code=process.returncode)
    return process.returncode


def _kill(process: subprocess.Popen) -> None:
    """Kill a process with those that it started; PyTorch compiles in some."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def work(args: argparse.Namespace) -> int:
    """Prepare the task, wait for the line that says how long it may take, and do it."""
    kind, *rest = args.task.split()
    args.batch = int(rest.pop()) if len(rest) > 1 else args.batch
    steps = {"check": gpu_check.check, "epoch": gpu_epoch.epoch, **gpu_rows.TASKS}[kind](
        args, *rest
    )
    next(steps)
    line = sys.stdin.readline()
    if not line:  # The parent is gone.
        return 1
    faulthandler.dump_traceback_later(float(line), exit=True)
    args.deadline = time.time() + float(line)
    ok = False not in list(steps)
    sys.stdout.flush()
    os._exit(0 if ok else 1)  # Threads of a compiler would hold the process.


if __name__ == "__main__":
    sys.exit(main())
