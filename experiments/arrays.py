"""Cross-validate the recipe and its rivals on one array file, and write their table.

    python -m experiments.arrays --root=arrays.npz --workdir=DIR [--table=FILE.md] [--systems=...]

All systems get the same artist-disjoint folds, once each, and learn from the same tracks: none adds
the validation part to the training part. The same command after a kill goes on with what is
missing.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments import command

# Variant of `configs/gtzan_arrays.py` -> its name in the table. The first one is the recipe, which
# has to beat the `_BASELINES`.
SYSTEMS = {
    "": "recipe (ensemble)",
    "chosen": "ensemble, members chosen in training",
    "logistic": "logistic regression",
    "svm": "SVM on PCA",
    "lda": "LDA, shrunk",
    "bbnn": "BBNN, width 8",
    "cnn": "CNN, width x 1/4",
    "cnn_lstm": "CNN-LSTM, width x 1/4",
    "rnn": "RNN (GRU)",
}
_BASELINES = ("logistic", "svm", "lda")

_ROOT = flags.DEFINE_string("root", None, "Array file.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_TABLE = flags.DEFINE_string("table", None, "File to write the table to.")
_SYSTEMS = flags.DEFINE_list("systems", None, "Variants to run; all by default, `recipe` first.")
_FOLDS = flags.DEFINE_integer("num_folds", 5, "Folds.", 2)


def main(argv: Sequence[str]) -> command.Ending:
    """Cross-validate one system after the other; return how it ended."""
    command.refuse_arguments(argv)
    chosen = ["" if name == "recipe" else name for name in _SYSTEMS.value or SYSTEMS]
    unknown = [name for name in chosen if name not in SYSTEMS]
    if unknown:
        known = ", ".join(name or "recipe" for name in SYSTEMS)
        raise command.UserError(f"--systems: {unknown[0]!r} is unknown; choose from {known}")
    correct, groups = {}, {}
    for name in chosen:
        folder = pathlib.Path(_WORKDIR.value) / (name or "recipe")
        _cross_validate(name, folder)
        correct[name] = _read(folder, groups)
    table = to_table(correct, groups)
    print(table)
    if _TABLE.value:
        command.write_output("table", _TABLE.value, table + "\n")
    folders = (os.path.join(_WORKDIR.value, name or "recipe") for name in chosen)
    sides = ",".join(os.path.join(folder, "artist_kfold", "seed0") for folder in folders)
    return command.Ending(0, ("compare", f"--workdirs={sides}"), on_host=True)


def to_table(correct: dict[str, dict[str, bool]], groups: dict[str, str]) -> str:
    """Format accuracies with intervals, and their differences from two rivals, as Markdown.

    The rivals are the best baseline, and logistic regression, which the presentation ranks first.
    Differences come with their interval, McNemar's exact test by track and the sign-flip test by
    artist. The latter decides, after Holm's correction over all systems that are compared with the
    same rival. The lines below the table name the methods.

    Args:
      correct: system -> track id -> whether its prediction is right.
      groups: track id -> artist.
    """
    from mgr_jax.evaluation import results, stats
    from mgr_jax.evaluation.reports import wording

    ids = sorted(set.intersection(*map(set, correct.values())))
    right = {name: np.array([hits[i] for i in ids], bool) for name, hits in correct.items()}
    artists = [groups[i] for i in ids]
    baselines = [name for name in _BASELINES if name in right]
    best = max(baselines, key=lambda name: right[name].sum(), default=None)

    def versus(rival: str | None) -> dict[str, str]:
        """Return system -> its difference from `rival`."""
        if rival not in right:
            return {}
        others = [name for name in right if name != rival]
        p_values = [stats.sign_flip_test(right[n], right[rival], artists) for n in others]
        cells = {}
        for name, p, adjusted in zip(others, p_values, stats.holm(p_values), strict=True):
            points = 100 * (right[name].mean() - right[rival].mean())
            by_track = stats.mcnemar(right[name], right[rival]).exact
            ends = stats.paired_interval(right[rival], right[name], artists)
            interval = " [{:+.1f}, {:+.1f}]".format(*(100 * np.array(ends))) if ends else ""
            verdict = "better" if points > 0 else "worse"
            cells[name] = (
                f"{points:+.1f} points{interval}, McNemar p = {by_track:.2g}, by artist {p:.2g},"
                f" after Holm {adjusted:.2g}:"
                f" {verdict if adjusted < 0.05 else 'not distinguishable'}"
            )
        return cells

    against_best, against_logistic = versus(best), versus("logistic")
    lines = [
        "| system | accuracy, 95 % interval | standard error by track | against the best baseline |"
        " against logistic regression |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in sorted(right, key=lambda name: -right[name].mean()):
        share = right[name].mean()
        cells = [
            SYSTEMS[name],
            stats.describe(results.count(right[name], artists), "artist_kfold"),
            f"{100 * np.sqrt(share * (1 - share) / len(ids)):.1f}",
            against_best.get(name, "the best baseline" if name == best else ""),
            against_logistic.get(name, ""),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    counted = results.count(np.ones(len(ids), bool), artists)
    lines += [
        "",
        f"{wording.accuracy_methods(counted)} Those of differences are the sign-flip test by"
        " artist inverted and widened, before Holm's correction. McNemar's test is exact and by"
        f" track; the test by artist decides, after Holm's correction over {len(right) - 1}"
        " systems.",
    ]
    return "\n".join(lines)


def _cross_validate(name: str, folder: pathlib.Path) -> None:
    file = pathlib.Path(__file__).parent / "configs" / "gtzan_arrays.py"
    config = f"{file}:{name}" if name else str(file)
    command.run_other(
        "cross_validate",
        f"--config={config}",
        f"--config.data.root={_ROOT.value}",
        f"--config.data.num_folds={_FOLDS.value}",
        "--config.train.refit=False",
        "--protocols=artist_kfold",
        "--seeds=1",
        f"--workdir={folder}",
    )


def _read(folder: pathlib.Path, groups: dict[str, str]) -> dict[str, bool]:
    """Return track id -> whether its fold's model is right; add the artists to `groups`."""
    from mgr_jax.evaluation import pooled

    evaluation = pooled.read_folds(str(folder / "artist_kfold" / "seed0"), "test")
    groups |= dict(zip(evaluation.ids, evaluation.groups, strict=True))
    return dict(zip(evaluation.ids, evaluation.correct.tolist(), strict=True))


if __name__ == "__main__":
    command.run(main)
