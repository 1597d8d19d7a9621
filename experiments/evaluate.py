"""Evaluate a trained workdir: `python -m experiments.evaluate --workdir=DIR [--split=test]`.

    python -m experiments.evaluate --model=gtzan --config.data.root=ARRAYS.npz \\
        --config.data.taggrams=TAGS.npz [--split=test] [--workdir=DIR]

scores the GTZAN model of the package, without audio, on the tracks that both files have
(`data.arrays`, `data.taggrams`), and refuses those that it was trained on. A report is written if
there is a workdir.

Prints the accuracy with its n, interval and protocol, and writes the report to
`DIR/eval/<split>/`. The temperature that calibrates the confidences of a network comes from the
validation part (1 if no other is better on held-back tracks) and is kept in
`DIR/eval/temperature.json`; a classical system has one from its training.
"""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from experiments import command, devices

if TYPE_CHECKING:
    from mgr_jax import config as config_lib
    from mgr_jax.predictor import Predictor

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_MODEL = flags.DEFINE_string("model", None, "gtzan, or a folder of experiments.fit_gtzan.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part to evaluate on.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_OVERRIDES = command.define_overrides()


def main(argv: Sequence[str]) -> int:
    """Evaluate one part of the split; return the exit code."""
    command.refuse_arguments(argv)
    if _MODEL.value is not None:
        from experiments import gtzan_model

        if flags.FLAGS["checkpoint"].present:
            raise command.UserError("--checkpoint: --model has one model only; leave the flag out")
        command.set_up_jax()
        overrides = command.override_values(_OVERRIDES)
        gtzan_model.run(_MODEL.value, _SPLIT.value, overrides, _WORKDIR.value)
        return 0
    if _WORKDIR.value is None:
        raise command.UserError("--workdir is missing; give the folder of a run, or --model=gtzan")

    from mgr_jax import predictor as predictor_lib
    from mgr_jax import workdir
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.evaluation.reports import report, wording
    from mgr_jax.plural import plural

    command.set_up_jax()
    predictor = predictor_lib.load(_WORKDIR.value, checkpoint_name=_CHECKPOINT.value)
    run, part = predictor.run, _SPLIT.value
    config = command.apply_overrides(run.config, _OVERRIDES)
    dataset = dataset_lib.open_part(config, run.split, part, learned=run.record.get("learned"))
    unknown = sorted(set(dataset.catalog.labels) - set(run.labels))
    if unknown:
        raise command.UserError(
            f"data.root {config.data.root}: class {unknown[0]!r} is unknown to the model, which"
            f" knows {', '.join(run.labels)}; give data with its classes"
        )
    scored = set(dataset.parts[part].ids)
    if dataset.split is run.split:  # Not that of another array file.
        scored.add("data.root")
    changed = set(workdir.changed_tracks(run, dataset.catalog)) & scored
    if changed:
        print(
            f"changed   {plural(len(changed), 'file')} of this part with other content than in"
            f" training ({', '.join(sorted(changed)[:3])})"
        )
    print(devices.describe(), file=sys.stderr, flush=True)
    began = time.monotonic()
    scores = predictor.score_tracks(dataset.parts[part])
    seconds = time.monotonic() - began
    _calibrate(predictor, config, {part: (dataset, scores)})
    values = report.write_report(
        run, dataset, part, scores, checkpoint_step=predictor.step, seconds=seconds
    )
    print(f"{run.config.model.name} on the {part} part of {dataset.catalog.name}")
    print(wording.to_text(values))
    print(f"report    {run.path / 'eval' / part / 'report.html'} (and report.md)")
    return 0


def _calibrate(
    predictor: "Predictor", config: "config_lib.Config", evaluated: dict[str, tuple]
) -> None:
    """Choose the temperature of this checkpoint, unless the workdir has it already.

    `evaluated` has part -> (its dataset, scores [N, C] of its tracks) as far as they are computed.
    """
    import numpy as np

    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.data import folds, splits
    from mgr_jax.evaluation import calibration
    from mgr_jax.evaluation.reports import report, wording

    run, step = predictor.run, predictor.step
    if run.split.protocol == splits.IMPORTED:
        return  # Any track may be one that it was trained on.
    if calibration.load_temperature(run.path, checkpoint_step=step) is not None:
        return
    if "valid" not in evaluated:
        try:
            dataset = dataset_lib.open_part(config, run.split, "valid")
        except command.UserError:
            return  # The report says that there is no temperature.
        evaluated = {"valid": (dataset, predictor.score_tracks(dataset.parts["valid"]))}
    dataset, scores = evaluated["valid"]
    if np.isnan(scores).any():
        return  # The model has diverged: `report.write_report` refuses such scores.
    labels = report.true_classes(run, dataset, "valid")
    track_of = {track.id: track for track in dataset.catalog.tracks}
    ids = dataset.parts["valid"].ids
    group_of = folds.group_ids([track_of[name] for name in ids])
    calibration.write_temperature(
        run.path,
        scores,
        labels,
        checkpoint_step=step,
        groups=[group_of[name] for name in ids],
        chose_model=run.config.model.name not in wording.WITHOUT_CHOICE,
    )


if __name__ == "__main__":
    command.run(main)
