"""What a system depends on, and where it fails: `evaluate --deform` and `evaluate --subset`."""

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments import command

if TYPE_CHECKING:
    from mgr_jax import config as config_lib
    from mgr_jax import predictor as predictor_lib
    from mgr_jax import runs
    from mgr_jax import scored as scored_lib


def run(
    predictor: "predictor_lib.Predictor",
    part: str,
    config: "config_lib.Config",
    *,
    deform: str | None,
    subset: str | None,
    seed: int,
) -> None:
    """Probe a trained system on a part of its split, and write the pages into its workdir.

    Args:
      predictor: the loaded system. part: `train`, `valid` or `test`. config: its data.
      deform: value of the flag, see `robustness.parse`. subset: see `subsets.parse`.
      seed: of the random draws.

    Raises:
      UserError: if a flag is wrong, or the data hold no audio.
    """
    from mgr_jax import scored as scored_lib

    scored = scored_lib.open_run(predictor, part, config)
    _probe(scored, predictor.run.path, deform=deform, subset=subset, seed=seed)


def run_gtzan(
    name: str,
    part: str,
    overrides: Mapping[str, Any],
    workdir: str | None,
    *,
    deform: str | None,
    subset: str | None,
    seed: int,
) -> None:
    """Probe the GTZAN model on audio; pages are written if there is a workdir.

    Args:
      name: `gtzan`, or a folder of `experiments.fit_gtzan`.
      part, overrides: see `gtzan_model.open_audio`.
      workdir: folder for the pages, or None.
      deform, subset, seed: see `run`.

    Raises:
      UserError: if a flag is wrong, or the data hold no audio.
    """
    from experiments import gtzan_model

    if not gtzan_model.is_audio(overrides):
        raise command.UserError(
            "--deform and --subset need audio: give --config.data.root=FOLDER with a subfolder for"
            " each class, or a manifest"
        )
    with contextlib.ExitStack() as stack:
        folder = workdir or stack.enter_context(tempfile.TemporaryDirectory())
        scored = gtzan_model.open_audio(name, part, overrides, folder)
        kept = pathlib.Path(workdir) if workdir else None
        _probe(scored, kept, deform=deform, subset=subset, seed=seed)


def _probe(
    scored: "scored_lib.Scored",
    workdir: pathlib.Path | None,
    *,
    deform: str | None,
    subset: str | None,
    seed: int,
) -> None:
    from mgr_jax import devices, robustness, subsets

    rate = scored.run.config.features.sample_rate
    strengths = None if deform is None else robustness.parse(deform, sample_rate=rate)
    columns = None if subset is None else subsets.parse(subset, scored)
    print(devices.describe(), file=sys.stderr, flush=True)
    folder = workdir and workdir / "eval" / scored.part
    if strengths is not None:
        own = folder and folder / "deform"
        _show(robustness.evaluate(scored, strengths, seed=seed, folder=own))
    if columns is not None:
        own = folder and folder / "subsets"
        _show(subsets.evaluate(scored, columns, seed=seed, folder=own))


def _show(report: "runs.Report") -> None:
    print(f"\n{report.text}")
    if report.path is not None:
        print(f"report    {report.path} (and report.md, report.json)")
