"""Write one page for many runs: `python -m experiments.report W1 W2 ... --output=DIR`.

    [--format=html,latex,csv,svg,pdf]

Takes workdirs that `evaluate` has evaluated, and folders of `cross_validate`. `html` writes
`comparison.html` (one self-contained file), `comparison.md`, `comparison.json` and figures to DIR;
the other formats are for a paper: `latex` writes tables, `methods.tex` and `references.bib`, `csv`
all results as `results.csv`, `svg` and `pdf` figures of the width of a column. Nothing is trained
or evaluated again.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import command

_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
_FORMAT = flags.DEFINE_list("format", ["html"], "Some of html, latex, csv, svg, pdf.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Part to report on.")


def main(argv: Sequence[str]) -> command.Ending:
    """Write the page, or the files for a paper; return how it ended."""
    if not argv[1:]:
        raise command.UserError("no workdir given; name the folders of the runs after the flags")

    from mgr_jax import progress
    from mgr_jax.evaluation.reports import overview, paper

    if not _FORMAT.value:
        raise command.UserError("--format is empty; use some of html, latex, csv, svg, pdf")
    for name in _FORMAT.value:
        if name not in ("html", *paper.FORMATS):
            known = ", ".join(("html", *paper.FORMATS))
            raise command.UserError(f"--format {name} is unknown; use some of {known}")
    formats = [name for name in paper.FORMATS if name in _FORMAT.value]
    folder = pathlib.Path(_OUTPUT.value)
    if "html" in _FORMAT.value:
        with progress.Progress("write", "the page"):
            sections = overview.write_overview(argv[1:], _SPLIT.value, _OUTPUT.value)
        for section in sections:
            print(overview.to_text(section))
        print(f"report    {folder / 'comparison.html'} (and comparison.md)")
    if formats:
        with progress.Progress("write", "tables and figures"):
            written = paper.write_paper(argv[1:], _SPLIT.value, _OUTPUT.value, formats)
        for name, files in written.items():
            print(f"{name:9} {folder}: {', '.join(files)}")
    return command.Ending(0, _next(argv[1:], formats), on_host=True)


def _next(paths: Sequence[str], formats: Sequence[str]) -> tuple[str, ...]:
    """Return the command that compares the systems, lets the first be heard, or writes the rest."""
    from mgr_jax import config as config_lib
    from mgr_jax import workdir
    from mgr_jax.evaluation import pooled
    from mgr_jax.evaluation.reports import published

    split = command.split_flag(_SPLIT.value)
    sections = published.sections(published.read(paths, _SPLIT.value))
    if len(sections) == 1 < len(paths) and all(map(pooled.is_one, paths)):
        return ("compare", f"--workdirs={','.join(paths)}", *split)
    is_run = pathlib.Path(paths[0], "config.json").exists()
    if is_run and workdir.load(paths[0]).config.data.name not in config_lib.ARRAY_NAMES:
        return command.page_or_prediction(f"--workdir={paths[0]}")
    if "latex" in formats:
        return ("compare", "--help")
    output = f"--output={_OUTPUT.value}"
    return ("report", *paths, output, *split, "--format=latex,csv,pdf")


if __name__ == "__main__":
    command.run(main)
