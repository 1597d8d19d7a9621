"""A cache of restored checkpoints in the user's cache folder, so that a second start is fast.

Importing Orbax and restoring the optimiser state take longer than the rest of a start. A copy is
valid only while the record of the run and all files of its checkpoints are unchanged; copies that
are damaged, outdated or cannot be written are ignored.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import unflatten_dict

from mgr_jax import tensors as tensors_lib
from mgr_jax.data.clips import cache_folder
from mgr_jax.files import json_digest, parse_json, write_whole
from mgr_jax.version import VERSION
from mgr_jax.workdir import Run

_DAMAGED = (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError)


def read(run: Run, which: str) -> tuple[int, dict[str, Any]] | None:
    """Return step and `System.variables` of the checkpoint `which`, or None without valid copy."""
    try:
        with safetensors.safe_open(_path(run, which), framework="numpy") as file:
            facts = parse_json(file.metadata()["facts"])
            if facts["source"] != source(run):
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step = int(facts["step"])
        if facts["digest"] != _digest(step, tensors):
            return None
        empty = {"params": {}, "batch_stats": {}, "normalizer": None}
        return step, empty | unflatten_dict(tensors, sep="/")
    except _DAMAGED:
        return None


def write(run: Run, which: str, source: str, step: int, variables: dict[str, Any]) -> None:
    """Write a copy of `variables`, restored from the files of `source`; replaces an older one."""
    arrays = jax.tree.map(lambda leaf: np.asarray(leaf, order="C"), variables)
    tensors = tensors_lib.flatten(arrays)
    facts = {"source": source, "step": step, "digest": _digest(step, tensors)}
    content = safetensors.numpy.save(tensors, {"facts": json.dumps(facts)})
    path = _path(run, which)
    with contextlib.suppress(OSError):  # The copy is optional.
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def source(run: Run) -> str:
    """Return the SHA-256 of the run's record and of name, size and time of every file."""
    folder = run.path.absolute() / "checkpoints"
    files = [
        [str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns, stat.st_ino]
        for path in sorted(folder.rglob("*"))
        if (stat := path.stat())
    ]
    return json_digest([VERSION, str(folder), run.record, files])


def _digest(step: int, tensors: Mapping[str, np.ndarray]) -> str:
    return tensors_lib.digest(tensors, head=str(step).encode())


def _path(run: Run, which: str) -> pathlib.Path:
    name = hashlib.sha256(json.dumps([str(run.path.absolute()), which]).encode()).hexdigest()
    return cache_folder("") / "snapshots" / f"{name[:32]}.safetensors"
