"""Report what leaks between the parts of a split: `python -m experiments.audit --config=FILE`.

Audits the split that the config makes, or with `--split_file` one that somebody else made: artists
and recordings on both sides, byte-identical files, near-identical audio, the same audio under two
labels, class balance, durations and unreadable files. `data.name=gtzan_facts` does it for GTZAN
without its audio; `data.facts=FILE` adds names and MD5.

`--labels` lists the tracks whose label is probably wrong: the same audio under two labels first,
then those that models of other artists doubt (logistic regression on the features of a classical
config, such as `musicnn.py`, and on MFCCs in place of a network), with the estimated share of wrong
labels.
"""

import json
import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command, jax_settings
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
_LABELS = flags.DEFINE_bool("labels", False, "Look for wrong labels, by models of other artists.")
_PAGE = flags.DEFINE_string("page", None, "With --labels: file for the list, .html or .md.")
_FINGERPRINT = flags.DEFINE_bool("fingerprint", True, "Compare the audio of all pairs of tracks.")


def main(argv: Sequence[str]) -> command.Ending:
    """Audit one split; the code is 1 if `--strict` is given and it leaks, or that is not known."""
    command.refuse_arguments(argv)
    if _SPLIT_FILE.value and (_SAVE.value or _SEEDS.value > 1):
        raise command.UserError(
            "--split_file is one split; --save_split and --seeds are for a protocol"
        )
    if _PAGE.value is not None:
        if not _LABELS.value:
            raise command.UserError("--page is for the list of --labels; add --labels")
        command.output_file("page", _PAGE.value)
    config = command.read_config(_CONFIG)
    jax_settings.set_up()

    from mgr_jax import devices
    from mgr_jax.data import split_file, splits
    from mgr_jax.evaluation import audit, evidence
    from mgr_jax.evaluation.reports import audit_text

    print(devices.describe(), file=sys.stderr, flush=True)
    known = evidence.gather(config, compare_audio=_FINGERPRINT.value)
    config.data.protocol = splits.choose_protocol(
        config.data.protocol, known.readable, num_folds=config.data.num_folds
    )
    report = _audit(config, known)
    if _SEEDS.value > 1:
        report |= _average_over_seeds(config, known)
    print(audit_text.to_text(report))
    if _LABELS.value:
        report["labels"] = _check_labels(config, report)
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
    code = 1 if _STRICT.value and not audit.is_clean(report) else 0
    if report.get("artist_overlap") and config.data.protocol != "artist_kfold":
        protocol = "--config.data.protocol=artist_kfold"
        return command.Ending(code, ("audit", *command.config_arguments(), protocol))
    if config.data.name == "gtzan_facts":  # There is no audio to train on.
        return command.Ending(code, ("audit", *command.config_arguments(), "--seeds=100"))
    return command.Ending(code, command.training(config))


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


def _check_labels(config: config_lib.Config, report: dict[str, Any]) -> dict[str, Any]:
    """Return the doubted labels, print them, and write the page if --page is given."""
    from mgr_jax.evaluation import label_errors
    from mgr_jax.evaluation.reports import labels_text

    labels: dict[str, Any] = {"conflicts": label_errors.conflicts(report), "rows": None}
    if config.data.name == "gtzan_facts":
        labels["reason"] = "there is no audio"
    else:
        from mgr_jax.classical import out_of_fold

        data = out_of_fold.open_data(out_of_fold.checking_config(config))
        scored = out_of_fold.score(data)
        labels["method"] = scored.method
        labels |= label_errors.find(
            scored.ids, scored.names, data.labels, scored.log_probabilities, scored.groups
        )
    print(f"\n{labels_text.to_text(labels)}")
    if _PAGE.value is not None:
        path = command.output_file("page", _PAGE.value)
        labels_text.write_page(path, report["data"], labels)
        print(f"page      {path}")
    return labels


def _average_over_seeds(config: config_lib.Config, known: "Evidence") -> dict[str, Any]:
    """Return the mean and the sample standard deviation of the overlaps over seeds."""
    from mgr_jax import progress
    from mgr_jax.data import split_file
    from mgr_jax.evaluation import audit, evidence

    track_of = {track.id: track for track in known.catalog.tracks}
    first = config_lib.split_seed(config.data)
    assignments = []
    with progress.Progress("audit", total=_SEEDS.value, unit="seed") as bar:
        for seed in range(first, first + _SEEDS.value):
            split = evidence.make_split(known, config, seed=seed)
            assignments.append(split_file.of_split(split))
            bar.update()
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
