"""The reader of TensorFlow checkpoints on files that the tests write."""

import contextlib

import numpy as np
import pytest

from mgr_jax.models import tf_checkpoint
from tests.models import checkpoints


def _tensors():
    random = np.random.default_rng(0)
    shapes = {"dense/kernel": (3, 200), "dense/bias": (200,), "dense_1/kernel": (1, 1), "power": ()}
    tensors = {name: random.normal(size=shape) for name, shape in shapes.items()}
    tensors = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
    return {**tensors, "double": np.float64([0.1]), "step": np.int64(7), "empty": np.int32([])}


@pytest.mark.parametrize("entries_per_block", [1, 3, 100])
def test_read_gives_back_all_tensors(entries_per_block):
    tensors = _tensors()
    index, data = checkpoints.write(tensors, entries_per_block=entries_per_block)
    read = tf_checkpoint.read(index, data)
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(read[name], value)
        assert read[name].dtype == value.dtype and read[name].shape == value.shape


def test_read_refuses_other_and_damaged_files():
    index, data = checkpoints.write(_tensors())
    for other in (b"", b"text", index[:-1], index[100:-1]):
        with pytest.raises(ValueError, match="not that of a TensorFlow checkpoint"):
            tf_checkpoint.read(other, data)
    with pytest.raises(ValueError, match="not in the data file"):
        tf_checkpoint.read(index, data[:-1])
    with pytest.raises(ValueError, match="cut off"):
        tf_checkpoint.read(index[300:], data)
    with pytest.raises(ValueError, match="compressed"):
        tf_checkpoint.read(*checkpoints.write(_tensors(), compression=b"\1"))
    with pytest.raises(ValueError, match="index is damaged"):
        tf_checkpoint.read(*checkpoints.write({"half": np.float32(1)}, codes={"float32": 19}))


def test_read_ends_in_a_value_error_whatever_byte_is_wrong():
    tensors = {"a/kernel": np.ones((2, 3), np.float32), "b": np.float32([1])}
    index, data = checkpoints.write(tensors)
    for position in range(len(index)):
        for value in (0, 1, 127, 255):
            damaged = index[:position] + bytes([value]) + index[position + 1 :]
            with contextlib.suppress(ValueError):
                tf_checkpoint.read(damaged, data)
