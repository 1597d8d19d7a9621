"""NVIDIA GPUs of this machine, counted without starting CUDA, and the share of a process."""

import itertools
import pathlib
import re
import shutil
import subprocess
from collections.abc import Mapping

from mgr_jax.errors import UserError


def count_visible(environment: Mapping[str, str]) -> int:
    """Return how many GPUs a process with this environment may use."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        # CUDA reads up to the first entry that is no device; Slurm writes NoDevFiles for none.
        is_device = re.compile(r"\s*(\d+|(GPU|MIG)-\S+)\s*").fullmatch
        return len(list(itertools.takewhile(is_device, listed.split(","))))
    if shutil.which("nvidia-smi"):
        try:
            done = subprocess.run(
                ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return 0
        return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    return len(list(pathlib.Path("/dev").glob("nvidia[0-9]*")))


def local_ids(environment: Mapping[str, str], num_visible: int) -> list[int] | None:
    """Return which of its visible GPUs this process takes, None to leave the choice to JAX.

    Under Slurm and Open MPI JAX takes one GPU a task, that with the number of the task on its node.
    A task that drives several would leave the others idle, and a task that sees its own alone would
    look for one that is not there.

    Args:
      environment: variables of the process.
      num_visible: see `count_visible`.

    Raises:
      UserError: if the tasks of the node cannot divide its GPUs evenly.
    """
    if not num_visible or environment.get("JAX_LOCAL_DEVICE_IDS"):
        return None
    if "OMPI_COMM_WORLD_LOCAL_RANK" in environment:
        rank, tasks = environment["OMPI_COMM_WORLD_LOCAL_RANK"], "OMPI_COMM_WORLD_LOCAL_SIZE"
        rank, num_tasks = int(rank), int(environment.get(tasks, 1))
    elif "SLURM_LOCALID" in environment:
        rank, num_tasks = int(environment["SLURM_LOCALID"]), _num_slurm_tasks(environment)
    else:
        return None
    # Slurm hides the GPUs of other tasks if each has its own, and numbers what is left from 0.
    on_node = int(environment.get("SLURM_GPUS_ON_NODE") or 0)
    has_its_own = num_visible == _per_slurm_task(environment) or num_visible < on_node
    if num_tasks == 1 or has_its_own or (not on_node and num_visible < num_tasks):
        return list(range(num_visible))
    share, rest = divmod(num_visible, num_tasks)
    if rest or not share:
        raise UserError(
            f"--distributed: {num_tasks} processes of this node cannot share {num_visible} GPU(s)"
            " evenly; start fewer, or with more GPUs"
        )
    return list(range(rank * share, (rank + 1) * share))


def _num_slurm_tasks(environment: Mapping[str, str]) -> int:
    """Return how many tasks of the job step run on this node."""
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"):
        # Such as 4(x2),3: two nodes of four tasks, one of three.
        runs = re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get(name, ""))
        counts = [int(count) for count, nodes in runs for _ in range(int(nodes or 1))]
        if counts:
            return counts[min(int(environment.get("SLURM_NODEID", 0)), len(counts) - 1)]
    num_nodes = environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES") or 1
    return -(-int(environment.get("SLURM_NTASKS") or 1) // int(num_nodes))


def _per_slurm_task(environment: Mapping[str, str]) -> int:
    """Return how many GPUs the job gives to each task alone; 0 if it does not say."""
    text = environment.get("SLURM_GPUS_PER_TASK", "")  # 2, or a100:2
    match = re.search(r"(\d+)$", text) or re.search(
        r"gres/gpu(?::\w+)?[:=](\d+)", environment.get("SLURM_TRES_PER_TASK", "")
    )
    return int(match[1]) if match else 0
