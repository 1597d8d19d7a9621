"""Test whether systems differ: `python -m experiments.compare --workdirs=W1,W2[,W3]`.

Takes workdirs that `evaluate` has evaluated on the same tracks, and refuses others. A CSV file of
predictions (`track_id,predicted`) by any other program can stand for a workdir, and so can a folder
of `cross_validate`, `DIR/<protocol>/seed<k>`: its folds are taken together. Prints each accuracy
with its n, interval and protocol, and for each pair the tests and a verdict in words.
"""

import json
import os
from collections.abc import Sequence

from absl import flags

from experiments import command

_WORKDIRS = flags.DEFINE_list("workdirs", None, "Folders of the runs, or CSV files.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part to compare on.")
_JSON = flags.DEFINE_string("json", None, "File to write the result to.")


def main(argv: Sequence[str]) -> command.Ending:
    """Compare every pair; return how it ended, which does not depend on the verdict."""
    command.refuse_arguments(argv)

    from mgr_jax import progress, runs

    workdirs = [workdir for workdir in _WORKDIRS.value if workdir]
    with progress.Progress("compare", "the systems"):
        result = runs.compare(workdirs, _SPLIT.value)
    print(result.text)
    if _JSON.value:
        text = json.dumps(result, indent=1, allow_nan=False)
        command.write_output("json", _JSON.value, text + "\n")
    folders = [path for path in workdirs if os.path.isdir(path)]  # Not CSV files.
    arguments = (*folders, "--output=comparison", *command.split_flag(_SPLIT.value))
    return command.Ending(0, ("report", *arguments), on_host=True)


if __name__ == "__main__":
    command.run(main)
