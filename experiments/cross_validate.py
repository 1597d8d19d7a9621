"""Train and test every fold: `python -m experiments.cross_validate --config=FILE --workdir=DIR`.

    [--protocols=kfold,artist_kfold] [--seeds=5] [--json=FILE] [--config.data.num_folds=5]
    [--config.train.folds_at_once=5]

Seed k of `--seeds` draws other folds (`data.repeat` + k) and trains with another seed
(`train.seed` + k). DIR/<protocol>/seed<k>/fold<i>/ are ordinary workdirs. The same command after a
kill goes on with what is missing. The report is DIR/report.html, .md and .json.
`train.folds_at_once` folds of a network are trained as one program.
"""

import pathlib
import shutil
import signal
from collections.abc import Sequence

from absl import flags

from experiments import command, jax_settings
from mgr_jax.data.folds import PROTOCOLS

_CONFIG = command.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_PROTOCOL = flags.DEFINE_list("protocols", list(PROTOCOLS), "Protocols with folds.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of times that folds are drawn and trained.", 1)
_JSON = flags.DEFINE_string("json", None, "Another file to write report.json to.")


def main(argv: Sequence[str]) -> command.Ending | int:
    """Train, test and pool the folds; return how it ended."""
    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)

    from mgr_jax import fold_runs
    from mgr_jax.training import preemption

    fold_runs.check_protocols(_PROTOCOL.value)
    if _JSON.value:
        command.output_file("json", _JSON.value)  # Not only after hours of training.
    jax_settings.set_up(deterministic=config.train.deterministic)
    try:
        report = fold_runs.cross_validate(
            config, _WORKDIR.value, protocols=_PROTOCOL.value, seeds=_SEEDS.value
        )
    except preemption.Interrupted as interrupt:
        print(interrupt)
        return command.PREEMPTED if interrupt.signal == signal.SIGTERM else command.INTERRUPTED
    folder = pathlib.Path(_WORKDIR.value)
    if _JSON.value:
        shutil.copyfile(folder / "report.json", _JSON.value)
    print("\n" + command.spell(report.text))
    print(f"report    {report.path} (and report.md)")
    return command.Ending(0, command.training(config))


if __name__ == "__main__":
    command.run(main)
