"""The origin of a result: code, machine, data, time and the number of evaluations."""

import contextlib
import datetime
import fcntl
import json
from typing import Any

import jax

from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.workdir import read_metrics

_LOG = "evaluations.jsonl"


def describe(run: workdir_lib.Run, *, seconds: float | None) -> dict[str, Any]:
    """Return code, machine, seeds and times of a run and its evaluation, as JSON values.

    Args:
      run: the workdir.
      seconds: duration of the evaluation; None if not measured.
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
            # The sum over the epochs; null for systems that are fitted in one call.
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
    """Record an evaluation of `part` and return the number of evaluations including this one.

    Under a lock, a line is appended to `evaluations.jsonl`. The report of the part has the count
    as well, and the larger one is continued, so that deleting one file does not reset it. The
    count is a reminder and offers no protection: deleting both files resets it.

    Raises:
      OSError: if the file cannot be written.
    """
    with open(run.path / _LOG, "a+", encoding="utf-8", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        records = file.read().splitlines()
        with contextlib.suppress(OSError, UnicodeDecodeError):
            report = run.path / "eval" / part / "report.json"
            records.append(report.read_text(encoding="utf-8"))
        number = max((_count(record, part) for record in records), default=0) + 1
        record = {"part": part, "times_evaluated": number, "checkpoint_step": checkpoint_step}
        record["at"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        file.write(json.dumps(record) + "\n")
    return number


def _count(text: str, part: str) -> int:
    try:
        record = json.loads(text)
        return int(record["times_evaluated"]) if record["part"] == part else 0
    except (ValueError, KeyError, TypeError):
        return 0
