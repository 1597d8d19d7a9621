"""Cross-validate the recipe and its rivals on one array file, and write their table.

    python -m experiments.arrays --root=arrays.npz --workdir=DIR [--table=FILE.md] [--systems=...]

All systems get the same artist-disjoint folds, once each, and learn from the same tracks: none adds
the validation part to the training part. The table is written anew as soon as a row is there, and
the same command after a kill goes on with what is missing.

`--systems=networks` takes the tuned networks, the most promising first, and those with one change
each. With two of them the table has two more rows, the network with the lowest validation loss of
each fold and the mean of all, and with the recipe a third, the recipe with this mean as a member
(`experiments.members`).
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from experiments import command, members


class System(NamedTuple):
    """A row: its name in the table, variant of `configs/gtzan_arrays.py`, and changed fields."""

    name: str
    variant: str
    changes: tuple[str, ...] = ()


# The first one is the recipe, which has to beat the `_BASELINES`.
SYSTEMS = {
    "": System("recipe (ensemble)", ""),
    "chosen": System("ensemble, members chosen in training", "chosen"),
    "logistic": System("logistic regression", "logistic"),
    "svm": System("SVM on PCA", "svm"),
    "lda": System("LDA, shrunk", "lda"),
    "bbnn": System("BBNN, width 8", "bbnn"),
    "cnn": System("CNN, width x 1/4", "cnn"),
    "cnn_lstm": System("CNN-LSTM, width x 1/4", "cnn_lstm"),
    "rnn": System("RNN (GRU)", "rnn"),
}
_BASELINES = ("logistic", "svm", "lda")
# The most promising first.
NETWORKS = {
    "rnn_tuned": System("GRU, tuned", "rnn_tuned"),
    "bbnn_tuned": System("BBNN, tuned", "bbnn_tuned"),
    "rnn_last": System("GRU, tuned, its last state", "rnn_tuned", ("model.pooling=default",)),
    "rnn_unmasked": System(
        "GRU, tuned, no masks", "rnn_tuned", ("train.mask_frames=0", "train.mask_bins=0")
    ),
    "rnn_unmixed": System("GRU, tuned, no mixup", "rnn_tuned", ("train.mixup_alpha=0",)),
    "bbnn_mean": System(
        "BBNN, tuned, mean over time and frequency", "bbnn_tuned", ("model.pooling=default",)
    ),
    "cnn_tuned": System("CNN, tuned", "cnn_tuned"),
    "cnn_lstm_tuned": System("CNN-LSTM, tuned", "cnn_lstm_tuned"),
}
NAMES = {name: system.name for name, system in (SYSTEMS | NETWORKS).items()} | {
    "network": "tuned network with the lowest validation loss of the fold",
    "networks": "mean of the tuned networks",
    "member": "recipe with the mean of the tuned networks as a member",
}

_ROOT = flags.DEFINE_string("root", None, "Array file.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
_TABLE = flags.DEFINE_string("table", None, "File to write the table to.")
_SYSTEMS = flags.DEFINE_list(
    "systems", None, "Variants to run, `networks` for all tuned ones; the untuned by default."
)
_FOLDS = flags.DEFINE_integer("num_folds", 5, "Folds.", 2)


def main(argv: Sequence[str]) -> command.Ending:
    """Cross-validate one system after the other; return how it ended."""
    command.refuse_arguments(argv)
    chosen, systems = expand(_SYSTEMS.value or []), SYSTEMS | NETWORKS
    unknown = [name for name in chosen if name not in systems]
    if unknown:
        known = ", ".join(["recipe", *list(systems)[1:], "networks"])
        raise command.UserError(f"--systems: {unknown[0]!r} is unknown; choose from {known}")
    correct, groups, table = {}, {}, ""
    folders = {name: pathlib.Path(_WORKDIR.value) / (name or "recipe") for name in chosen}
    for name, folder in folders.items():
        _cross_validate(systems[name], folder)
        correct[name] = _read(folder, groups)
        combined, choices = _combine({n: folders[n] for n in correct})
        table = to_table(correct | combined, groups)
        if choices:
            table += f"\n\nChosen by the validation part: {'; '.join(choices)}."
        print(next(line for line in table.splitlines() if f"| {NAMES[name]} |" in line))
        if _TABLE.value:
            command.write_output("table", _TABLE.value, table + "\n")
    print(table)
    sides = [str(_folds(folder)) for folder in folders.values()]
    if len(sides) == 1:
        return command.Ending(
            0, ("report", *sides, f"--output={_WORKDIR.value}/page"), on_host=True
        )
    return command.Ending(0, ("compare", f"--workdirs={','.join(sides)}"), on_host=True)


def expand(requested: Sequence[str]) -> list[str]:
    """Return the systems that these names of the flag mean; those of the first table for none."""
    meaning = {"networks": [*NETWORKS], "recipe": [""]}
    chosen = [name for part in requested for name in meaning.get(part, [part])]
    return chosen or [*SYSTEMS]


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
            verdict = "better" if right[name].mean() > right[rival].mean() else "worse"
            cells[name] = (
                f"{_difference(right[name], right[rival], artists)}, by artist {p:.2g},"
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
            NAMES[name],
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
    if {"", "member"} <= right.keys():
        p = stats.sign_flip_test(right["member"], right[""], artists)
        difference = _difference(right["member"], right[""], artists)
        lines += ["", f"The networks as a member of the recipe: {difference}, by artist {p:.2g}."]
    return "\n".join(lines)


def _difference(right: np.ndarray, rival: np.ndarray, artists: Sequence[str]) -> str:
    """Return the difference of two accuracies in points, its interval, and McNemar's test."""
    from mgr_jax.evaluation import stats

    ends = stats.paired_interval(rival, right, artists)
    interval = " [{:+.1f}, {:+.1f}]".format(*(100 * np.array(ends))) if ends else ""
    points = 100 * (right.mean() - rival.mean())
    return f"{points:+.1f} points{interval}, McNemar p = {stats.mcnemar(right, rival).exact:.2g}"


def _combine(
    folders: Mapping[str, pathlib.Path],
) -> tuple[dict[str, dict[str, bool]], list[str]]:
    """Return `members.combine` of the networks in these folders; nothing for fewer than two."""
    names = [name for name in folders if name in NETWORKS]
    if len(names) < 2:
        return {}, []
    folds = {
        name: [members.read_fold(_folds(folders[name]) / f"fold{i}") for i in range(_FOLDS.value)]
        for name in (*names, *[name for name in folders if not name])
    }
    return members.combine({name: folds[name] for name in names}, folds.get(""))


def _folds(folder: pathlib.Path) -> pathlib.Path:
    return folder / "artist_kfold" / "seed0"


def _cross_validate(system: System, folder: pathlib.Path) -> None:
    file = pathlib.Path(__file__).parent / "configs" / "gtzan_arrays.py"
    config = f"{file}:{system.variant}" if system.variant else str(file)
    command.run_other(
        "cross_validate",
        f"--config={config}",
        f"--config.data.root={_ROOT.value}",
        f"--config.data.num_folds={_FOLDS.value}",
        *(f"--config.{change}" for change in system.changes),
        "--config.train.refit=False",
        "--protocols=artist_kfold",
        "--seeds=1",
        f"--workdir={folder}",
    )


def _read(folder: pathlib.Path, groups: dict[str, str]) -> dict[str, bool]:
    """Return track id -> whether its fold's model is right; add the artists to `groups`."""
    from mgr_jax.evaluation import pooled

    evaluation = pooled.read_folds(str(_folds(folder)), "test")
    groups |= dict(zip(evaluation.ids, evaluation.groups, strict=True))
    return dict(zip(evaluation.ids, evaluation.correct.tolist(), strict=True))


if __name__ == "__main__":
    command.run(main)
