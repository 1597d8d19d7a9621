"""Traffic of a compiled program with HBM, from the text of its optimised HLO.

A TPU's compiler keeps what fits in the chip's own memory. Its count of bytes takes that in as if
it went to HBM, and what is fetched ahead several times over. Where an array lies is written in its
layout: `S(1)` and above are not HBM.
"""

import dataclasses
import math
import re
from collections.abc import Iterable

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s32": 4}
SIZES |= {"u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
# Type, sizes, and in braces the order of the axes, the least first, the tile and the memory.
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_MEMORY = re.compile(r"S\((\d+)\)")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = ")
_NAME = re.compile(r"%([\w.\-]+)")
_BODIES = re.compile(r"(?:body|condition|to_apply|true_computation|false_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CALLS = re.compile(r"calls=%([\w.\-]+)")
# What moves nothing: names for what is there already, and ends of what a start has counted.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_FREE |= {"while", "conditional", "call", "opt-barrier", "partition-id", "replica-id"}
_FREE_CALLS = ('custom_call_target="AllocateBuffer"', 'custom_call_target="ConcatBitcast"')
_COPIES = {"copy-start", "slice-start", "dynamic-slice-start"}
_SLICES = {"slice", "dynamic-slice", "gather"}


@dataclasses.dataclass(frozen=True)
class _Instruction:
    shape: str
    opcode: str
    operands: tuple[str, ...]
    line: str


def hbm_bytes(text: str) -> int:
    """Bytes that the instructions of a module read from HBM and write to it.

    Arrays count with the padding of their tiles; of an array of which only a slice is read or
    written, the slice. Bodies of loops and all branches count once.
    """
    computations, entry = _parse(text)
    total, seen, left = 0, set(), [entry]
    while left:
        name = left.pop()
        if name in seen or name not in computations:
            continue
        seen.add(name)
        for instruction in computations[name].values():
            total += _traffic(instruction, computations[name], computations)
            if instruction.opcode in ("while", "conditional", "call"):
                left += _BODIES.findall(instruction.line)
                for branches in _BRANCHES.findall(instruction.line):
                    left += _NAME.findall(branches)
    return total


def _parse(text: str) -> tuple[dict[str, dict[str, _Instruction]], str]:
    """The computations by name, each its instructions by name, and the name of the entry."""
    computations, entry, own = {}, "", {}
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            own = computations[header[2]] = {}
            entry = header[2] if header[1] else entry
            continue
        match = _INSTRUCTION.match(line)
        if match:
            shape, rest = _until_space(line[match.end() :])
            opcode, _, rest = rest.partition("(")
            operands = tuple(_NAME.findall(_until_closed(rest)))
            own[match[1]] = _Instruction(shape, opcode, operands, line)
    return computations, entry


def _until_space(text: str) -> tuple[str, str]:
    """What stands before the first space outside of brackets, and what after."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == " " and depth == 0:
            return text[:at], text[at + 1 :]
    return text, ""


def _until_closed(text: str) -> str:
    """What stands before the bracket that closes one opened before `text`."""
    depth = 1
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[:at]
    return text


def _arrays(shape: str) -> list[tuple[int, bool]]:
    """Bytes of every array of a shape, with the padding of tiles, and whether it lies in HBM."""
    found = []
    for kind, sizes, order, rest in _ARRAY.findall(shape):
        sizes = [int(n) for n in sizes.split(",") if n]
        tile = _TILE.match(rest)
        if tile and sizes:
            axes = [int(n) for n in order.split(",")]
            for size, axis in zip(reversed(tile[1].split(",")), axes, strict=False):
                sizes[axis] = -(-sizes[axis] // int(size)) * int(size)
        memory = _MEMORY.search(rest)
        found.append((SIZES.get(kind, 4) * math.prod(sizes), not memory or memory[1] == "0"))
    return found


def _in_hbm(shape: str) -> int:
    return sum(size for size, in_hbm in _arrays(shape) if in_hbm)


def _whole(shape: str) -> int:
    return sum(size for size, _ in _arrays(shape))


def _traffic(
    instruction: _Instruction,
    own: dict[str, _Instruction],
    computations: dict[str, dict[str, _Instruction]],
) -> int:
    opcode, line = instruction.opcode, instruction.line
    if opcode in _FREE or opcode.endswith("-done") or any(call in line for call in _FREE_CALLS):
        return 0
    if opcode in _COPIES:
        sides = _arrays(instruction.shape)[:2]
        return min(size for size, _ in sides) * sum(in_hbm for _, in_hbm in sides)
    names = [name for name in instruction.operands if name in own]
    shapes = [own[name].shape for name in names]
    scope, users = own, [instruction]
    called = _CALLS.search(line)
    if opcode == "fusion" and called and called[1] in computations:
        # What it does with its operands stands within, where they are parameters.
        scope = computations[called[1]]
        users = scope.values()
        numbers = {
            int(_until_closed(user.line.partition(" parameter(")[2])): name
            for name, user in scope.items()
            if user.opcode == "parameter"
        }
        names = [numbers.get(at, "") for at in range(len(shapes))]
    read = 0
    for name, shape in zip(names, shapes, strict=True):
        part = _part(name, users) if name else None
        in_hbm = _in_hbm(shape)
        read += in_hbm if part is None else min(part, _whole(shape)) * bool(in_hbm)
    written = _in_hbm(instruction.shape)
    updates = [user.operands[1] for user in users if user.opcode == "dynamic-update-slice"]
    if updates and written:
        written = min(written, sum(_whole(scope[name].shape) for name in updates if name in scope))
    return read + written


def _part(name: str, users: Iterable[_Instruction]) -> int | None:
    """Bytes that are read of `name` if only slices of it are; None: all of it."""
    total = 0
    for user in users:
        if name not in user.operands:
            continue
        if user.opcode in _SLICES and user.operands[0] == name:
            total += _whole(user.shape)
        elif user.opcode != "dynamic-update-slice" or user.operands[0] != name:
            return None
    return total
