"""Trees as flat dicts of named tensors, and their checksum."""

import numpy as np

from mgr_jax import tensors


def test_flatten_joins_names_and_leaves_out_none():
    tree = {"params": {"b": {"kernel": 1}, "a": 2}, "normalizer": None}
    assert list(tensors.flatten(tree).items()) == [("params/a", 2), ("params/b/kernel", 1)]


def test_digest_depends_on_names_types_shapes_values_and_head_alone():
    x = np.arange(6, dtype=np.float32)
    seen = {
        tensors.digest(named, head=head)
        for named, head in (
            ({"a": x}, b""),
            ({"b": x}, b""),
            ({"a": x + 1}, b""),
            ({"a": x.reshape(2, 3)}, b""),
            ({"a": x.view(np.int32)}, b""),
            ({"a": x}, b"head"),
        )
    }
    assert len(seen) == 6
    y = np.ones(2)
    assert tensors.digest({"a": x, "b": y}) == tensors.digest({"b": y, "a": x})
