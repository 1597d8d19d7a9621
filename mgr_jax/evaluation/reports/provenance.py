"""The origin of a result: code, machine, data, time and the number of evaluations."""

import contextlib
import datetime
from collections.abc import Iterator
from typing import Any

import filelock
import jax

from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.data import learned
from mgr_jax.data.dataset import Dataset
from mgr_jax.files import append_record, parse_json, read_records
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
        "split_seed": config_lib.split_seed(run.config.data),
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


def known_artists(run: workdir_lib.Run, dataset: Dataset, part: str) -> dict[str, int]:
    """Return how many scored tracks can be compared with the training by their artists.

    `artists_known` counts the tracks of `part` whose artist is known; it is 0 if none is known of
    the tracks that the model learned from. `learned_artists_unknown` counts the others of these.
    """
    track_of = {track.id: track for track in dataset.catalog.tracks}
    known = sum(bool(track_of[name].artist) for name in dataset.parts[part].ids)
    if getattr(dataset.split, part) != getattr(run.split, part):  # Those of another array file.
        comparable = learned.knows_artists(run.record.get("learned", {}), run.split)
        return {"artists_known": known if comparable else 0, "learned_artists_unknown": 0}
    ids = {*run.split.train, *run.split.valid} - set(getattr(run.split, part))
    artists = [track_of[name].artist for name in ids if name in track_of]
    return {
        "artists_known": known if any(artists) else 0,
        "learned_artists_unknown": artists.count(""),
    }


@contextlib.contextmanager
def counted_evaluation(run: workdir_lib.Run, part: str, *, checkpoint_step: int) -> Iterator[int]:
    """Yield the number of evaluations of `part` including this one, which the block reports.

    At the end of the block a line is appended to `evaluations.jsonl`, so that an evaluation that
    was killed before it was reported does not count. The report of the part has the count as well,
    and the larger one is continued, so that deleting one file does not reset it. The count is a
    reminder and offers no protection: deleting both files resets it. Under a lock, several
    evaluations at once get different numbers.

    Raises:
      OSError: if the file cannot be written.
    """
    log = run.path / _LOG
    with filelock.FileLock(log.with_suffix(".lock"), poll_interval=0.01):
        report = run.path / "eval" / part / "report.json"
        records = read_records(log)
        with contextlib.suppress(OSError, ValueError):
            records.append(parse_json(report.read_bytes()))
        number = max((_count(record, part) for record in records), default=0) + 1
        yield number
        record = {"part": part, "times_evaluated": number, "checkpoint_step": checkpoint_step}
        record["at"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        append_record(log, record)


def _count(record: Any, part: str) -> int:
    try:
        return int(record["times_evaluated"]) if record["part"] == part else 0
    except (ValueError, KeyError, TypeError, OverflowError):
        return 0
