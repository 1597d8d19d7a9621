"""Write one page for many runs: `python -m experiments.report W1 W2 ... --output=DIR`.

Takes workdirs that `evaluate` has evaluated, and writes `comparison.html` (one self-contained
file), `comparison.md`, `comparison.json` and figures to DIR. Nothing is computed again.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import command

_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part to report on.")


def main(argv: Sequence[str]) -> int:
    """Write the page; return the exit code."""
    if not argv[1:]:
        raise command.UserError("no workdir given; name the folders of the runs after the flags")

    from mgr_jax.evaluation.reports import overview

    for section in overview.write_overview(argv[1:], _SPLIT.value, _OUTPUT.value):
        print(overview.to_text(section))
    print(f"report    {pathlib.Path(_OUTPUT.value) / 'comparison.html'} (and comparison.md)")
    return 0


if __name__ == "__main__":
    command.run(main)
