"""The CPU cores that this process may use."""

import os


def count() -> int:
    """Return the number of cores of the process's affinity; of the machine where there is none."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
