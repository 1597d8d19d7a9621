"""Several processes as one program: start-up, barriers, work of the first process alone."""

import os
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from mgr_jax import gpus
from mgr_jax.errors import UserError

# A process may have to decode a data set that the others have in their cache.
_BARRIER_TIMEOUT_SECONDS = 24 * 3600


def initialize(
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout_seconds: int = 100,
) -> None:
    """Join this process to the others; to be called before anything touches a device.

    What is None is read from the environment, or detected by JAX (Cloud TPU, Slurm, Open MPI,
    Kubernetes). Of its GPUs it takes those of `gpus.local_ids`.

    Args:
      coordinator_address: `host:port` of the first process.
      process_id: number of this one, from 0.
      heartbeat_timeout_seconds: silence after which a process counts as dead, and ends the others.

    Raises:
      UserError: if the processes do not find each other, or cannot share the GPUs of a node.
    """
    local_ids = gpus.local_ids(os.environ, gpus.count_visible(os.environ))
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            local_ids,
            heartbeat_timeout_seconds=heartbeat_timeout_seconds,
            shutdown_timeout_seconds=heartbeat_timeout_seconds,
        )
        jax.devices()  # Now, while all processes are here: it waits for the others.
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--distributed: {error}; give --coordinator_address=HOST:PORT, --num_processes and"
            " --process_id to every process"
        ) from error


def is_first() -> bool:
    """Return whether this process is the one that writes and prints."""
    return not _are_several() or jax.process_index() == 0


def barrier(name: str) -> None:
    """Wait until all processes have called this with the same `name`."""
    if _are_several():
        # Not a collective of the devices, which would time out after minutes.
        from orbax.checkpoint import multihost

        multihost.get_barrier_sync_fn()(key=name, timeout_ms=1000 * _BARRIER_TIMEOUT_SECONDS)


def all_agree(value: bool) -> bool:
    """Return whether `value` is true in every process; all of them must call this."""
    if not _are_several():
        return value
    return bool(multihost_utils.process_allgather(np.array([value])).all())


def run_on_first(name: str, function: Callable[[], object]) -> None:
    """Run `function` in the first process only; return in all of them once it is done.

    Raises:
      UserError: in all processes, if `function` raised one.
    """
    user_error = None
    if is_first():
        try:
            function()
        except UserError as error:
            user_error = error
    barrier(name)
    if not all_agree(user_error is None):
        raise user_error or UserError("the first process has stopped; see what it says")


def _are_several() -> bool:
    # In this order, since `process_count` starts the devices.
    return jax.distributed.is_initialized() and jax.process_count() > 1
