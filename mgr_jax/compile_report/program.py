"""What the compiler says of a compiled step: work, memory, traffic and collectives, per device."""

import collections
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from mgr_jax.compile_report import traffic
from mgr_jax.compile_report.chips import Chip

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
# `%name = SHAPE all-reduce(...)`; an asynchronous one is a pair, of which the start counts.
_COLLECTIVE = re.compile(rf"= (\(.*?\)|\S+) ({_KINDS})(-start)?\(")
_SHAPE = re.compile(r"([a-z]\w*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Program:
    """One step on one device.

    Attributes:
      flops: floating-point operations, as the compiler counts them.
      bytes_accessed: bytes that its operations read and write, as the compiler counts them: in
        whatever memory.
      hbm_bytes: those in HBM (`compile_report.traffic`).
      peak_memory: bytes of HBM held at once: arguments, results and temporaries.
      collectives: kind -> number of instructions.
      collective_bytes: bytes that they carry from one device.
      num_loops: loops, whose bodies all the counts take once, however often they run.
    """

    flops: float
    bytes_accessed: float
    hbm_bytes: float
    peak_memory: int
    collectives: dict[str, int]
    collective_bytes: int
    num_loops: int


def describe(compiled: Any) -> Program:
    """The facts of `jax.jit(step).lower(...).compile()`."""
    costs, memory, text = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
    found = collectives(text)
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
        collectives=dict(collections.Counter(kind for kind, _ in found)),
        collective_bytes=sum(size for _, size in found),
        num_loops=len(re.findall(r" while\(", text)),
    )


def collectives(text: str) -> list[tuple[str, int]]:
    """Kind and bytes of every collective in the text of an optimised HLO module."""
    found = []
    for shape, kind, start in _COLLECTIVE.findall(text):
        sizes = [_size(kind, dims) for kind, dims in _SHAPE.findall(shape)]
        # The start of any but an all-reduce gives its operand and its result.
        paired = start and kind != "all-reduce"
        found.append((kind, max(sizes) if paired else sum(sizes)))
    return found


def _size(kind: str, dims: str) -> int:
    return traffic.SIZES.get(kind, 4) * math.prod(int(n) for n in dims.split(",") if n)


def lower_bound(program: Program, chip: Chip, num_devices: int) -> tuple[float, str]:
    """Seconds below which no step can be on such chips, and what binds it: see `_times`."""
    times = _times(program, chip, num_devices)
    bound = max(times, key=lambda name: times[name])
    return times[bound], bound


def scaling_efficiency(program: Program, chip: Chip, num_devices: int) -> float:
    """Throughput of a chip among `num_devices` over that of one alone, by the peaks: at most 1.

    The time of a chip's own work, bound by compute or memory, over that and the time on the network
    together: nothing overlaps, since the layers wait for the statistics of batch normalisation.
    The latency of a collective, which no peak tells, is left out.
    """
    times = _times(program, chip, num_devices)
    own = max(times["compute"], times["memory"])
    return own / (own + times["network"])


def _times(program: Program, chip: Chip, num_devices: int) -> dict[str, float]:
    """Seconds of a step by each peak of a chip.

    `compute` at the bfloat16 peak, `memory` at the peak of HBM, and `network`: a ring passes
    2 (n - 1) / n of what is reduced over every chip's links.
    """
    ring = 2 * (num_devices - 1) / num_devices
    return {
        "compute": program.flops / chip.flops,
        "memory": program.hbm_bytes / chip.bandwidth,
        "network": ring * program.collective_bytes / chip.network,
    }


def largest_batch(
    compile_one: Callable[[int], dict[str, Any]], asked: int, failed: dict[str, Any]
) -> dict[str, Any] | None:
    """What is said of the most clips per device that fit, None if not even one does.

    Guessed by proportion, then on the line through the last two, since each takes a compilation.

    Args:
      compile_one: clips -> facts with `peak_memory` and `memory`, and `error` if they do not fit.
      asked: clips that do not fit. failed: what was said of them.
    """
    found, lower, upper = None, 0, asked
    points = [(0, 0), (asked, failed["peak_memory"])]
    while upper - lower > 1:
        (left, least), (right, most) = points[-2:]
        guess = left + (failed["memory"] - least) * (right - left) / ((most - least) or 1)
        clips = min(max(int(guess), lower + 1), upper - 1)
        facts = compile_one(clips)
        points.append((clips, facts["peak_memory"]))
        if "error" in facts:
            upper = clips
        else:
            found, lower = facts, clips
    return found
