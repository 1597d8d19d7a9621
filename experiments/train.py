"""Train one system: `python -m experiments.train --config=FILE --workdir=DIR`.

Run it again after a crash, a kill or Ctrl-C: it goes on from the newest checkpoint. With
`--distributed` several processes train together: see `experiments.distributed`.
"""

import signal
from collections.abc import Sequence

from absl import flags

from experiments import command, distributed, jax_settings
from mgr_jax import config as config_lib

_CONFIG = command.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SUMMARY = flags.DEFINE_bool("summary", False, "Only print the table of layers, for ten classes.")
_PROFILE = flags.DEFINE_string(
    "profile", "", "START:STOP: write a profiler's trace of these steps, counted from 0."
)
distributed.define_flags()


def main(argv: Sequence[str]) -> command.Ending | int:
    """Read the data, split it and train; return how it ended."""
    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)
    is_network = config.model.name in config_lib.NETWORKS
    _check_flags(config.model.name, is_network)

    from mgr_jax import runs
    from mgr_jax.training import network, preemption
    from mgr_jax.training.profile import parse_steps

    if _SUMMARY.value:
        print(network.describe(config, num_classes=10))
        return command.Ending(0, command.training(config), on_host=True)
    profile = parse_steps(_PROFILE.value)
    folder = _WORKDIR.value or ""  # `_check_flags` has refused an empty one.
    jax_settings.set_up(deterministic=config.train.deterministic)
    distributed.join()
    try:
        runs.train(config, folder, profile=profile)
    except preemption.Interrupted as interrupt:
        print(interrupt)
        return command.PREEMPTED if interrupt.signal == signal.SIGTERM else command.INTERRUPTED
    return command.Ending(0, ("evaluate", f"--workdir={folder}"))


def _check_flags(name: str, is_network: bool) -> None:
    """Raise `UserError` for flags that the system `name` does not take, or that are missing."""
    if _SUMMARY.value and not is_network:
        raise command.UserError(f"model.name {name!r} is no network; it has no layers")
    if not _SUMMARY.value and not _WORKDIR.value:
        raise command.UserError("--workdir is missing; give the folder of the run")
    if flags.FLAGS.distributed and not is_network:
        raise command.UserError(
            f"--distributed: model.name {name!r} is fitted in one process; leave the flag out"
        )
    if _PROFILE.value and not is_network:
        raise command.UserError(f"--profile: model.name {name!r} takes no steps")


if __name__ == "__main__":
    command.run(main)
