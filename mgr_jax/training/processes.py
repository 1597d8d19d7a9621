"""Several processes as one program: start-up, what the first alone does, and agreement."""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from mgr_jax.errors import UserError

# A process may have to decode a data set that others have at hand already.
_PATIENCE_SECONDS = 24 * 3600


def initialize(
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout_seconds: int = 100,
) -> None:
    """Joins this process to the others; to be called before anything touches a device.

    Args:
      coordinator_address: `host:port` of the first process. num_processes: how many there are.
        process_id: which this is, from 0. What is None is taken from the environment, or found
        out by JAX (Cloud TPU, Slurm, Open MPI, Kubernetes).
      heartbeat_timeout_seconds: silence after which a process counts as dead, and ends the others.

    Raises:
      UserError: if the processes do not find each other.
    """
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
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
    """Whether this process is the one that writes and prints."""
    return not _are_several() or jax.process_index() == 0


def wait(name: str) -> None:
    """Returns when all processes have come here; `name` is of this place in the program."""
    if _are_several():
        # Not a collective of the devices, whose patience ends after minutes.
        from orbax.checkpoint import multihost

        multihost.get_barrier_sync_fn()(key=name, timeout_ms=1000 * _PATIENCE_SECONDS)


def all_agree(value: bool) -> bool:
    """Whether `value` holds in every process; all of them must call it."""
    if not _are_several():
        return value
    return bool(multihost_utils.process_allgather(np.array([value])).all())


def first_alone(name: str, function: Callable[[], None]) -> None:
    """Runs `function` in the first process; returns in all of them once it is done.

    Raises:
      UserError: in all processes, if it raised one.
    """
    problem = None
    if is_first():
        try:
            function()
        except UserError as error:
            problem = error
    wait(name)
    if not all_agree(problem is None):
        raise problem or UserError("the first process has stopped; see what it says")


def _are_several() -> bool:
    # Asked first: the number of processes alone would start the devices.
    return jax.distributed.is_initialized() and jax.process_count() > 1
