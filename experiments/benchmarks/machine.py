"""The machine that numbers are measured on, and Markdown tables of them."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Iterable, Sequence

from mgr_jax import cores

_PACKAGES = ("jax", "jaxlib", "flax", "torch", "librosa", "scikit-learn", "essentia", "numpy")


def describe() -> list[str]:
    """Return date, processor and versions as a paragraph of Markdown for the head of a table."""
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    load = os.getloadavg()[0]
    today = datetime.datetime.now(datetime.UTC).date()
    return [
        f"{today}, {_processor()}, {cores.count()} cores, {_memory():.0f} GB"
        f" (load {load:.1f} at the start), Python {platform.python_version()},"
        f" {', '.join(versions)}.",
        "",
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def verdict(met: bool) -> str:
    """Return the word for the last column of a line with a target."""
    return "met" if met else "**missed**"


def _processor() -> str:
    text = _read("/proc/cpuinfo")
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in pairs}
    name = fields.get("model name") or platform.processor() or platform.machine()
    vector = [
        flag for flag in ("avx2", "avx512f", "avx512_bf16") if flag in fields.get("flags", "")
    ]
    return f"{name} ({', '.join(vector)})" if vector else name


def _memory() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _read(path: str) -> str:
    file = pathlib.Path(path)
    return file.read_text(encoding="utf-8") if file.exists() else ""
