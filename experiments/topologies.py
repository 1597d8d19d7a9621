"""The table of `experiments.scaling`: reports of `compile_for` in a folder, as Markdown."""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from experiments import ending
from mgr_jax import progress
from mgr_jax.evaluation.reports import markdown
from mgr_jax.files import write_whole

SYSTEMS = {
    "rnn": ("--config=experiments/configs/rnn.py",),
    "cnn_lstm": ("--config=experiments/configs/cnn_lstm.py",),
    "cnn": ("--config=experiments/configs/cnn.py",),
    "bbnn": ("--config=experiments/configs/bbnn.py",),
    "bbnn_bfloat16": ("--config=experiments/configs/bbnn.py", "--config.model.dtype=bfloat16"),
    "bbnn_local": ("--config=experiments/configs/bbnn.py", "--config.model.local_batch_norm=True"),
}
TOPOLOGIES = ("v5e:2x4", "v5e:8x8", "v5e:16x16", "v6e:2x4", "h100:1", "h100:8")
COLUMNS = (
    "system",
    "chips",
    "clips a chip",
    "fits",
    "peak memory",
    "HBM traffic a clip",
    "collectives",
    "bytes",
    "step at least",
    "bound",
    "scaling",
)


def fill(folder: pathlib.Path, system: str, topology: str, *, clips_per_device: int) -> bool:
    """Compile one cell unless it exists; return whether it exists now."""
    cell = folder / f"{system}-{topology.replace(':', '-')}.json"
    if cell.exists():
        return True
    scratch, began = cell.with_suffix(".part"), time.monotonic()
    arguments = (
        *SYSTEMS[system],
        f"--topology={topology}",
        f"--clips_per_device={clips_per_device}",
        f"--json={scratch}",
    )
    # A process each: libtpu takes one kind of chip in its life.
    with progress.Progress("compile", f"{system} for {topology}"):
        done = subprocess.run(
            [sys.executable, "-m", "experiments.compile_for", *arguments],
            env=os.environ | ending.CHILD | {"TQDM_DISABLE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if not scratch.exists():
        print(f"{system} {topology}: {done.stderr.strip()[-500:]}", file=sys.stderr, flush=True)
        return False
    (record,) = json.loads(scratch.read_text(encoding="utf-8"))
    record |= {"system": system, "seconds": round(time.monotonic() - began, 1)}
    record["command"] = f"python -m experiments.compile_for {shlex.join(arguments[:-1])}"
    write_whole(cell, json.dumps(record, indent=1))
    scratch.unlink()
    print(f"{system} {topology}: {record['seconds']} s", flush=True)
    return True


def write_table(folder: pathlib.Path) -> None:
    """Write `table.md` and `table.json` of the cells in the folder."""
    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
        if path.name != "table.json"
    ]
    order = list(SYSTEMS)
    records.sort(key=lambda r: (order.index(r["system"]), r["chip"], r["devices"]))
    write_whole(folder / "table.json", json.dumps(records, indent=1))
    write_whole(folder / "table.md", format_table(records))


def format_table(records: Sequence[dict[str, Any]]) -> str:
    """Return records as Markdown; `+` marks counts that loops exceed, being counted once."""
    return "".join(f"{line}\n" for line in markdown.table(COLUMNS, map(_row, records)))


def _row(record: dict[str, Any]) -> list[str]:
    chips = f"{record['devices']} {record['chip']}"
    fits = "yes"
    if "error" in record:
        fits = f"{record['clips_per_device']} do not: {record['peak_memory'] / 2**30:.1f} GiB"
        facts = record.get("facts_of_largest")
        if facts is None:
            return [record["system"], chips, "0", fits, *["-"] * 7]
        record = facts | {"system": record["system"]}
    more = "+" if record["loops_counted_once"] else ""
    kinds = ", ".join(f"{n} {kind}" for kind, n in record["collectives"].items()) or "none"
    return [
        record["system"],
        chips,
        str(record["clips_per_device"]),
        fits,
        f"{record['peak_memory'] / 2**30:.2f} GiB",
        f"{record['hbm_bytes_per_clip'] / 1e9:.3f} GB{more}",
        kinds,
        f"{record['collective_bytes'] / 1e6:.2f} MB",
        f"{1e3 * record['lower_bound_seconds']:.2f} ms{more}",
        record["bound"],
        f"{100 * record['scaling_efficiency']:.1f} %{more}",
    ]
