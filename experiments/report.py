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


def main(argv: Sequence[str]) -> command.Ending:
    """Write the page; return how it ended."""
    if not argv[1:]:
        raise command.UserError("no workdir given; name the folders of the runs after the flags")

    from mgr_jax import progress
    from mgr_jax.evaluation.reports import overview

    with progress.Progress("write", "the page"):
        sections = overview.write_overview(argv[1:], _SPLIT.value, _OUTPUT.value)
    for section in sections:
        print(overview.to_text(section))
    print(f"report    {pathlib.Path(_OUTPUT.value) / 'comparison.html'} (and comparison.md)")
    if len(argv) > 2:
        return command.Ending(0, ("compare", f"--workdirs={','.join(argv[1:])}"), on_host=True)
    return command.Ending(0, command.page_or_prediction(f"--workdir={argv[1]}"), on_host=True)


if __name__ == "__main__":
    command.run(main)
