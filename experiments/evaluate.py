"""Evaluate a trained workdir: `python -m experiments.evaluate --workdir=DIR [--split=test]`.

    python -m experiments.evaluate --model=gtzan --config.data.root=ARRAYS.npz \\
        --config.data.taggrams=TAGS.npz [--split=test] [--workdir=DIR]

scores the GTZAN model of the package, without audio, on the tracks that both files have
(`data.arrays`, `data.taggrams`), and refuses those that it was trained on; with
`--config.data.root=FOLDER` (or `--config.data.name`) on audio of any source. A report is written
if there is a workdir.

`--deform=all`, or `--deform=gain,lowpass:4000:2000`, measures what deformations of the music
change, and `--subset=artist,length,level,format,COLUMN` where the system fails, in place of the
report: pages in `DIR/eval/<split>/deform/` and `subsets/`.

Prints the accuracy with its n, interval and protocol, and writes the report to
`DIR/eval/<split>/`. The temperature that calibrates the confidences of a network comes from the
validation part (1 if no other is better on held-back tracks) and is kept in
`DIR/eval/temperature.json`; a classical system has one from its training.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command, jax_settings, probes
from mgr_jax import config as config_lib

if TYPE_CHECKING:
    from mgr_jax import runs

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_MODEL = flags.DEFINE_string("model", None, "gtzan, or a folder of experiments.fit_gtzan.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part to evaluate on.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_DEFORM = flags.DEFINE_string(
    "deform", None, "all, or deformations with commas, such as gain,lowpass:4000: what they change."
)
_SUBSET = flags.DEFINE_string(
    "subset",
    None,
    "artist, length, level, format, columns of the manifest or tags: where it fails.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the deformations and of the permutations.", 0)
_OVERRIDES = command.define_overrides()


def main(argv: Sequence[str]) -> command.Ending:
    """Evaluate one part of the split; return how it ended."""
    command.refuse_arguments(argv)
    overrides = command.override_values(_OVERRIDES)
    if _MODEL.value is not None:
        from experiments import gtzan_model

        if flags.FLAGS["checkpoint"].present:
            raise command.UserError("--checkpoint: --model has one model only; leave the flag out")
        jax_settings.set_up()
        if _probes():
            probes.run_gtzan(_MODEL.value, _SPLIT.value, overrides, _WORKDIR.value, **_probes())
            return command.Ending(0, command.page_or_prediction(f"--model={_MODEL.value}"))
        report = gtzan_model.evaluate(_MODEL.value, _SPLIT.value, overrides, _WORKDIR.value)
        _show(report)
        return command.Ending(0, command.page_or_prediction(f"--model={_MODEL.value}"))
    if _WORKDIR.value is None:
        raise command.UserError("--workdir is missing; give the folder of a run, or --model=gtzan")

    from mgr_jax import predictor as predictor_lib
    from mgr_jax import progress, runs

    jax_settings.set_up()
    with progress.Progress("load", "the model"):
        predictor = predictor_lib.load(_WORKDIR.value, checkpoint_name=_CHECKPOINT.value)
    config = command.apply_overrides(predictor.run.config, overrides)
    if _probes():
        probes.run(predictor, _SPLIT.value, config, **_probes())
        return command.Ending(0, ("predict", f"--workdir={_WORKDIR.value}", "SONG.mp3"))
    _show(runs.evaluate_predictor(predictor, _SPLIT.value, config))
    model = f"--workdir={_WORKDIR.value}"
    if config.data.name in config_lib.ARRAY_NAMES:  # It may hear no audio.
        split = command.split_flag(_SPLIT.value)
        page = f"--output={_WORKDIR.value}/page"
        return command.Ending(0, ("report", _WORKDIR.value, page, *split))
    return command.Ending(0, command.page_or_prediction(model))


def _probes() -> dict[str, Any]:
    """Return the arguments of `probes.run` if `--deform` or `--subset` is given, else none."""
    given = {"deform": _DEFORM.value, "subset": _SUBSET.value}
    return given | {"seed": _SEED.value} if any(v is not None for v in given.values()) else {}


def _show(report: "runs.Report") -> None:
    print(command.spell(report.text))
    if report.path is not None:
        print(f"report    {report.path} (and report.md)")


if __name__ == "__main__":
    command.run(main)
