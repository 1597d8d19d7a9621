"""Trees of arrays as flat dicts of named tensors, as safetensors files hold them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def flatten(tree: Any) -> dict[str, Any]:
    """Turn `{"params": {"a": x}}` into `{"params/a": x}`, in JAX's order and without None."""
    return {
        "/".join(str(key.key) for key in path): leaf
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def digest(tensors: Mapping[str, np.ndarray], *, head: bytes = b"") -> str:
    """Return the SHA-256 of `head` and of names, types, shapes and values."""
    sha256 = hashlib.sha256(head)
    for name, value in sorted(tensors.items()):
        sha256.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        sha256.update(value.tobytes())
    return sha256.hexdigest()
