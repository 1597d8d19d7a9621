"""Where computation meets devices: the mesh, the shardings and `jit`. No other file knows them."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mgr_jax.errors import UserError
from mgr_jax.training.state import TrainState
from mgr_jax.training.steps import PredictStep, TrainStep


def make_mesh() -> Mesh:
    """All devices in one axis, `data`; one device is a mesh of one."""
    # The default, Explicit, refuses a scan over a sharded batch.
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises `UserError` if the rows of a batch do not spread evenly over the devices."""
    if batch_size % mesh.size:
        raise UserError(
            f"train.batch_size is {batch_size}, which does not divide over {mesh.size} devices;"
            f" use a multiple of {mesh.size}"
        )


def padded_batch_size(batch_size: int, mesh: Mesh) -> int:
    """The smallest size of at least `batch_size` that divides over the devices.

    For evaluation, where masked rows fill a batch up and its size changes no result.
    """
    return -(-batch_size // mesh.size) * mesh.size


def replicate(tree: Any, mesh: Mesh) -> Any:
    """`tree` with a copy of every array on every device."""
    return jax.device_put(tree, _replicated(mesh))


def shard(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's contiguous rows of a batch, as the global batch spread over the devices."""
    rows = NamedSharding(mesh, PartitionSpec("data"))
    return {
        name: jax.make_array_from_process_local_data(rows, value) for name, value in batch.items()
    }


def abstract(tree: Any, mesh: Mesh) -> Any:
    """Shapes, types and shardings of a replicated `tree`, to restore a checkpoint into."""
    replicated = _replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated), tree)


def jit_train_step(step: TrainStep, mesh: Mesh) -> TrainStep:
    """`step` over the mesh: replicated state, which is donated, and a batch sharded by rows."""
    rows = NamedSharding(mesh, PartitionSpec("data"))
    replicated = _replicated(mesh)
    return jax.jit(
        step, in_shardings=(replicated, rows), out_shardings=replicated, donate_argnums=0
    )


def jit_predict_step(step: PredictStep, mesh: Mesh) -> PredictStep:
    """`step` over the mesh; its `[B, C]` result is replicated, so that every host can read it."""
    rows = NamedSharding(mesh, PartitionSpec("data"))
    replicated = _replicated(mesh)
    return jax.jit(step, in_shardings=(replicated, rows), out_shardings=replicated)


def jit_init(init: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """Runs `init` compiled, with its result replicated."""
    return jax.jit(init, out_shardings=_replicated(mesh))()


def _replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())
