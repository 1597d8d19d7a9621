"""The flags by which several processes of a command find each other.

    python -m experiments.train --distributed --coordinator_address=HOST:PORT \\
        --num_processes=2 --process_id=0 ...

On Cloud TPU, Slurm, Open MPI and Kubernetes (JobSet) `--distributed` is enough.
"""

import os
import sys

from absl import flags

from experiments import command

_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "This is one of several processes.")
_ADDRESS = flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of process 0; else $JAX_COORDINATOR_ADDRESS."
)
_COUNT = flags.DEFINE_integer(
    "num_processes", None, "How many processes there are; else $JAX_NUM_PROCESSES.", lower_bound=1
)
_ID = flags.DEFINE_integer(
    "process_id", None, "Which this is, from 0; else $JAX_PROCESS_ID.", lower_bound=0
)
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat_timeout_seconds",
    100,
    "Silence after which a process counts as dead and the others end.",
    lower_bound=1,
)


def join() -> None:
    """With `--distributed`, joins the other processes; only the first goes on printing.

    Raises:
      UserError: if they do not find each other.
    """
    if not _DISTRIBUTED.value:
        given = [flag.name for flag in (_ADDRESS, _COUNT, _ID) if flag.value is not None]
        if given:
            raise command.UserError(f"--{given[0]} is given without --distributed; add that")
        return
    from mgr_jax.training import processes

    processes.initialize(
        coordinator_address=_ADDRESS.value,
        num_processes=_or_environment(_COUNT, "JAX_NUM_PROCESSES"),
        process_id=_or_environment(_ID, "JAX_PROCESS_ID"),
        heartbeat_timeout_seconds=_HEARTBEAT.value,
    )
    if not processes.is_first():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)


def is_on() -> bool:
    """Whether `--distributed` is given."""
    return _DISTRIBUTED.value


def _or_environment(flag: flags.FlagHolder, name: str) -> int | None:
    """Value of the flag, or of the environment variable; $JAX_COORDINATOR_ADDRESS JAX reads."""
    text = os.environ.get(name)
    if flag.value is not None or not text:
        return flag.value
    if not text.isdecimal():
        raise command.UserError(f"${name} is {text!r}; it must be a whole number")
    return int(text)
