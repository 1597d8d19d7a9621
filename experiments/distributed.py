"""The flags that connect several processes of a command.

    python -m experiments.train --distributed --coordinator_address=HOST:PORT \\
        --num_processes=2 --process_id=0 ...

On Cloud TPU, on Slurm and Open MPI, whose processes divide the GPUs of a node, and on Kubernetes
with TPUs (JobSet) `--distributed` is enough.
"""

import os
import sys

from absl import flags

from experiments import command, ending

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define `--distributed` and the flags that go with it, for the command that calls this."""
    flags.DEFINE_bool("distributed", False, "This is one of several processes.")
    address = "HOST:PORT of process 0; else $JAX_COORDINATOR_ADDRESS."
    flags.DEFINE_string("coordinator_address", None, address)
    flags.DEFINE_integer(
        "num_processes", None, "Number of processes; else $JAX_NUM_PROCESSES.", lower_bound=1
    )
    flags.DEFINE_integer(
        "process_id", None, "Number of this one, from 0; else $JAX_PROCESS_ID.", lower_bound=0
    )
    silence = "Silence after which a process counts as dead and the others end."
    flags.DEFINE_integer("heartbeat_timeout_seconds", 100, silence, lower_bound=1)


def join() -> None:
    """Join the other processes if `--distributed` is given; only the first goes on printing.

    Raises:
      UserError: if they do not reach each other, or a flag is given without `--distributed`.
    """
    if not FLAGS.distributed:
        for name in ("coordinator_address", "num_processes", "process_id"):
            if FLAGS[name].value is not None:
                raise command.UserError(f"--{name} is given without --distributed; add that")
        return
    from mgr_jax.training import processes

    processes.initialize(
        coordinator_address=FLAGS.coordinator_address,
        num_processes=_flag_or_environment("num_processes", "JAX_NUM_PROCESSES"),
        process_id=_flag_or_environment("process_id", "JAX_PROCESS_ID"),
        heartbeat_timeout_seconds=FLAGS.heartbeat_timeout_seconds,
    )
    if not processes.is_first():
        ending.is_shown = False
        os.environ["TQDM_DISABLE"] = "1"
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)


def _flag_or_environment(flag: str, variable: str) -> int | None:
    """Return the value of the flag, else that of the environment variable, else None."""
    text = os.environ.get(variable)
    if FLAGS[flag].value is not None or not text:
        return FLAGS[flag].value
    if not text.isdecimal():
        raise command.UserError(f"${variable} is {text!r}; it must be a whole number")
    return int(text)
