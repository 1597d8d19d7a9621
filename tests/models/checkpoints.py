"""Writes TensorFlow checkpoints in NumPy, for tests of what reads them."""

import numpy as np

_CODES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}
_MAGIC = 0xDB4775248B80FB57
_KERNELS = [(7, 38), (7, 67), (128, 1), (64, 1), (32, 1)]


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def _block(entries, restart_every=3):
    """A block of sorted `entries`."""
    body, restarts, last = b"", [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % restart_every == 0:
            restarts.append(len(body))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        body += varint(shared) + varint(len(key) - shared) + varint(len(value))
        body += key[shared:] + value
        last = key
    body += np.array([*restarts, len(restarts)], "<u4").tobytes()
    return body


def write(tensors, *, entries_per_block=4, compression=b"\0", codes=_CODES):
    """The content of `.index` and `.data-00000-of-00001` for `tensors`, by name."""
    data = b""
    entries = [(b"", _field(1, 1))]
    for name in sorted(tensors):
        value = np.asarray(tensors[name])
        # Zeros are left out of protocol buffers, and every entry ends in a checksum.
        shape = b"".join(_field(2, _field(1, size)) for size in value.shape)
        entry = _field(1, codes[value.dtype.name]) + _field(2, shape)
        entry += _field(4, len(data)) if data else b""
        entry += _field(5, value.nbytes) + varint(6 << 3 | 5) + bytes(4)
        entries.append((name.encode(), entry))
        data += value.tobytes()
    index, handles = b"", []
    for start in range(0, len(entries), entries_per_block):
        part = entries[start : start + entries_per_block]
        block = _block(part)
        handles.append((part[-1][0], varint(len(index)) + varint(len(block))))
        index += block + compression + bytes(4)  # a checksum
    footer = b""
    for items in ([], handles):
        block = _block(items)
        footer += varint(len(index)) + varint(len(block))
        index += block + compression + bytes(4)
    return index + footer.ljust(40, b"\0") + _MAGIC.to_bytes(8, "little"), data


def tiny_musicnn(tags=3, timbral=4, temporal=2, width=5, units=6):
    """The tensors of a MusiCNN by the names of TensorFlow; no filter is constant."""
    random = np.random.default_rng(0)
    tensors = {}

    def layer(kind, number, **values):
        name = f"{kind}_{number}" if number else kind
        tensors.update({f"{name}/{key}": np.float32(value) for key, value in values.items()})

    def weights(kind, number, *shape):
        kernel = random.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        layer(kind, number, kernel=kernel, bias=0.1 * random.normal(size=shape[-1]))

    counts = [timbral] * 2 + [temporal] * 3
    channels = sum(counts)
    for i, (size, count) in enumerate(zip(_KERNELS, counts, strict=True)):
        weights("conv2d", i, *size, 1, count)
    for i, bands in enumerate((channels, width, width)):
        weights("conv2d", 5 + i, 7, bands, 1, width)
    pooled = 2 * (channels + 3 * width)
    for i, size in enumerate((1, *counts, width, width, width, pooled, units)):
        layer(
            "batch_normalization",
            i,
            gamma=random.normal(size=size),
            beta=random.normal(size=size),
            moving_mean=random.normal(size=size),
            moving_variance=1 + random.random(size),
        )
    weights("dense", 0, pooled, units)
    weights("dense", 1, units, tags)
    return tensors
