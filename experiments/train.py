"""Trains one system: `python -m experiments.train --config=FILE --workdir=DIR`.

Run it again after a crash, a kill or Ctrl-C: it goes on from the newest checkpoint.
"""

import signal
from collections.abc import Sequence

from absl import flags

from experiments import command

_CONFIG = command.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)


def main(argv: Sequence[str]) -> int:
    """Decodes, splits, trains; returns the exit code."""
    if argv[1:]:
        raise command.UserError(f"unexpected argument {argv[1]!r}; see --help")
    config = command.read_config(_CONFIG)

    from mgr_jax import workdir
    from mgr_jax.classical import fitting
    from mgr_jax.config import NETWORKS
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.training import loop

    command.keep_compiled_programs()
    dataset = dataset_lib.open_dataset(config)
    print(dataset_lib.describe(dataset), flush=True)
    run = workdir.create(_WORKDIR.value, config, dataset)
    try:
        train = loop.train if config.model.name in NETWORKS else fitting.train
        train(config, dataset, run)
    except loop.Interrupted as stopped:
        print(stopped)
        if stopped.signal == signal.SIGTERM:
            return command.PREEMPTED
        return command.INTERRUPTED
    print(f"done      python -m experiments.evaluate --workdir={_WORKDIR.value}")
    return 0


if __name__ == "__main__":
    command.run(main)
