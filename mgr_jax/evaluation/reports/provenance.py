"""Where a number comes from: code, machine, data, time, and how often it was asked for."""

import datetime
import fcntl
import json
import pathlib
from typing import Any

import jax

from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.workdir import read_metrics

_LOG = "evaluations.jsonl"


def describe(run: workdir_lib.Run, *, seconds: float | None) -> dict[str, Any]:
    """Code, machine, seeds and times of a run and its evaluation, as JSON values.

    Args:
      run: the workdir.
      seconds: how long the evaluation took; None where that was not measured.
    """
    device = jax.devices()[0]
    times = [r["seconds"] for r in read_metrics(run.path) if isinstance(r.get("seconds"), float)]
    return {
        "config": config_lib.to_json(run.config),
        "seed": run.config.train.seed,
        "split_seed": run.config.data.seed,
        "data_hash": run.record["data_hash"],
        "split_hash": run.record["split_hash"],
        "trained_with": {
            "versions": run.record.get("versions", {}),
            "git_commit": run.record.get("git_commit", ""),
            # Of the epochs that were kept; null for systems that are fitted in one call.
            "seconds": sum(times) if times else None,
        },
        "evaluated_with": {
            "versions": workdir_lib.versions(),
            "git_commit": workdir_lib.git_commit(),
            "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
            "seconds": seconds,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    }


def count_evaluation(run: workdir_lib.Run, part: str, *, checkpoint_step: int) -> int:
    """Writes down that `part` is evaluated once more; returns how often it was, this included.

    A line is appended to `evaluations.jsonl` before the numbers are shown, under a lock. The
    report of the part has the count as well, and the larger of the two goes on: deleting one
    file does not set it back. Who deletes both can; this is a memory aid, no seal.

    Raises:
      OSError: if the file cannot be written.
    """
    with open(run.path / _LOG, "a+", encoding="utf-8", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        counts = [_count(line, part) for line in file.read().splitlines()]
        number = max([*counts, _reported(run.path / "eval" / part / "report.json")]) + 1
        record = {"part": part, "times_evaluated": number, "checkpoint_step": checkpoint_step}
        record["at"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        file.write(json.dumps(record) + "\n")
    return number


def _count(line: str, part: str) -> int:
    try:
        record = json.loads(line)
        return int(record["times_evaluated"]) if record["part"] == part else 0
    except (ValueError, KeyError, TypeError):
        return 0


def _reported(path: pathlib.Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["times_evaluated"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
