"""The machine that numbers are measured on, and Markdown tables of them."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Iterable, Mapping
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
