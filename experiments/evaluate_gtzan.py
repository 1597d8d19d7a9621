"""Evaluate the GTZAN model of the package on spectrograms and tags, without audio.

    python -m experiments.evaluate_gtzan --arrays=ARRAYS.npz --taggrams=TAGS.npz --workdir=DIR \\
        [--split=test] [--model=FOLDER]

Scores the tracks of a part that both files have (`data.arrays`, `data.taggrams`), and refuses
those that the model was trained on. Prints the accuracy with its n, interval and protocol, and
writes report and predictions to `DIR/eval/<split>/`, as `experiments.evaluate` does.
"""

import dataclasses
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments import command
from experiments.configs import gtzan_arrays

if TYPE_CHECKING:
    from mgr_jax.data.dataset import Dataset
    from mgr_jax.pretrained.gtzan import GtzanModel
    from mgr_jax.workdir import Run

_ARRAYS = flags.DEFINE_string("arrays", None, "Array file of spectrograms.", required=True)
_TAGGRAMS = flags.DEFINE_string("taggrams", None, "File of tags over time.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the report.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part to evaluate on.")
_MODEL = flags.DEFINE_string("model", None, "Folder of the model; by default the package's.")


def main(argv: Sequence[str]) -> int:
    """Evaluate one part of the split; return the exit code."""
    command.refuse_arguments(argv)

    from mgr_jax.classical import fusion, tag_head
    from mgr_jax.data import taggrams
    from mgr_jax.evaluation.reports import report, wording
    from mgr_jax.pretrained import gtzan

    command.set_up_jax()
    model = gtzan.load(_MODEL.value or gtzan.FOLDER)
    part, tags = _SPLIT.value, taggrams.read(_TAGGRAMS.value, num_tags=gtzan.NUM_TAGS)
    run, dataset = _open(model, part, tags)
    scored = dataset.parts[part]
    began = time.monotonic()
    spectrograms = np.stack([dataset.clips.waveform(row) for row in scored.rows])
    vectors = tag_head.summarize([tags[name] for name in scored.ids])
    log_p = fusion.log_probabilities(model.params, spectrograms, vectors)
    seconds = time.monotonic() - began
    values = report.write_report(run, dataset, part, log_p, checkpoint_step=0, seconds=seconds)
    print(f"GTZAN model on the {part} part of {_ARRAYS.value}")
    print(wording.to_text(values))
    print(f"report    {run.path / 'eval' / part / 'report.html'} (and report.md)")
    return 0


def _open(model: "GtzanModel", part: str, tags: dict[str, np.ndarray]) -> tuple["Run", "Dataset"]:
    """Return the model as a run, and the tracks of `part` that have tags.

    Raises:
      UserError: if there are none, their class is unknown, or the model was trained on one.
    """
    from mgr_jax import workdir
    from mgr_jax.data import batches, gtzan, splits
    from mgr_jax.data import dataset as dataset_lib

    config = gtzan_arrays.get_config()
    config.data.root = _ARRAYS.value
    catalog, store = dataset_lib.open_catalog(config)
    own = [track for track in catalog.tracks if track.part == part]
    known = sorted({track.id for track in own} & set(model.trained_on))
    if known:
        raise command.UserError(
            f"--arrays {_ARRAYS.value}: the model was trained on {len(known)} track(s) of part"
            f" {part!r} ({', '.join(known[:3])}); score a part that it has not seen"
        )
    unknown = sorted({track.label for track in own} - set(model.labels))
    if unknown:
        raise command.UserError(
            f"--arrays {_ARRAYS.value}: class {unknown[0]!r} is unknown to the model, which knows"
            f" {', '.join(model.labels)}"
        )
    facts = gtzan.facts()
    published = all(t.id in facts and facts[t.id].part == part for t in own)
    protocol = "fault_filtered" if published else "listed"
    split = splits.Split(protocol, train=model.trained_on, valid=(), test=())
    path = pathlib.Path(_WORKDIR.value)
    path.mkdir(parents=True, exist_ok=True)
    record = {"data_hash": catalog.hash(), "split_hash": split.hash()}
    run = workdir.Run(path, config, model.labels, split, record)
    dataset = dataset_lib.open_part(config, split, part)
    ids = [name for name in dataset.parts[part].ids if name in tags]
    if not ids:
        raise command.UserError(
            f"--taggrams {_TAGGRAMS.value}: has no track of part {part!r} of {_ARRAYS.value}"
        )
    label_of = {track.id: track.label for track in catalog.tracks}
    kept = batches.make_part(store, ids, label_of, catalog.labels)
    return run, dataclasses.replace(dataset, parts={part: kept})


if __name__ == "__main__":
    command.run(main)
