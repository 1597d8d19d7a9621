"""Checkpoints of TensorFlow (`.index` and `.data-00000-of-00001`) as NumPy arrays.

The index is a sorted string table, the format of LevelDB: blocks of entries whose keys leave out
what they share with the key before. Its values are protocol buffers (`BundleEntryProto` of
`tensor_bundle.proto`), which say where in the data file a tensor is.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

_FOOTER, _MAGIC = 48, bytes.fromhex("57fb808b247547db")
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # DataType of `types.proto`
_DTYPE, _SHAPE, _OFFSET, _SIZE = 1, 2, 4, 5  # fields of BundleEntryProto


def read(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Return all tensors of a checkpoint by name, optimiser slots included.

    Args:
      index: content of the `.index` file.
      data: content of the `.data-00000-of-00001` file.

    Raises:
      ValueError: one of them is damaged, or has a type that is not read here.
    """
    if len(index) < _FOOTER or index[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("the index is not that of a TensorFlow checkpoint, or is cut off")
    tensors = {}
    try:
        footer = index[-_FOOTER:]
        _, position = _handle(footer, 0)
        blocks, _ = _handle(footer, position)
        for _, handle in _entries(index, *blocks):
            for name, entry in _entries(index, *_handle(handle, 0)[0]):
                if name:  # The empty name is the header.
                    tensors[name.decode()] = _tensor(entry, data)
    except (IndexError, KeyError, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"the index is damaged ({type(error).__name__}: {error})") from error
    return tensors


def _tensor(entry: bytes, data: bytes) -> np.ndarray:
    fields = dict(_fields(entry))
    dtype = np.dtype(_TYPES[fields[_DTYPE]])
    dims = [dict(_fields(dim)).get(1, 0) for _, dim in _fields(fields.get(_SHAPE, b""))]
    offset, size = fields.get(_OFFSET, 0), fields.get(_SIZE, 0)
    if size != math.prod(dims) * dtype.itemsize or offset + size > len(data):
        raise ValueError(f"a tensor {dims} of {size} bytes at {offset} is not in the data file")
    return np.frombuffer(data, dtype, math.prod(dims), offset).reshape(dims)


def _entries(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block; its last words are restart points, for binary search."""
    block = index[offset : offset + size]
    if len(block) < size or index[offset + size] != 0:
        raise ValueError("the index is cut off, or compressed")
    end = size - 4 * (1 + int.from_bytes(block[-4:], "little"))
    if end < 0:
        raise ValueError("the index is damaged")
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        added, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + added]
        position += added
        yield key, block[position : position + length]
        position += length


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Read offset and size of a block."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a protocol buffer."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(message, position)
        else:
            length = {1: 8, 5: 4}.get(kind)
            if length is None:
                length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        yield tag >> 3, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read an integer of seven bits a byte, the lowest first; the top bit says that more follow."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
