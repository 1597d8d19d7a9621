"""Arrays in `.npz` and `.npy` files of others: what a header promises is checked before reading."""

import math
import os
import pathlib
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from typing import IO, Any

import numpy as np

# Exceptions of NumPy and zipfile for damaged bytes.
_DAMAGED = (
    ValueError, TypeError, EOFError, KeyError, SyntaxError, OverflowError, MemoryError,
    RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
# An array of this size that unpacks to so many times its bytes in the file is there to fill the
# memory; deflate reaches 1032, spectrograms and weights less than 20.
_LARGE, _MOST_UNPACKED = 1 << 28, 200


def read(path: str | os.PathLike, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name; the array of a `.npy` file has the name "".

    Args:
      path: the file.
      names: arrays of a `.npz` file to read; None reads all.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is damaged, holds Python objects, an array is longer than the file has
        bytes for it, or it unpacks to far more than its size. The message is one short line.
    """
    try:
        with open(path, "rb") as file:
            is_archive = file.read(2) == b"PK"
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            if is_archive:
                wanted = _check_archive(file, size, names)
                with np.load(file, allow_pickle=False) as arrays:
                    return {name: _with_valid_text(arrays[name], name) for name in wanted}
            _check_header(file, size, pathlib.Path(path).name)
            file.seek(0)
            return {
                "": _with_valid_text(np.load(file, allow_pickle=False), pathlib.Path(path).name)
            }
    except _DAMAGED as error:
        raise ValueError(reason_of(error)) from error


def check_unpacked(what: str, *, num_bytes: int, in_file: int) -> None:
    """Raise `ValueError` if `in_file` bytes would unpack to a suspicious number of bytes."""
    if num_bytes > max(_LARGE, _MOST_UNPACKED * in_file):
        raise ValueError(
            f"{what} would unpack {in_file / 1e6:.1f} MB to {num_bytes / 1e9:.1f} GB; save it"
            " without compression if it is really so large"
        )


def reason_of(error: Exception) -> str:
    """Return what a damaged file has raised as one short line."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def _with_valid_text(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array`; raise `ValueError` if a text in it, or in a field, has no such character."""
    for field in array.dtype.names or ():
        _with_valid_text(array[field], name)
    if array.dtype.kind == "U" and array.dtype.itemsize and array.size:
        codes = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        if (np.ascontiguousarray(array).reshape(-1).view(codes) > sys.maxunicode).any():
            raise ValueError(f"array {name!r} holds text that is damaged")
    return array


def _check_archive(file: IO[bytes], size: int, names: Collection[str] | None) -> list[str]:
    """Check the headers of the members to read, and return their names."""
    wanted = []
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.compress_size for member in members) > size:
            raise ValueError("its members overlap")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if names is not None and name not in names:
                continue
            check_unpacked(
                f"array {name!r}", num_bytes=member.file_size, in_file=member.compress_size
            )
            with archive.open(member) as stream:
                _check_header(stream, member.file_size, name)
            wanted.append(name)
    total = [sum(m.file_size for m in members), sum(m.compress_size for m in members)]
    if names is None:
        check_unpacked("the file", num_bytes=total[0], in_file=total[1])
    file.seek(0)
    return wanted


def _check_header(stream: Any, size: int, name: str) -> None:
    """Check that the array of a stream of `size` bytes is as long as its header says."""
    lib = np.lib.format
    try:
        version = lib.read_magic(stream)
    except ValueError as error:
        raise ValueError(f"{name!r} is no array") from error
    # Version 3 differs from 2 in the encoding of field names alone.
    read_header = lib.read_array_header_1_0 if version[0] == 1 else lib.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError(f"array {name!r} holds Python objects")
    num_bytes = math.prod(shape) * max(1, dtype.itemsize)
    if min(shape, default=0) < 0 or num_bytes > size - stream.tell():
        raise ValueError(
            f"array {name!r} of {shape} needs {num_bytes} bytes, the file has"
            f" {size - stream.tell()}"
        )
