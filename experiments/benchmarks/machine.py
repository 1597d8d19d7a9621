"""The machine that numbers are measured on, and Markdown tables of them."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mgr_jax import cores
from mgr_jax.evaluation.reports import markdown

_PACKAGES = ("jax", "jaxlib", "flax", "torch", "librosa", "scikit-learn", "essentia", "numpy")
_VERDICTS = {True: "met", False: "**missed**", None: ""}


def describe() -> list[str]:
    """Return date, processor and versions as a paragraph of Markdown for the head of a table."""
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return [
        f"{datetime.datetime.now(datetime.UTC).date()}, {_processor()}, {cores.count()} cores,"
        f" {memory:.0f} GB (load {os.getloadavg()[0]:.1f} at the start),"
        f" Python {platform.python_version()}, {', '.join(versions)}.",
        "",
    ]


def table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table; `columns` has title -> format string of the fields of a row.

    The field `verdict` comes from the field `met`, and is empty where there is none.
    """
    cells = (
        [text.format(**row, verdict=verdict(row.get("met"))) for text in columns.values()]
        for row in rows
    )
    return markdown.table(list(columns), cells)


def verdict(met: bool | None) -> str:
    """Return the word for a row with a target, "" for one without."""
    return _VERDICTS[met]


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.partition(":") for line in lines)
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    vector = [flag for flag in ("avx2", "avx512f", "avx512_bf16") if flag in flags]
    return f"{name} ({', '.join(vector)})" if vector else name


@dataclasses.dataclass(frozen=True)
class Watched:
    """What a command took and printed; processor time and memory include its children.

    `peak_mb` is the largest sum of resident sets in MB.
    """

    seconds: float
    processor_seconds: float
    peak_mb: float
    output: str


def watch(command: Sequence[str]) -> Watched:
    """Run a command to its end.

    Raises:
      RuntimeError: if it fails, with what it has printed.
    """
    began, before, peak = time.perf_counter(), os.times(), 0.0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.02)
        took = time.perf_counter() - began
        log.seek(0)
        output = log.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {output}")
    after = os.times()  # Of children that have ended.
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Watched(took, used, peak, output)


def resident(pid: int) -> float:
    """Return the resident set of a process and of those that it started, in MB."""
    total = 0.0
    with contextlib.suppress(OSError, ValueError):  # It may end meanwhile.
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        total = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += sum(resident(int(child)) for child in (task / "children").read_text().split())
    return total
