"""The networks on topologies from 8 to 256 chips: what `compile_for` says, as one table.

    python -m experiments.scaling --folder=DIR [--systems=rnn,cnn] [--topologies=v5e:2x4]

Needs no TPU (`pip install -e '.[tpu]'`). Each cell is one run of `compile_for`, of seconds to many
minutes, kept in DIR as `SYSTEM-TOPOLOGY.json`: the same command again goes on with what is missing,
and writes `table.md` and `table.json` of all cells that are there.
"""

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import command
from mgr_jax.files import write_whole

SYSTEMS = {
    "rnn": ("--config=experiments/configs/rnn.py",),
    "cnn_lstm": ("--config=experiments/configs/cnn_lstm.py",),
    "cnn": ("--config=experiments/configs/cnn.py",),
    "bbnn": ("--config=experiments/configs/bbnn.py",),
    "bbnn_bfloat16": ("--config=experiments/configs/bbnn.py", "--config.model.dtype=bfloat16"),
    "bbnn_local": ("--config=experiments/configs/bbnn.py", "--config.model.local_batch_norm=True"),
}
TOPOLOGIES = ("v5e:2x4", "v5e:8x8", "v5e:16x16", "v6e:2x4")
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

_FOLDER = flags.DEFINE_string("folder", None, "Where cells and table are kept.", required=True)
_SYSTEMS = flags.DEFINE_list("systems", list(SYSTEMS), f"Of {', '.join(SYSTEMS)}.")
_TOPOLOGIES = flags.DEFINE_list("topologies", list(TOPOLOGIES), "As compile_for takes them.")
_CLIPS = flags.DEFINE_integer("clips_per_device", 8, "Rows on each device.", lower_bound=1)


def main(argv: Sequence[str]) -> int:
    """Fills the cells that are missing; returns 1 if one could not be compiled."""
    command.refuse_arguments(argv)
    unknown = [name for name in _SYSTEMS.value if name not in SYSTEMS]
    if unknown:
        raise command.UserError(f"--systems {unknown[0]}: choose from {', '.join(SYSTEMS)}")
    folder = pathlib.Path(_FOLDER.value)
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for topology in _TOPOLOGIES.value:
        for system in _SYSTEMS.value:
            failed |= not _fill(folder, system, topology)
            _write_table(folder)
    return int(failed)


def _fill(folder: pathlib.Path, system: str, topology: str) -> bool:
    """Compiles one cell unless it is there; says whether it is there now."""
    cell = folder / f"{system}-{topology.replace(':', '-')}.json"
    if cell.exists():
        return True
    scratch, began = cell.with_suffix(".part"), time.monotonic()
    arguments = (
        *SYSTEMS[system],
        f"--topology={topology}",
        f"--clips_per_device={_CLIPS.value}",
        f"--json={scratch}",
    )
    # A process each: libtpu takes one kind of chip in its life.
    done = subprocess.run(
        [sys.executable, "-m", "experiments.compile_for", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if not scratch.exists():
        print(f"{system} {topology}: {done.stderr.strip()[-500:]}", file=sys.stderr, flush=True)
        return False
    (record,) = json.loads(scratch.read_text(encoding="utf-8"))
    record |= {"system": system, "seconds": round(time.monotonic() - began, 1)}
    record["command"] = " ".join(["python -m experiments.compile_for", *arguments[:-1]])
    write_whole(cell, json.dumps(record, indent=1))
    scratch.unlink()
    print(f"{system} {topology}: {record['seconds']} s", flush=True)
    return True


def _write_table(folder: pathlib.Path) -> None:
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
    """Records of cells as Markdown; a `+` marks what loops make more than it is counted."""
    lines = [" | ".join(COLUMNS), " | ".join(["---"] * len(COLUMNS)), *map(_row, records)]
    return "".join(f"| {line} |\n" for line in lines)


def _row(record: dict[str, Any]) -> str:
    chips = f"{record['devices']} {record['chip']}"
    fits = "yes"
    if "error" in record:
        fits = f"{record['clips_per_device']} do not: {record['peak_memory'] / 2**30:.1f} GiB"
        facts = record.get("facts_of_largest")
        if facts is None:
            return " | ".join([record["system"], chips, "0", fits, *["-"] * 7])
        record = facts | {"system": record["system"]}
    more = "+" if record["loops_counted_once"] else ""
    kinds = ", ".join(f"{n} {kind}" for kind, n in record["collectives"].items()) or "none"
    return " | ".join(
        [
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
    )


if __name__ == "__main__":
    command.run(main)
