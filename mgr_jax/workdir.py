"""The folder of one run: its config, its data, and how far it got.

`config.json`, `split.json`, `split.csv` and `content.json` (hashes of the files) are written when a
run starts; `STATUS` says `running`, `done`, `preempted` or `diverged`. A workdir belongs to one
config; any other is refused.
"""

import contextlib
import dataclasses
import datetime
import errno
import importlib.metadata
import json
import os
import pathlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import filelock

from mgr_jax import config as config_lib
from mgr_jax.config_sections import has_batch_norm
from mgr_jax.data import learned, splits
from mgr_jax.data.catalog import PARTS, Catalog
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.files import parse_json, record_digest, write_whole
from mgr_jax.version import VERSION

METRICS = "metrics.jsonl"
# Hash of the file of each track.
_CONTENT = "content.json"

# Where the data lie, how they are read and when a run is saved change no number; which operations
# a network calls, and how a step is spread over devices, change rounding alone.
_FREE_FIELDS = (
    "data.root",
    "data.cache",
    "data.facts",
    "data.num_workers",
    "data.read_threads",
    "data.read_processes",
    "data.on_device",
    "model.implementation",
    "train.parallelism",
    "train.matmul_precision",
    "train.deterministic",
    "train.folds_at_once",
    "train.checkpoint_every_steps",
    "train.keep_checkpoints",
)
# Errors of file systems that have no locks, such as NFS without its lock service.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "librosa")


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """The contents of a workdir; `record` is that of `config.json`."""

    path: pathlib.Path
    config: config_lib.Config
    labels: tuple[str, ...]
    split: splits.Split
    record: dict[str, Any]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(getattr(self.split, part))} {part}" for part in PARTS)
        return f"Run({str(self.path)!r}, {self.config.model.name}, {self.split.protocol}: {sizes})"


def create(path: str, config: config_lib.Config, catalog: Catalog, split: splits.Split) -> Run:
    """Open `path` for training: write `config.json` and the split, or check that they are the same.

    Raises:
      UserError: if the folder cannot be written, or belongs to another config or other data.
    """
    reserve(path, config)
    folder = pathlib.Path(path)
    record = {
        "config": config_lib.to_json(config),
        "labels": list(catalog.labels),
        "data_hash": catalog.hash(),
        "split_hash": split.hash(),
        "versions": versions(),
        "git_commit": git_commit(),
    }
    if config.data.name in config_lib.ARRAY_NAMES:
        # To refuse rows of another file that were trained on.
        record["learned"] = learned.names(catalog, split)
    if (folder / "config.json").exists():
        run = load(path)
        if changed := changed_tracks(run, catalog):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UserError(
                f"workdir {run.path}: the content of {', '.join(changed[:3])}{more} was another"
                " when it was made; use another workdir, or restore the files"
            )
        if not (folder / _CONTENT).exists():  # A run of an earlier version.
            record["data_hash"] = dataclasses.replace(catalog, content={}).hash()
        for name, field in (("data_hash", "data.root"), ("split_hash", "data.protocol")):
            if run.record[name] == record[name]:
                continue
            if field == "data.protocol" and run.split.protocol != split.protocol:
                raise UserError(
                    f"workdir {run.path}: made with data.protocol={run.split.protocol!r}, not"
                    f" {split.protocol!r}, which 'auto' means here; give that protocol to go on, or"
                    " use another workdir"
                )
            raise UserError(
                f"workdir {run.path}: made with other tracks than {field} gives now; use another"
                " workdir, or restore the data"
            )
        return run
    try:
        write_whole(folder / "split.csv", splits.to_csv(split))
        write_whole(folder / "split.json", json.dumps(splits.to_json(split), indent=1))
        write_whole(folder / _CONTENT, json.dumps(dict(catalog.content), indent=1))
        record["digest"] = record_digest(record)
        write_whole(folder / "config.json", json.dumps(record, indent=1))
    except OSError as error:
        raise _not_writable(path, error) from error
    return load(path)


def reserve(path: str, config: config_lib.Config) -> None:
    """Create the folder, or check that it belongs to `config`, before hours of decoding.

    Fields that the version that made the folder did not have count as their defaults.

    Raises:
      UserError: if the folder cannot be written, or belongs to another config.
    """
    folder = _folder(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_writable(path, error) from error
    if not (folder / "config.json").exists():
        return
    run = load(path)
    ours, theirs = config_lib.to_json(config), config_lib.to_json(run.config)
    free: list[str] = list(_FREE_FIELDS)
    if not has_batch_norm(config.model):
        free.append("model.batch_norm_momentum")  # Its default was another once.
    if theirs["data"]["protocol"] == "auto":
        theirs["data"]["protocol"] = run.split.protocol
    if ours["data"]["protocol"] == "auto":
        free.append("data.protocol")  # It depends on the tracks: `create` compares the splits.
    changed = [n for n in config_lib.differences(ours, theirs) if n not in free]
    if changed:
        section, name = changed[0].split(".")
        more = f" (and {', '.join(changed[1:])})" if changed[1:] else ""
        raise UserError(
            f"workdir {folder}: made with {changed[0]}={theirs[section][name]!r}, not"
            f" {ours[section][name]!r}{more}; use another workdir, or the same config to go on"
        )


def load(path: str) -> Run:
    """Read what `create` wrote.

    Raises:
      UserError: if `path` is not the workdir of a run, or its files are damaged.
    """
    folder = _folder(path)
    if not os.path.isfile(folder / "config.json"):  # False for a name that is too long, too.
        raise UserError(f"workdir {path}: no config.json in it; give the workdir of a training")
    record = _read_json(folder / "config.json")
    for field in ("config", "labels", "data_hash", "split_hash"):
        if field not in record:
            raise UserError(f"{folder / 'config.json'}: field {field!r} is missing; train anew")
    if record.get("digest", record_digest(record)) != record_digest(
        record
    ):  # Early versions wrote none.
        raise UserError(f"{folder / 'config.json'}: was changed; restore it or train anew")
    labels = record["labels"]
    if not isinstance(labels, list) or not all(
        isinstance(label, str) and label == printable(label) for label in labels
    ):
        raise UserError(f"{folder / 'config.json'}: field 'labels' is damaged; train anew")
    split = splits.from_json(_read_json(folder / "split.json"))
    if split.hash() != record["split_hash"]:
        raise UserError(
            f"{folder / 'split.json'}: not the split that this run was made with; restore it"
        )
    return Run(
        path=folder,
        config=config_lib.validate(config_lib.from_json(record["config"])),
        labels=tuple(labels),
        split=split,
        record=record,
    )


@contextlib.contextmanager
def hold(path: str) -> Iterator[None]:
    """Keep other processes from training in the folder `path`, which is created.

    The operating system ends the lock with this process, however it ends. `holder.json` says who
    holds it. A file system without locks is used as it is.

    Raises:
      UserError: if another process holds the folder, or it cannot be written.
    """
    folder = _folder(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / "lock", timeout=0)
        try:
            lock.acquire()
        except (NotImplementedError, OSError) as error:
            if getattr(error, "errno", errno.ENOSYS) not in _NO_LOCKS:
                raise
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
        write_whole(folder / "holder.json", json.dumps(holder))
    except filelock.Timeout as error:
        raise UserError(
            f"workdir {path}: {_describe_holder(folder)} is training in it; wait for it or stop"
            " it, or use another workdir"
        ) from error
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _describe_holder(folder: pathlib.Path) -> str:
    """Return `process 123 on host, since 2026-01-31 12:00:00+00:00,`."""
    try:
        holder = _read_json(folder / "holder.json")
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
    except (UserError, KeyError):  # It has only just begun.
        return "another process"


def changed_tracks(run: Run, catalog: Catalog) -> list[str]:
    """Return the tracks whose files have other content than when the run was made."""
    if not (run.path / _CONTENT).exists():  # A run of an earlier version.
        return []
    known = _read_json(run.path / _CONTENT)
    return [name for name, now in catalog.content.items() if known.get(name, now) != now]


def set_status(path: pathlib.Path, status: str) -> None:
    """Write `STATUS`."""
    write_whole(path / "STATUS", status + "\n")


def _not_writable(path: str, error: OSError) -> UserError:
    reason = error.strerror or error
    return UserError(f"workdir {path}: cannot be written ({reason}); choose another folder")


def _folder(path: str) -> pathlib.Path:
    if not path:
        raise UserError("workdir is empty; name a folder for this run")
    if "://" in path:  # It would become a local folder `gs:`, which no other host sees.
        raise UserError(
            f"workdir {path}: is no path of a file system; mount the bucket (gcsfuse, s3fs) and"
            " give the folder in it"
        )
    return pathlib.Path(path)


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it or train anew") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: is not a JSON object; restore it or train anew")
    return values


def versions() -> dict[str, str]:
    """Return the versions of this package and of those that its numbers depend on."""
    return {"mgr_jax": VERSION} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def git_commit() -> str:
    """Return the commit of the code, `+changes` if it was modified; empty outside a checkout."""
    here = pathlib.Path(__file__)
    # Fails for a package that is installed inside another project's repository.
    is_tracked = ["ls-files", "--error-unmatch", here.name]
    describe = ["describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
    try:
        for command in (is_tracked, describe):
            result = subprocess.run(
                ["git", "-C", str(here.parent), *command],
                capture_output=True,
                text=True,
                check=True,
            )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return the records written so far, oldest first, up to a truncated or damaged line."""
    path = workdir / METRICS
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = parse_json(line)
        except ValueError:
            break
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            break
        records.append(record)
    return records
