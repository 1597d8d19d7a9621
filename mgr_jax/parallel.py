"""Where computation meets devices: the mesh, the shardings, `jit` and `pmap`.

Two adapters over the same pure steps, `jit` and `pmap`. Either way a train step runs on every
device's own rows and exchanges over the axis `data` itself, by as few collectives as it can: XLA's
partitioner put 47 into a BBNN step that needs 19 (counted by `compile_report.program`). The state
is one replicated pytree and the batch is spread by rows, of which a process feeds its own.
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
    """`devices`, or all that there are, in one axis, `data`; one device is a mesh of one.

    Devices of a process lie side by side, so that its rows of a batch are contiguous.
    """
    chosen = sorted(devices or jax.devices(), key=lambda device: device.process_index)
    # The default of `jax.make_mesh`, Explicit, refuses a scan over a sharded batch.
    return Mesh(np.array(chosen), (AXIS,), axis_types=(AxisType.Auto,))


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


def abstract(tree: Any, mesh: Mesh) -> Any:
    """Shapes, types and shardings of a replicated `tree`, to restore a checkpoint into."""
    replicated = _replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated), tree)


def jit_init(init: Callable[[], Any], mesh: Mesh) -> Any:
    """Runs `init` compiled, with its result replicated."""
    return jax.jit(init, out_shardings=_replicated(mesh))()


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """XLA's options for these devices, as far as this version of it knows them.

    On CPU, products and convolutions go to Eigen. By default some go to a library (YNNPACK) that
    runs convolutions on one core, in up to three times the time, and products on threads of its own
    (`experiments/results/benchmark.md`). Vectors may be as wide as the machine has them; XLA's own
    preference is half of that on AVX-512.
    """
    options = {
        "xla_cpu_experimental_ynn_fusion_type": "",  # For nothing.
        "xla_cpu_prefer_vector_width": "512",
    }
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str) -> bool:
    """Whether this version of XLA has the option, which may be experimental."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def shard(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's contiguous rows of a batch, as the global batch spread over the devices."""
    rows = _by_rows(mesh)
    return {
        name: jax.make_array_from_process_local_data(rows, value) for name, value in batch.items()
    }


def jit_train_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """`step` over the mesh: replicated state, which is donated, and a batch sharded by rows.

    On several devices `step` is one made for the axis `data`, of which it sees one device's rows.
    `num_shared` further arguments are replicated and stay as they are.
    """
    return _jit(step, mesh, num_shared, out_specs=PartitionSpec(), donate_argnums=0)


def jit_predict_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """`step` over the mesh; its `[B, C]` result is replicated, so that every host can read it."""
    return _jit(step, mesh, num_shared, out_specs=PartitionSpec(AXIS))


def _jit(
    step: Callable[..., Any],
    mesh: Mesh,
    num_shared: int,
    *,
    out_specs: PartitionSpec,
    **options: Any,
) -> Callable[..., Any]:
    """`step` on each device's rows, with results by `out_specs` that end replicated."""
    if mesh.size > 1:
        # Unchecked: a scan starts from zeros, which count as the same on all devices.
        step = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS), *[PartitionSpec()] * num_shared),
            out_specs=out_specs,
            check_vma=False,
        )
    replicated = _replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(replicated, _by_rows(mesh), *[replicated] * num_shared),
        out_shardings=replicated,
        compiler_options=compiler_options(mesh),
        **options,
    )


def shard_by_device(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """As `shard`, for `pmap`: `[B, ...]` becomes `[D, B / D, ...]` over D devices."""
    num_local = mesh.local_mesh.size
    by_device = {
        name: value.reshape(num_local, -1, *value.shape[1:]) for name, value in batch.items()
    }
    return shard(by_device, mesh)


def pmap_train_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """As `jit_train_step`, by `pmap`, for an axis of one device too.

    Each device computes the same next state, since the step averages over the axis; one copy
    stands for all of them.
    """
    mapped = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0, *[None] * num_shared),
        out_axes=None,
        devices=list(mesh.devices.flat),
        donate_argnums=0,
    )
    return lambda *arguments: _as_global(mapped(*arguments), mesh)


def pmap_predict_step(step: Step, mesh: Mesh, *, num_shared: int = 0) -> Step:
    """`step` on every device's rows; its `[B, C]` result is gathered, as that of `jit`."""

    def gathered(*arguments: Any) -> jax.Array:
        return jax.lax.all_gather(step(*arguments), AXIS, tiled=True)

    mapped = jax.pmap(
        gathered,
        axis_name=AXIS,
        in_axes=(None, 0, *[None] * num_shared),
        out_axes=None,
        devices=list(mesh.devices.flat),
    )
    return lambda *arguments: _as_global(mapped(*arguments), mesh)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """How steps reach the devices.

    Attributes:
      axis_name: mesh -> the axis that a train step has to average over, None if it sees all rows.
      shard: spreads this process's rows of a batch over the devices of a mesh.
      train_step, predict_step: compile a pure step for a mesh.
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
    """What `pmap` gives, which in several processes are arrays of one process, as global ones."""
    if jax.process_count() == 1:
        return tree
    replicated = _replicated(mesh)

    def whole(x: jax.Array) -> jax.Array:
        copies = [shard.data for shard in x.addressable_shards]
        return jax.make_array_from_single_device_arrays(x.shape, replicated, copies)

    return jax.tree.map(whole, tree)


def _replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def _by_rows(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(AXIS))
