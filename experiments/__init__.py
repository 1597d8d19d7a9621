"""Commands: `python -m experiments.train` and its like."""

import os
import pathlib
import sys

# XLA and NumPy ask the allocator for gigabytes anew in every step. In pages of 4 KB, and given back
# to the system after each step, they cost up to a third of it on CPU
# (`experiments/results/benchmark.md`): so pages are huge, and memory is kept.
_TUNABLES = {
    "glibc.malloc.hugetlb": 1,
    "glibc.malloc.mmap_max": 0,
    "glibc.malloc.top_pad": 2**26,
    "glibc.malloc.trim_threshold": 2**40,
}


def _wants_tunables() -> bool:
    """Whether this is a command, on a system whose kernel gives huge pages to those who ask."""
    if sys.argv[:1] != ["-m"] or "glibc.malloc.hugetlb" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        modes = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except (AttributeError, OSError, ValueError):  # Another system.
        return False
    is_recent = tuple(map(int, version.split(".")[:2])) >= (2, 35)
    return name == "glibc" and is_recent and "[madvise]" in modes


if _wants_tunables():
    # glibc reads these settings at the start of a process only: so the command starts itself again,
    # as the same process. `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` prevents it.
    others = os.environ.get("GLIBC_TUNABLES", "").split(":")
    names = {setting.split("=")[0] for setting in others}
    ours = (f"{name}={value}" for name, value in _TUNABLES.items() if name not in names)
    os.environ["GLIBC_TUNABLES"] = ":".join([*filter(None, others), *ours])
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
