"""Where a system fails: the accuracy of groups of tracks, each tested against the rest."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from mgr_jax.evaluation import intervals, stats
from mgr_jax.evaluation.compare import format_p
from mgr_jax.evaluation.results import count

_ALPHA = 0.05
_DRAWS = 2**14


def permutation_test(
    correct: np.ndarray, member: np.ndarray, units: intervals.Groups, *, seed: int = 0
) -> float | None:
    """Return the two-sided p value of the difference in accuracy of a group and the rest.

    Under the null hypothesis, whatever is alike in the tracks of a unit, it does not depend on the
    group. So the tracks of a unit on one side are kept together, and the sides of these pieces are
    exchanged: in all ways, or in 2^14 random ones where there are more. With units of one track it
    is Fisher's permutation test of two proportions, computed from the hypergeometric distribution.

    Args:
      correct: whether each track is recognised, bool [N].
      member: whether it is in the group, bool [N].
      units: name of the unit of each track [N], such as its artist.
      seed: of random exchanges.

    Returns:
      The p value; None if one side is empty.
    """
    correct, member = np.asarray(correct, bool), np.asarray(member, bool)
    if member.all() or not member.any():
        return None
    pieces = [f"{side} {unit}" for side, unit in zip(member, units, strict=True)]
    columns = np.stack([correct, np.ones_like(correct), member], axis=1).astype(float)
    hits, sizes, inside = intervals.group_sums(columns, pieces).T
    inside = inside > 0
    total, chosen = len(sizes), int(inside.sum())
    observed = correct[member].mean() - correct[~member].mean()
    if (sizes == 1).all():
        own = np.arange(chosen + 1)
        weight = scipy_stats.hypergeom.pmf(own, total, int(hits.sum()), chosen)
        differences = own / chosen - (hits.sum() - own) / (total - chosen)
        return min(1.0, float(weight[_as_large(differences, observed)].sum()))
    if math.comb(total, chosen) <= _DRAWS:
        sides = np.array([*itertools.combinations(range(total), chosen)])
        return float(_as_large(_differences(sides, hits, sizes), observed).mean())
    rng, larger = np.random.default_rng(seed), 1
    for _ in range(16):
        sides = rng.random((_DRAWS // 16, total)).argsort(axis=1)[:, :chosen]
        larger += int(_as_large(_differences(sides, hits, sizes), observed).sum())
    return larger / (_DRAWS + 1)


def _differences(sides: np.ndarray, hits: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the differences in accuracy with the pieces `sides` [R, k] as the group, [R]."""
    own, count = hits[sides].sum(axis=1), sizes[sides].sum(axis=1)
    return own / count - (hits.sum() - own) / (sizes.sum() - count)


def _as_large(differences: np.ndarray, observed: float) -> np.ndarray:
    return np.abs(differences) >= abs(observed) - 1e-9


def compare(
    correct: np.ndarray,
    columns: Mapping[str, Sequence[str]],
    *,
    groups: intervals.Groups,
    grouped_by: str = "artist",
    within: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the tracks of each value of each column with the rest, as JSON values.

    Args:
      correct: whether each track is recognised, bool [N].
      columns: name -> value of each track [N].
      groups: name of the group of each track [N], which shares an artist or a recording.
      grouped_by: what a group is, `artist` or `recording`.
      within: columns that tell the groups themselves apart, whose intervals and tests are by track:
        whether an artist fails is a question about its tracks.
      seed: of random permutations.

    Returns:
      `overall` of `results.count`; `rows`, worst first: `column`, `value`, the fields of
      `results.count`, `difference` to the rest, `p` of `permutation_test`, and `p_holm` after
      Holm's correction over all rows with a test; `constant`, column -> value where all have one.
    """
    correct, rows, constant = np.asarray(correct, bool), [], {}
    for column, values in columns.items():
        own = np.asarray(values)
        names = sorted(set(values))
        if len(names) < 2:
            constant[column] = names[0]
            continue
        by_track = column in within
        units = [str(i) for i in range(len(own))] if by_track else groups
        for name in names:
            member = own == name
            inside = [g for g, m in zip(groups, member, strict=True) if m]
            own_groups = None if by_track else inside
            rows.append(
                {
                    "column": column,
                    "value": name,
                    **count(correct[member], own_groups, grouped_by=grouped_by),
                    "difference": float(correct[member].mean() - correct[~member].mean()),
                    "p": permutation_test(correct, member, units, seed=seed),
                    "units": "track" if by_track else grouped_by,
                }
            )
    for row, p in zip(rows, stats.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"], row["distinguishable"] = p, p < _ALPHA
    return {
        "overall": count(correct, groups, grouped_by=grouped_by),
        "correction": "holm",
        "seed": seed,
        "rows": sorted(rows, key=lambda row: (row["accuracy"], -row["n"])),
        "constant": constant,
    }


def verdict(report: Mapping[str, Any]) -> str:
    """Return the sentences on where the system fails."""
    rows = report["rows"]
    if not rows:
        return "There is nothing to compare: every column has the same value for all tracks."
    tests = f"permutation test, Holm over {len(rows)} groups"
    shown = [row for row in rows if row["distinguishable"]]
    if not shown:
        least = min(row["p_holm"] for row in rows)
        return (
            f"No group is distinguishable from the rest ({tests}, least p = {format_p(least)}),"
            " which does not show that none fails: see the intervals."
        )
    parts = [
        f"{row['column']} {row['value']} {100 * row['accuracy']:.1f} % (n = {row['n']},"
        f" {100 * row['difference']:+.1f} points against the rest, p = {format_p(row['p_holm'])})"
        for row in shown
    ]
    return f"Distinguishable from the rest, worst first: {'; '.join(parts)} ({tests})."
