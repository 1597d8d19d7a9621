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

from collections.abc import Sequence

from absl import flags

from experiments import command

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
    from mgr_jax import runs

    command.set_up_jax()
    predictor = predictor_lib.load(_WORKDIR.value, checkpoint_name=_CHECKPOINT.value)
    config = command.apply_overrides(predictor.run.config, _OVERRIDES)
    report = runs.evaluate_predictor(predictor, _SPLIT.value, config)
    print(report.text)
    print(f"report    {report.path} (and report.md)")
    return 0


if __name__ == "__main__":
    command.run(main)
