"""Report what leaks between the parts of a split: `python -m experiments.audit --config=FILE`.

Audits the split that the config makes, or with `--split_file` one that somebody else made: artists
and recordings on both sides, byte-identical files, near-identical audio, the same audio under two
labels, class balance, durations and unreadable files. `data.name=gtzan_facts` does it for GTZAN
without its audio; `data.facts=FILE` adds names and MD5.
"""

import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command
from mgr_jax import config as config_lib

if TYPE_CHECKING:
    from mgr_jax.evaluation.evidence import Evidence

_CONFIG = command.define_config()
_SPLIT_FILE = flags.DEFINE_string("split_file", None, "CSV or JSON of a split: track_id,part|fold.")
_SEEDS = flags.DEFINE_integer(
    "seeds", 1, "Average the overlaps over this many seeds, from data.seed on.", 1
)
_STRICT = flags.DEFINE_bool("strict", False, "Exit with code 1 if anything leaks, or may leak.")
_JSON = flags.DEFINE_string("json", None, "File to write the result to, as JSON.")
_SAVE = flags.DEFINE_string("save_split", None, "File to write the split to, .csv or .json.")
_FINGERPRINT = flags.DEFINE_bool("fingerprint", True, "Compare the audio of all pairs of tracks.")


def main(argv: Sequence[str]) -> int:
    """Audit one split; return 1 if `--strict` is given and something leaks, or is not known."""
    command.refuse_arguments(argv)
    if _SPLIT_FILE.value and (_SAVE.value or _SEEDS.value > 1):
        raise command.UserError(
            "--split_file is one split; --save_split and --seeds are for a protocol"
        )
    config = command.read_config(_CONFIG)
    command.set_up_jax()

    from mgr_jax.data import split_file, splits
    from mgr_jax.evaluation import audit, evidence
    from mgr_jax.evaluation.reports import audit_text

    known = evidence.gather(config, compare_audio=_FINGERPRINT.value)
    config.data.protocol = splits.choose_protocol(
        config.data.protocol, known.readable, num_folds=config.data.num_folds
    )
    report = _audit(config, known)
    if _SEEDS.value > 1:
        report |= _average_over_seeds(config, known)
    print(audit_text.to_text(report))
    if _JSON.value:
        text = json.dumps(report, indent=1) + "\n"
        command.write_output("json", _JSON.value, text)
    if _SAVE.value:
        text = split_file.to_text(
            known.readable,
            path=_SAVE.value,
            protocol=config.data.protocol,
            num_folds=config.data.num_folds,
            seed=config_lib.split_seed(config.data),
        )
        pathlib.Path(_SAVE.value).write_text(text, encoding="utf-8")
    return 1 if _STRICT.value and not audit.is_clean(report) else 0


def _audit(config: config_lib.Config, known: "Evidence") -> dict[str, Any]:
    """Return the audit of the split file, or else of the split that the config makes."""
    from mgr_jax.data import folds, split_file, splits
    from mgr_jax.evaluation import audit, evidence

    data, seed = config.data, config_lib.split_seed(config.data)
    makes_folds = data.protocol in folds.PROTOCOLS and not _SPLIT_FILE.value
    if _SPLIT_FILE.value:
        about = {"protocol": f"split file {pathlib.Path(_SPLIT_FILE.value).name}"}
        assignment = split_file.read_split_file(_SPLIT_FILE.value, known.catalog.tracks)
    else:
        about = {"protocol": data.protocol, "seed": seed}
        assignment = split_file.of_split(evidence.make_split(known, config, seed=seed))
    if makes_folds:
        about |= {"fold": data.fold, "num_folds": data.num_folds}
    report = about | audit.audit(
        known.catalog,
        assignment,
        identical=known.identical,
        alike=known.alike,
        unreadable=known.unreadable,
        seconds=known.seconds,
    )
    if makes_folds:
        assigned = splits.make_folds(
            known.readable, protocol=data.protocol, seed=seed, num_folds=data.num_folds
        )
        report["folds"] = audit.fold_balance(known.catalog, assigned, data.num_folds)
    return report


def _average_over_seeds(config: config_lib.Config, known: "Evidence") -> dict[str, Any]:
    """Return the mean and the sample standard deviation of the overlaps over seeds."""
    from mgr_jax.data import split_file
    from mgr_jax.evaluation import audit, evidence

    track_of = {track.id: track for track in known.catalog.tracks}
    first = config_lib.split_seed(config.data)
    assignments = [
        split_file.of_split(evidence.make_split(known, config, seed=seed))
        for seed in range(first, first + _SEEDS.value)
    ]
    averages: dict[str, Any] = {"num_seeds": _SEEDS.value}
    for field in ("artist", "recording"):
        overlaps = [audit.overlap(track_of, assignment, field) for assignment in assignments]
        shares = [share for share in overlaps if share is not None]
        is_known = len(shares) == len(overlaps)
        averages[f"{field}_overlap"] = statistics.fmean(shares) if is_known else None
        averages[f"{field}_overlap_sd"] = statistics.stdev(shares) if is_known else None
    return averages


if __name__ == "__main__":
    command.run(main)
