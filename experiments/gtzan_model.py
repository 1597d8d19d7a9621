"""Evaluation of the GTZAN model on files of spectrograms and tags: `evaluate --model=gtzan`."""

import contextlib
import dataclasses
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments import command
from experiments.configs import gtzan_arrays
from mgr_jax import config as config_lib
from mgr_jax import devices, runs, shipped
from mgr_jax import predictor as predictor_lib
from mgr_jax import scored as scored_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.classical import fusion, tag_head
from mgr_jax.data import batches, splits, taggrams
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data import gtzan as gtzan_data
from mgr_jax.pretrained import gtzan


def evaluate(
    name: str, part: str, overrides: Mapping[str, Any], workdir: str | None
) -> runs.Report:
    """Return the report on the tracks of a part that both files have.

    Args:
      name: `gtzan`, or a folder of `experiments.fit_gtzan`.
      part: `train`, `valid` or `test`, as the array file or the published split has it.
      overrides: `data.root` is an array file of spectrograms (`data.arrays`), `data.taggrams` a
        file of MusiCNN's tags over time (`data.taggrams`); or those of `open_audio`.
      workdir: folder for the report, `eval/<part>/` in it; None writes none.

    Raises:
      UserError: if a file is missing or damaged, has no track of the part, a track that the model
        was trained on, or a class that it does not know.
    """
    if is_audio(overrides):
        with contextlib.ExitStack() as stack:
            folder = workdir or stack.enter_context(tempfile.TemporaryDirectory())
            return _evaluate_audio(open_audio(name, part, overrides, folder), bool(workdir))
    for field in ("data.root", "data.taggrams"):
        if not overrides.get(field):
            raise command.UserError(f"--config.{field} is missing; --model needs it")
    for field in overrides:
        if field not in ("data.root", "data.taggrams"):
            raise command.UserError(f"--config.{field}: does not apply to --model; leave it out")
    model = gtzan.load(gtzan.FOLDER if name == "gtzan" else name)
    config = gtzan_arrays.get_config()
    config.data.root = overrides["data.root"]
    tags = taggrams.read(overrides["data.taggrams"], num_tags=gtzan.NUM_TAGS)
    print(devices.describe(), file=sys.stderr, flush=True)
    with contextlib.ExitStack() as stack:
        folder = workdir or stack.enter_context(tempfile.TemporaryDirectory())
        opened, dataset = _open(model, config, part, tags, pathlib.Path(folder))
        scored = dataset.parts[part]
        began = time.monotonic()
        spectrograms = np.stack([dataset.clips.waveform(row) for row in scored.rows])
        vectors = tag_head.summarize([tags[name] for name in scored.ids])
        log_p = fusion.log_probabilities(model.params, spectrograms, vectors)
        seconds = time.monotonic() - began
        title = f"GTZAN model on the {part} part of {config.data.root}"
        facts = {"seconds": seconds, "calibration_tracks": shipped.calibration_of(model)}
        written = runs.write_report(title, opened, dataset, part, log_p, checkpoint_step=0, **facts)
    return runs.Report(written, written.text, written.path if workdir else None)


def is_audio(overrides: Mapping[str, Any]) -> bool:
    """Return whether the data are audio: not two files of arrays."""
    root = os.fspath(overrides.get("data.root") or "")
    named = overrides.get("data.name", "arrays") not in config_lib.ARRAY_NAMES
    if named or "data.taggrams" in overrides:
        return named
    return os.path.isdir(root) or root.lower().endswith((".csv", ".tsv", ".txt"))


def open_audio(
    name: str, part: str, overrides: Mapping[str, Any], folder: str | os.PathLike
) -> scored_lib.Scored:
    """Return the model with the tracks of an audio data set; see `scored.open_gtzan`.

    Args:
      name: `gtzan`, or a folder of `experiments.fit_gtzan`.
      part: of a data set that comes with parts.
      overrides: fields of `data`; a folder has a subfolder for each class, a CSV is a manifest.
      folder: for the report.

    Raises:
      UserError: see `command.apply_overrides` and `scored.open_gtzan`.
    """
    config = runs.with_data(config_lib.Config(), overrides.get("data.root"))
    data = command.apply_overrides(config, overrides).data
    model = predictor_lib.load(name)
    learned = gtzan.load(gtzan.FOLDER if name == "gtzan" else name).trained_on
    return scored_lib.open_gtzan(model, learned, data, part, folder)


def _evaluate_audio(scored: scored_lib.Scored, keeps: bool) -> runs.Report:
    """Return the report on tracks of audio, with the remarks on them; it is kept if `keeps`."""
    print(devices.describe(), file=sys.stderr, flush=True)
    began = time.monotonic()
    scores = scored.score(scored.dataset.parts[scored.part])
    seconds = time.monotonic() - began
    title = f"GTZAN model on {scored.dataset.catalog.name}"
    facts = {"checkpoint_step": 0, "seconds": seconds}
    written = runs.write_report(title, scored.run, scored.dataset, scored.part, scores, **facts)
    text = "\n".join([written.text, "", *scored.notes])
    return runs.Report(written, text, written.path if keeps else None)


def _open(
    model: gtzan.GtzanModel,
    config: Any,
    part: str,
    tags: Mapping[str, np.ndarray],
    folder: pathlib.Path,
) -> tuple[workdir_lib.Run, dataset_lib.Dataset]:
    """Return the model as a run in `folder`, and the tracks of `part` that have tags."""
    root = config.data.root
    catalog, store = dataset_lib.open_catalog(config)
    tracks = [track for track in catalog.tracks if track.part == part]
    if not tracks:
        raise command.UserError(
            f"--config.data.root {root}: has no track of part {part!r}; set --split to a part that"
            " it has"
        )
    learned = sorted({track.id for track in tracks} & set(model.trained_on))
    if learned:
        raise command.UserError(
            f"--config.data.root {root}: the model was trained on {len(learned)} track(s) of part"
            f" {part!r} ({', '.join(learned[:3])}); score a part that it has not seen"
        )
    unknown = sorted({track.label for track in tracks} - set(model.labels))
    if unknown:
        raise command.UserError(
            f"--config.data.root {root}: class {unknown[0]!r} is unknown to the model, which knows"
            f" {', '.join(model.labels)}"
        )
    facts = gtzan_data.facts()
    published = all(t.id in facts and facts[t.id].part == part for t in tracks)
    protocol = "fault_filtered" if published else "listed"
    split = splits.Split(protocol, train=model.trained_on, valid=(), test=())
    folder.mkdir(parents=True, exist_ok=True)
    record = {"data_hash": catalog.hash(), "split_hash": split.hash()}
    opened = workdir_lib.Run(folder, config, model.labels, split, record)
    dataset = dataset_lib.open_part(config, split, part)
    ids = [name for name in dataset.parts[part].ids if name in tags]
    if not ids:
        raise command.UserError(f"--config.data.taggrams: has no track of part {part!r} of {root}")
    label_of = {track.id: track.label for track in catalog.tracks}
    kept = batches.make_part(store, ids, label_of, catalog.labels)
    return opened, dataclasses.replace(dataset, parts={part: kept})
