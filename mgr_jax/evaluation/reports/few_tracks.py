"""The advice on a small test part: cross-validation, which tests every track once."""

import collections
import dataclasses
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

from mgr_jax.data import splits
from mgr_jax.data.catalog import Catalog
from mgr_jax.plural import plural
from mgr_jax.workdir import Run

# Below this many tracks, a 95 % interval of an accuracy spans 35 points or more.
FEW = 30


def command(run: Run, catalog: Catalog) -> str:
    """Return the command that cross-validates the system of a workdir on its data.

    Empty if the data have too few tracks for folds, the model was imported, or the workdir is one
    fold of a cross-validation.
    """
    if re.fullmatch(r".*seed\d+.fold\d+", str(run.path)):
        return ""
    counts = collections.Counter(track.label for track in catalog.tracks)
    config, fewest = run.config, min(counts.values())
    if run.split.protocol == splits.IMPORTED or fewest < 2:
        return ""
    path, num_folds = pathlib.Path(run.path), config.data.num_folds
    path = path.resolve() if path.name in ("", "..") else path
    folder = path.with_name(f"{path.name}-folds")
    words = [f"--config=workdir:{path}", f"--workdir={folder}"]
    drawn = tuple(dataclasses.replace(track, part="") for track in catalog.tracks)
    drawn_catalog = dataclasses.replace(catalog, name="folder", tracks=drawn)
    # The leakage gap needs enough artists in every class.
    if splits.choose_protocol("auto", drawn_catalog, num_folds=num_folds) != "artist_kfold":
        words.append("--protocols=kfold")
    if fewest < num_folds:
        words.append(f"--config.data.num_folds={fewest}")
    words += [
        f"--config.data.{name}=0" for name in ("fold", "repeat") if getattr(config.data, name)
    ]
    return f"python -m experiments.cross_validate {shlex.join(words)}"


def before_training(split: splits.Split) -> str:
    """Return the advice before the training: `evaluate` then has the command."""
    count = plural(len(split.test), "test track")
    return f"{count} cannot tell much; cross_validate tests every track once (evaluate names it)"


def describe(report: Mapping[str, Any]) -> str:
    """Return the sentence before the command of a report; empty if there is none."""
    if not report.get("cross_validation"):
        return ""
    count = plural(report["n"], "test track")
    return f"{count} cannot tell much; cross-validation tests every track once"
