"""Where computation meets devices: the mesh, the shardings, `jit` and `pmap`.

Two adapters over the same pure steps, `jit` and `pmap`. With both, a train step sees one device's
rows and exchanges over the axis `data` explicitly, by as few collectives as possible: XLA's
partitioner put 47 into a BBNN step that needs 19 (counted by `compile_report.program`). The state
is one replicated pytree; the batch is sharded by rows, and every process feeds its own.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mgr_jax.errors import UserError

AXIS = "data"

# A pure function of (state or variables, batch, ...).
Step = Callable[..., Any]


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Return the mesh of `devices` (default: all) with one axis, `data`; one device is enough.

    The devices of a process are neighbours, so that its rows of a batch are contiguous.
    """
    ordered = sorted(devices or jax.devices(), key=lambda device: device.process_index)
    # The default of `jax.make_mesh`, Explicit, refuses a scan over a sharded batch.
    return Mesh(np.array(ordered), (AXIS,), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raise `UserError` if the rows of a batch do not divide evenly over the devices."""
    if batch_size % mesh.size:
        raise UserError(
            f"train.batch_size is {batch_size}, which does not divide over {mesh.size} devices;"
            f" use a multiple of {mesh.size}"
        )


def padded_batch_size(batch_size: int, mesh: Mesh) -> int:
    """Return the smallest size of at least `batch_size` that divides over the devices.

    For evaluation, where batches are padded with masked rows and their size changes no result.
    """
    return -(-batch_size // mesh.size) * mesh.size


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Return `tree` with a copy of every array on every device."""
    return jax.device_put(tree, _sharding(mesh))


def abstract(tree: Any, mesh: Mesh) -> Any:
    """Return shapes, types and shardings of a replicated `tree`, to restore a checkpoint into."""
    replicated = _sharding(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated), tree)


def jit_init(init: Callable[[], Any], mesh: Mesh) -> Any:
    """Run `init` compiled; return its result, replicated."""
    return jax.jit(init, out_shardings=_sharding(mesh))()


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """Return XLA's options for the devices of `mesh`, as far as this version of it knows them.

    On CPU, convolutions stay with Eigen. XLA would hand some of them to YNNPACK, which runs those
    with few channels on one core: a train step of the CNN at full size (batches of 8) took 2.55 s
    with YNNPACK and 1.36 s without (medians of 5 in turns, 2 cores, jaxlib 0.10.2); BBNN and the
    small networks take the same time either way.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str) -> bool:
    """Return whether this version of XLA knows the option, which may be experimental."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def shard(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Return the global batch, sharded by rows, of which this process has the rows `batch`."""
    sharding = _sharding(mesh, AXIS)
    # With several processes JAX takes this explicit transfer for an implicit one.
    with jax.transfer_guard("allow"):
        return {
            name: jax.make_array_from_process_local_data(sharding, value)
            for name, value in batch.items()
        }


def jit_train_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """Compile `step` for a replicated state, which is donated, and a batch sharded by rows.

    On several devices `step` sees one device's rows, and exchanges over the axis `data` itself.
    `num_shared` further arguments are replicated and not donated.
    """
    return _jit(step, mesh, num_shared, out_specs=PartitionSpec(), donate_argnums=0)


def jit_predict_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """Compile `step`; its result `[B, C]` is replicated, so that every host can read it."""
    return _jit(step, mesh, num_shared, out_specs=PartitionSpec(AXIS))


def _jit(
    step: Step, mesh: Mesh, num_shared: int, *, out_specs: PartitionSpec, **options: Any
) -> Step:
    """Compile `step` on each device's rows; its results, of `out_specs`, end up replicated."""
    if mesh.size > 1:
        # Unchecked, since the check refuses a scan that starts from zeros.
        step = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS), *[PartitionSpec()] * num_shared),
            out_specs=out_specs,
            check_vma=False,
        )
    replicated = _sharding(mesh)
    return jax.jit(
        step,
        in_shardings=(replicated, _sharding(mesh, AXIS), *[replicated] * num_shared),
        out_shardings=replicated,
        compiler_options=compiler_options(mesh),
        **options,
    )


def shard_by_device(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Return the batch as `shard` does, for `pmap`: `[D, B / D, ...]` over D devices."""
    num_local = mesh.local_mesh.size
    by_device = {
        name: value.reshape(num_local, -1, *value.shape[1:]) for name, value in batch.items()
    }
    return shard(by_device, mesh)


def pmap_train_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """Compile `step` by `pmap`, with the axis `data` on one device too; see `jit_train_step`.

    The step averages over the axis, so every device computes the same next state, and the result
    is one of the copies.
    """
    return _pmap(step, mesh, num_shared, donate_argnums=0)


def pmap_predict_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """Compile `step` by `pmap`; its result `[B, C]` is gathered, so that it is as with `jit`."""

    def gathered(*arguments: Any) -> jax.Array:
        return jax.lax.all_gather(step(*arguments), AXIS, tiled=True)

    return _pmap(gathered, mesh, num_shared)


def _pmap(step: Step, mesh: Mesh, num_shared: int, **options: Any) -> Step:
    mapped = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0, *[None] * num_shared),
        out_axes=None,
        devices=list(mesh.devices.flat),
        **options,
    )
    return lambda *arguments: _as_global(mapped(*arguments), mesh)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A way to run steps on the devices.

    Attributes:
      axis_name: mesh -> the axis that a train step has to average over; None if it sees all rows.
      shard: (this process's rows of a batch, mesh) -> the batch on the devices.
      train_step, predict_step: (pure step, mesh) -> compiled step.
    """

    axis_name: Callable[[Mesh], str | None]
    shard: Callable[[dict[str, np.ndarray], Mesh], dict[str, jax.Array]]
    train_step: Callable[..., Step]
    predict_step: Callable[..., Step]


# The choices of `train.parallelism`.
ADAPTERS = {
    "jit": Adapter(
        lambda mesh: AXIS if mesh.size > 1 else None, shard, jit_train_step, jit_predict_step
    ),
    "pmap": Adapter(lambda mesh: AXIS, shard_by_device, pmap_train_step, pmap_predict_step),
}


def _as_global(tree: Any, mesh: Mesh) -> Any:
    """Return results of `pmap`, which are local to a process, as global arrays."""
    if jax.process_count() == 1:
        return tree

    def to_global(x: jax.Array) -> jax.Array:
        copies = [shard.data for shard in x.addressable_shards]
        return jax.make_array_from_single_device_arrays(x.shape, _sharding(mesh), copies)

    return jax.tree.map(to_global, tree)


def _sharding(mesh: Mesh, *axes: str) -> NamedSharding:
    """Return the sharding of rows over `axes`; without any, a copy on every device."""
    return NamedSharding(mesh, PartitionSpec(*axes))
