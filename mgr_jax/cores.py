"""The cores of this machine that are ours to use."""

import os


def count() -> int:
    """Cores that this process may run on; all that there are on systems that do not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
