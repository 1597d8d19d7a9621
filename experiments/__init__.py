"""Commands: `python -m experiments.train` and its like."""

import os
import pathlib
import sys

_TUNABLE = "glibc.malloc.hugetlb"


def _wants_huge_pages() -> bool:
    """Whether this is a command, on a system whose kernel gives huge pages to those who ask."""
    if sys.argv[:1] != ["-m"] or _TUNABLE in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        modes = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except (AttributeError, OSError, ValueError):  # Another system.
        return False
    is_recent = tuple(map(int, version.split(".")[:2])) >= (2, 35)
    return name == "glibc" and is_recent and "[madvise]" in modes


if _wants_huge_pages():
    # XLA asks the allocator for gigabytes anew in every step. In pages of 4 KB that costs a
    # quarter of the step on CPU (`experiments/results/benchmark.md`), and glibc reads this
    # setting at the start of a process only: so the command starts itself again, as the same
    # process. `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` prevents it.
    others = os.environ.get("GLIBC_TUNABLES")
    os.environ["GLIBC_TUNABLES"] = f"{others}:{_TUNABLE}=1" if others else f"{_TUNABLE}=1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
