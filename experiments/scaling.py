"""Run `compile_for` for each network on topologies from 1 to 256 chips, and write one table.

    python -m experiments.scaling --folder=DIR [--systems=rnn,cnn] [--topologies=v5e:2x4]

Needs no TPU and no GPU (`pip install -e '.[tpu]'` and `'.[cuda]'`). Each cell is one run of
`compile_for`, of seconds to many minutes, kept in DIR as `SYSTEM-TOPOLOGY.json`: the same command
again fills the missing cells, and writes `table.md` and `table.json` of all cells in DIR.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import command, topologies

_FOLDER = flags.DEFINE_string("folder", None, "Folder of the cells and the table.", required=True)
_SYSTEMS = flags.DEFINE_list(
    "systems", list(topologies.SYSTEMS), f"Of {', '.join(topologies.SYSTEMS)}."
)
_TOPOLOGIES = flags.DEFINE_list(
    "topologies", list(topologies.TOPOLOGIES), "As compile_for takes them."
)
_CLIPS = flags.DEFINE_integer("clips_per_device", 8, "Rows on each device.", lower_bound=1)


def main(argv: Sequence[str]) -> command.Ending:
    """Fill the missing cells; the exit code is 1 if one could not be compiled."""
    command.refuse_arguments(argv)
    unknown = [name for name in _SYSTEMS.value if name not in topologies.SYSTEMS]
    if unknown:
        raise command.UserError(
            f"--systems {unknown[0]}: choose from {', '.join(topologies.SYSTEMS)}"
        )
    folder = pathlib.Path(_FOLDER.value)
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for topology in _TOPOLOGIES.value:
        for system in _SYSTEMS.value:
            failed |= not topologies.fill(folder, system, topology, clips_per_device=_CLIPS.value)
            topologies.write_table(folder)
    print(f"table     {folder / 'table.md'}")
    arguments = (*topologies.SYSTEMS[_SYSTEMS.value[0]], f"--topology={_TOPOLOGIES.value[0]}")
    return command.Ending(int(failed), ("compile_for", *arguments), on_host=True)


if __name__ == "__main__":
    command.run(main)
