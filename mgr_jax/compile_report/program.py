"""The compiler's counts of a compiled step: FLOPs, memory, traffic, collectives; per device."""

import collections
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from mgr_jax.compile_report import traffic
from mgr_jax.compile_report.chips import Chip

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
# `%name = SHAPE all-reduce(...)`; of an asynchronous pair, start and done, the start is matched.
_COLLECTIVE = re.compile(rf"= (\(.*?\)|\S+) ({_KINDS})(-start)?\(")
_SHAPE = re.compile(r"([a-z]\w*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Program:
    """One step on one device.

    Attributes:
      flops: floating-point operations, as the compiler counts them.
      bytes_accessed: bytes that operations read and write in any memory, as the compiler counts.
      hbm_bytes: bytes read from HBM and written to it (`compile_report.traffic`).
      peak_memory: bytes of HBM in use at once: arguments, results and temporaries.
      collectives: kind -> number of instructions.
      collective_bytes: bytes that they send from one device.
      num_loops: number of loops; all counts so far include a loop's body once, however often it
        runs.
      num_kernels, launched_bytes: kernels that a GPU launches and the bytes that they read and
        write, those of a loop as often as it runs (`traffic.launches`).
    """

    flops: float
    bytes_accessed: float
    hbm_bytes: float
    peak_memory: int
    collectives: dict[str, int]
    collective_bytes: int
    num_loops: int
    num_kernels: int = 0
    launched_bytes: int = 0


def describe(compiled: Any, *, flops: float = math.nan) -> Program:
    """Return the counts of `compiled`, the result of `jax.jit(step).lower(...).compile()`.

    `flops` are those of a program whose compiler counts none, as for a GPU that is not here.
    """
    memory, text = compiled.memory_analysis(), compiled.as_text()
    instructions = collectives(text)
    num_kernels, launched_bytes = traffic.launches(text)
    costs = compiled.cost_analysis() or {"flops": flops, "bytes accessed": launched_bytes}
    peak = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )
    return Program(
        flops=float(costs["flops"]),
        bytes_accessed=float(costs["bytes accessed"]),
        hbm_bytes=float(traffic.hbm_bytes(text)),
        peak_memory=int(peak),
        collectives=dict(collections.Counter(kind for kind, _ in instructions)),
        collective_bytes=sum(size for _, size in instructions),
        num_loops=len(re.findall(r" while\(", text)),
        num_kernels=num_kernels,
        launched_bytes=launched_bytes,
    )


def collectives(text: str) -> list[tuple[str, int]]:
    """Return kind and bytes of every collective in the text of an optimised HLO module."""
    kinds_and_sizes = []
    for shape, kind, start in _COLLECTIVE.findall(text):
        sizes = [_size(kind, dims) for kind, dims in _SHAPE.findall(shape)]
        # The shape of a start is (operand, result), except for an all-reduce.
        paired = start and kind != "all-reduce"
        kinds_and_sizes.append((kind, max(sizes) if paired else sum(sizes)))
    return kinds_and_sizes


def _size(kind: str, dims: str) -> int:
    return traffic.SIZES.get(kind, 4) * math.prod(int(n) for n in dims.split(",") if n)


def lower_bound(program: Program, chip: Chip, num_devices: int) -> tuple[float, str]:
    """Return the least seconds that a step can take on such chips, and the peak that limits it.

    The peak is one of `compute`, `memory` and `network`.
    """
    times = _times(program, chip, num_devices)
    limit = max(times, key=lambda name: times[name])
    return times[limit], limit


def scaling_efficiency(program: Program, chip: Chip, num_devices: int) -> float:
    """Return the throughput per chip of `num_devices` over that of one alone, at most 1.

    It is the time of a chip's own work, limited by compute or memory, over the sum of that and the
    time on the network: nothing overlaps, since the layers wait for the statistics of batch
    normalisation. The latency of collectives is left out, since no peak rate gives it.
    """
    times = _times(program, chip, num_devices)
    own_work = max(times["compute"], times["memory"])
    return own_work / (own_work + times["network"])


def _times(program: Program, chip: Chip, num_devices: int) -> dict[str, float]:
    """Return the seconds of a step at each peak rate of a chip.

    `compute` is at the bfloat16 peak, `memory` at that of HBM; for `network`, an all-reduce in a
    ring sends 2 (n - 1) / n of the bytes over every chip's links.
    """
    ring = 2 * (num_devices - 1) / num_devices
    return {
        "compute": program.flops / chip.flops,
        "memory": program.hbm_bytes / chip.bandwidth,
        "network": ring * program.collective_bytes / chip.network,
    }


def largest_batch(
    compile_one: Callable[[int], dict[str, Any]], too_many: int, failed: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the facts of the largest number of clips per device that fits; None if not even one.

    A bracketed secant search, since every trial is a compilation.

    Args:
      compile_one: clips -> facts with `peak_memory` and `memory`, and `error` if they do not fit.
      too_many: number of clips that does not fit. failed: its facts.
    """
    largest, lower, upper = None, 0, too_many
    points = [(0, 0), (too_many, failed["peak_memory"])]
    while upper - lower > 1:
        (left, least), (right, most) = points[-2:]
        guess = left + (failed["memory"] - least) * (right - left) / ((most - least) or 1)
        clips = min(max(int(guess), lower + 1), upper - 1)
        facts = compile_one(clips)
        points.append((clips, facts["peak_memory"]))
        if "error" in facts:
            upper = clips
        else:
            largest, lower = facts, clips
    return largest
