"""Count traffic, kernels and memory of every network's step on a GPU that is not here.

    python -m experiments.benchmarks.gpu_counts --nets=bbnn,gru --batches=64,256 --out=rows.jsonl

XLA's compiler for GPUs needs no GPU (`pip install -e '.[cuda]'`), and takes seconds to a minute a
step. It cannot time kernels then, and takes the first that fits, so that on a GPU some of them may
be others. Both sides are compiled alike: ours, and the plain formulas (`model.implementation`).

Fields of a row:
  gb: read from HBM and written to it (10^9 bytes), those in loops as often as the loops run.
  kernels: launches. peak_gb: arguments, results and temporaries (10^9 bytes).
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.benchmarks import gpu_rows

NETS = ("bbnn", "cnn", "cnn_lstm", "gru", "lstm", "rnn")
STEPS = (("train", "tf32"), ("infer", "tf32"), ("train", "bf16"), ("infer", "bf16"))
SIDES = ("reference", "ours")
COUNTS = ("gb", "kernels", "peak_gb")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--batches", default="64")
    parser.add_argument("--steps", default=",".join(f"{a} {b}" for a, b in STEPS))
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--topology", default="h100:1")
    parser.add_argument("--out", default="", help="file that rows are appended to, as JSON lines")
    args = parser.parse_args(arguments)
    from mgr_jax.compile_report import devices
    from mgr_jax.errors import UserError

    try:
        chips = devices.describe(args.topology)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = []
    lists = (x.split(",") for x in (args.nets, args.batches, args.steps, args.sides))
    for net, batch, step, side in itertools.product(*lists):
        rows.append(count(chips, net, *step.split(), batch=int(batch), side=side))
        line = json.dumps(rows[-1])
        print(line, flush=True)
        if args.out:
            with open(args.out, "a", encoding="utf-8") as file:
                file.write(line + "\n")
    print("".join(f"{line}\n" for line in table(rows)), end="")
    return 0


def count(
    chips: Sequence[Any], net: str, mode: str, precision: str, *, batch: int, side: str
) -> dict[str, Any]:
    """Compile one step for `chips` and return its row."""
    from mgr_jax.compile_report import program

    began = time.monotonic()
    compiled = compile_step(chips, net, mode, precision, batch=batch, side=side)
    counts = program.describe(compiled)
    return {
        "net": net,
        "mode": mode,
        "precision": precision,
        "batch": batch,
        "side": side,
        "gb": round(counts.launched_bytes / 1e9, 2),
        "kernels": counts.num_kernels,
        "peak_gb": round(counts.peak_memory / 1e9, 2),
        "seconds": round(time.monotonic() - began, 1),
    }


def compile_step(
    chips: Sequence[Any], net: str, mode: str, precision: str, *, batch: int, side: str
) -> Any:
    """Return the train or predict step of a network, compiled for `chips`."""
    import jax

    from experiments.benchmarks import jax_steps
    from mgr_jax import parallel
    from mgr_jax.compile_report import devices

    config = gpu_rows.make_config(net, tiny=False, side=side, precision=precision)
    inputs = gpu_rows.make_batch(config, 1)
    mesh = parallel.make_mesh(chips)
    init, train, predict = jax_steps.make_programs(config, inputs["waveform"].shape[1:], mesh)
    state = parallel.abstract(jax.eval_shape(init), mesh)
    shapes = {
        key: jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for key, x in inputs.items()
    }
    if mode == "train":
        lowered = train.lower(state, shapes)
    else:
        shapes = {key: shapes[key] for key in ("waveform", "num_samples")}
        lowered = predict.lower(state.variables(), shapes)
    return lowered.compile(compiler_options=devices.compiler_options(chips))


def table(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return the rows as Markdown: the plain formulas, ours, and ours over the plain formulas."""
    head = ["network", "step", "precision", "batch"]
    head += [f"{name}, {side}" for name in ("GB", "kernels", "peak GB") for side in SIDES]
    lines = [f"| {' | '.join([*head, 'bytes', 'kernels'])} |", "| --- " * (len(head) + 2) + "|"]
    cells: dict[tuple, dict] = {}
    for row in rows:
        key = row["net"], row["mode"], row["precision"], row["batch"]
        cells.setdefault(key, {})[row["side"]] = row
    for key, sides in cells.items():
        values = [sides.get(side, {}).get(name, "") for name in COUNTS for side in SIDES]
        ratios = ["", ""]
        if len(sides) == len(SIDES):
            ratios = [f"{sides['ours'][k] / sides['reference'][k]:.2f}" for k in COUNTS[:2]]
        lines.append(f"| {' | '.join(map(str, (*key, *values, *ratios)))} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
