"""Traffic of a compiled program with HBM, from the text of its optimised HLO.

A TPU's compiler keeps arrays that fit in the chip's own memory. Its own count of bytes includes
them as if they were in HBM, and counts prefetched arrays several times. The layout of an array
names its memory: `S(1)` and above are not HBM.
"""

import dataclasses
import math
import re
from collections.abc import Collection

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s32": 4}
SIZES |= {"u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
# Type, sizes, and in braces the order of the axes (minor to major), the tile and the memory.
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_MEMORY = re.compile(r"S\((\d+)\)")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = ")
_NAME = re.compile(r"%([\w.\-]+)")
_BODIES = re.compile(r"(?:body|condition|to_apply|true_computation|false_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CALLS = re.compile(r"calls=%([\w.\-]+)")
_BODY = re.compile(r"body=%([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# Opcodes without traffic: other names of existing arrays, and calls, whose bodies are counted.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_FREE |= {"while", "conditional", "call", "opt-barrier", "partition-id", "replica-id"}
_FREE_CALLS = ('custom_call_target="AllocateBuffer"', 'custom_call_target="ConcatBitcast"')
_COPIES = {"copy-start", "slice-start", "dynamic-slice-start"}
_SLICES = {"slice", "dynamic-slice", "gather"}


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    line: str


def hbm_bytes(text: str) -> int:
    """Return the bytes that the instructions of a module read from HBM and write to it.

    Arrays count with the padding of their tiles. If only a slice of an array is read or written,
    the slice counts. Bodies of loops and all branches of conditionals count once.
    """
    computations, times = _computations(text)
    return sum(
        _traffic(instruction, computations[name], computations)
        for name in times
        for instruction in computations[name].values()
    )


def launches(text: str) -> tuple[int, int]:
    """Return the kernels that a step launches, and the bytes that they read and write.

    Unlike `hbm_bytes`, bodies of loops count as often as the compiler says that they run; so their
    small operands count as HBM in every round, though a GPU keeps them in its cache. A call of a
    library counts as one kernel.
    """
    computations, times = _computations(text)
    num_kernels = num_bytes = 0
    for name, runs in times.items():
        for instruction in computations[name].values():
            num_kernels += runs * (not _is_free(instruction))
            num_bytes += runs * _traffic(instruction, computations[name], computations)
    return num_kernels, num_bytes


def _computations(text: str) -> tuple[dict[str, dict[str, _Instruction]], dict[str, int]]:
    """Return all computations by name, and how often a step runs each of those that it calls.

    Fused computations are not among the latter. A condition of a loop counts 0: where the compiler
    knows the number of rounds, as it does for a scan, the condition is not computed.
    """
    computations, entry = _parse(text)
    times, pending = {entry: 1}, [entry]
    while pending:
        name = pending.pop()
        for instruction in computations[name].values():
            if instruction.opcode not in ("while", "conditional", "call"):
                continue
            called = _BODIES.findall(instruction.line)
            for branches in _BRANCHES.findall(instruction.line):
                called += _NAME.findall(branches)
            runs = dict.fromkeys(called, times[name])
            if instruction.opcode == "while":
                trips = _TRIPS.search(instruction.line)
                bodies = _BODY.findall(instruction.line)
                runs = dict.fromkeys(called, 0)
                runs |= dict.fromkeys(bodies, times[name] * int(trips[1] if trips else 1))
            new = {key: n for key, n in runs.items() if key in computations and key not in times}
            times |= new
            pending += new
    return computations, times


def _is_free(instruction: _Instruction) -> bool:
    """Return whether an instruction only renames arrays, ends one begun before, or calls others."""
    return (
        instruction.opcode in _FREE
        or instruction.opcode.endswith("-done")
        or any(call in instruction.line for call in _FREE_CALLS)
    )


def _parse(text: str) -> tuple[dict[str, dict[str, _Instruction]], str]:
    """Return computations by name, each a dict of instructions by name; and the entry's name."""
    computations, entry, instructions = {}, "", {}
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            instructions = computations[header[2]] = {}
            entry = header[2] if header[1] else entry
            continue
        match = _INSTRUCTION.match(line)
        if match:
            shape, rest = _until_space(line[match.end() :])
            opcode, _, rest = rest.partition("(")
            operands = tuple(_NAME.findall(_until_closed(rest)))
            instructions[match[1]] = _Instruction(match[1], shape, opcode, operands, line)
    return computations, entry


def _until_space(text: str) -> tuple[str, str]:
    """Split `text` at the first space outside of brackets."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == " " and depth == 0:
            return text[:i], text[i + 1 :]
    return text, ""


def _until_closed(text: str) -> str:
    """Return `text` up to the bracket that closes one opened before it."""
    depth = 1
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[:i]
    return text


def _arrays(shape: str) -> list[tuple[int, bool]]:
    """Return for every array of a shape its bytes, with padding, and whether it is in HBM."""
    arrays = []
    for kind, sizes, order, rest in _ARRAY.findall(shape):
        sizes = [int(n) for n in sizes.split(",") if n]
        tile = _TILE.match(rest)
        if tile and sizes:
            axes = [int(n) for n in order.split(",")]
            for size, axis in zip(reversed(tile[1].split(",")), axes, strict=False):
                sizes[axis] = -(-sizes[axis] // int(size)) * int(size)
        memory = _MEMORY.search(rest)
        arrays.append((SIZES.get(kind, 4) * math.prod(sizes), not memory or memory[1] == "0"))
    return arrays


def _in_hbm(shape: str) -> int:
    return sum(size for size, in_hbm in _arrays(shape) if in_hbm)


def _total(shape: str) -> int:
    return sum(size for size, _ in _arrays(shape))


def _traffic(
    instruction: _Instruction,
    computation: dict[str, _Instruction],
    computations: dict[str, dict[str, _Instruction]],
) -> int:
    """Return the bytes of HBM that an instruction of `computation` reads and writes."""
    opcode, line = instruction.opcode, instruction.line
    if _is_free(instruction):
        return 0
    if opcode in _COPIES:
        sides = _arrays(instruction.shape)[:2]
        return min(size for size, _ in sides) * sum(in_hbm for _, in_hbm in sides)
    names = [name for name in instruction.operands if name in computation]
    shapes = [computation[name].shape for name in names]
    scope, users = computation, [instruction]
    called = _CALLS.search(line)
    if opcode == "fusion" and called and called[1] in computations:
        # The fused computation shows how the operands, which are its parameters, are used.
        scope = computations[called[1]]
        users = scope.values()
        numbers = {
            int(_until_closed(user.line.partition(" parameter(")[2])): name
            for name, user in scope.items()
            if user.opcode == "parameter"
        }
        names = [numbers.get(i, "") for i in range(len(shapes))]
    read = 0
    for name, shape in zip(names, shapes, strict=True):
        sliced = _sliced_bytes(name, users) if name else None
        in_hbm = _in_hbm(shape)
        read += in_hbm if sliced is None else min(sliced, _total(shape)) * bool(in_hbm)
    written = _in_hbm(instruction.shape)
    updates = [user.operands[1] for user in users if user.opcode == "dynamic-update-slice"]
    if updates and written:
        written = min(written, sum(_total(scope[name].shape) for name in updates if name in scope))
    return read + written


def _sliced_bytes(name: str, users: Collection[_Instruction]) -> int | None:
    """Return the bytes read of `name` if only slices of it are read, else None.

    Of a slice, no more is read than the slices that are taken of it in turn.
    """
    total = 0
    for user in users:
        if name not in user.operands:
            continue
        is_slice = user.opcode in _SLICES and user.operands[0] == name
        if is_slice or user.opcode == "bitcast":
            # A result that nothing reads here is what the computation returns.
            is_read = any(user.name in other.operands for other in users)
            inner = _sliced_bytes(user.name, users) if is_read else None
            if inner is None and not is_slice:
                return None
            total += _total(user.shape) if inner is None else min(inner, _total(user.shape))
        elif user.opcode != "dynamic-update-slice" or user.operands[0] != name:
            return None
    return total
