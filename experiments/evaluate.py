"""Scores a trained workdir: `python -m experiments.evaluate --workdir=DIR [--split=test]`.

Prints the accuracy with its n, interval and protocol, and writes the report to
`DIR/eval/<split>/`.
"""

from collections.abc import Sequence

from absl import flags

from experiments import command

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part to score.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest or a step.")
_OVERRIDES = command.define_overrides()


def main(argv: Sequence[str]) -> int:
    """Scores one part of the split; returns the exit code."""
    if argv[1:]:
        raise command.UserError(f"unexpected argument {argv[1]!r}; see --help")

    from mgr_jax import predictor as predictor_lib
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.evaluation import report

    command.keep_compiled_programs()
    predictor = predictor_lib.load(_WORKDIR.value, checkpoint_name=_CHECKPOINT.value)
    run, part = predictor.run, _SPLIT.value
    config = command.apply_overrides(run.config, _OVERRIDES)
    dataset = dataset_lib.open_part(config, run.split, part)
    unknown = sorted(set(dataset.catalog.labels) - set(run.labels))
    if unknown:
        raise command.UserError(
            f"data.root {config.data.root}: class {unknown[0]!r} is unknown to the model, which"
            f" knows {', '.join(run.labels)}; give data with its classes"
        )
    scores = predictor.judge(dataset.parts[part])
    values = report.write_report(run, dataset, part, scores, checkpoint_step=predictor.step)
    print(f"{run.config.model.name} on the {part} part of {dataset.catalog.name}")
    print(report.to_text(values))
    print(f"report    {run.path / 'eval' / part / 'report.md'}")
    return 0


if __name__ == "__main__":
    command.run(main)
