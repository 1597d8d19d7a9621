"""How often the intervals of `mgr_jax.evaluation` cover the truth, by simulation.

Each artist has a share of right answers of its own, from a beta distribution; the intraclass
correlation (ICC) of its tracks is 0 if all artists have the same. The seed is fixed.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from mgr_jax.evaluation import intervals, results, stats

QUICK = {"num_draws": 20}
_SHARES = (0.5, 0.67, 0.9)
_GROUPS = (2, 3, 4, 5, 6, 8, 10, 20, 50, 100, 200)
_NUM_CLASSES = 10

Interval = tuple[float, float] | None


class Case(NamedTuple):
    """A table of coverages.

    Attributes:
      title: what is covered.
      unit: of the numbers.
      numbers: one for each line.
      columns: name -> settings of the draws of a cell, a coverage each.
      draw: generator, number, settings -> an interval and the truth.
      share: share of the draws of the suite that are made, since some take longer.
    """

    title: str
    unit: str
    numbers: tuple[int, ...]
    columns: dict[str, list[dict]]
    draw: Callable[..., tuple[Interval, float]]
    share: float = 1.0


def run(*, num_draws: int = 1000) -> list[dict]:
    """Return a row for each cell of the tables."""
    return [row for case in _CASES for row in _measure(case, num_draws)]


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown tables."""
    lines: list[str] = []
    for title in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == title]
        columns = list(dict.fromkeys(row["column"] for row in own))
        lines += ["", f"{title}:", "", f"| {' | '.join([own[0]['unit'], *columns])} |"]
        lines.append(f"|{' --- |' * (len(columns) + 1)}")
        for number in dict.fromkeys(row["number"] for row in own):
            cells = [_cell(row) for row in own if row["number"] == number]
            lines.append(f"| {number} | {' | '.join(cells)} |")
    return lines


def _measure(case: Case, num_draws: int) -> Iterable[dict]:
    count = max(10, int(case.share * num_draws))
    for number in case.numbers:
        for column, cells in case.columns.items():
            rng, coverage, refused = np.random.default_rng(0), [], 0.0
            for settings in cells:
                drawn = [case.draw(rng, number, **settings) for _ in range(count)]
                covered = [ends[0] <= truth <= ends[1] for ends, truth in drawn if ends]
                coverage.append(float(np.mean(covered)) if covered else None)
                refused = max(refused, 1 - len(covered) / count)
            row = {"case": case.title, "unit": case.unit, "number": number, "column": column}
            yield row | {"coverage": coverage, "refused": refused}


def _cell(row: dict) -> str:
    shares = ["refused" if value is None else f"{value:.2f}" for value in row["coverage"]]
    text = " / ".join(dict.fromkeys(shares) if set(shares) == {"refused"} else shares)
    refused = f" ({100 * row['refused']:.0f} % refused)" if 0.005 < row["refused"] < 1 else ""
    return text + refused


def _beta(rng: np.random.Generator, share: float, icc: float, size: int) -> np.ndarray:
    if not icc:
        return np.full(size, share)
    spread = (1 - icc) / icc
    return rng.beta(share * spread, (1 - share) * spread, size)


def _accuracy(rng, number, *, share, icc, size=5, by_track=False):
    """Draw the answers for `number` artists of `size` tracks."""
    groups = np.repeat(np.arange(number), size)
    correct = rng.random(len(groups)) < _beta(rng, share, icc, number)[groups]
    if by_track:
        return stats.wilson_interval(int(correct.sum()), len(correct)), share
    return intervals.accuracy_interval(correct, groups), share


def _uneven(rng, number, **settings):
    """Draw the answers for artists of whom the i-th has 1 / i of the tracks of the first."""
    largest = max(20.0, number / 2)
    sizes = np.maximum(1, np.round(largest / np.arange(1, number + 1))).astype(int)
    return _accuracy(rng, number, size=sizes, **settings)


def _difference(rng, number, *, shares, icc, size=5):
    """Draw the answers of two systems that find the same artists hard, each track at random."""
    groups = np.repeat(np.arange(number), size)
    hard = rng.normal(size=(number, 1)) + rng.normal(size=(number, 2)) / 2**0.5
    strangeness = icc**0.5 * hard[groups] + rng.normal(size=(len(groups), 2))
    right = strangeness < (1 + 1.5 * icc) ** 0.5 * scipy_stats.norm.ppf(shares)
    interval = stats.sign_flip_interval(right[:, 0], right[:, 1], groups)
    return interval, shares[1] - shares[0]


def _two_way(rng, number, *, spread, num_seeds, share=0.7):
    """Draw the answers of several trainings: right where effects of artist and training say so."""
    groups, variance = np.repeat(np.arange(number), 2), 1 + spread**2 + 0.25 + 1
    effects = rng.normal(size=(number, 1)) + spread * rng.normal(size=(1, num_seeds))
    effects = (effects + 0.5 * rng.normal(size=(number, num_seeds)))[groups]
    limit = variance**0.5 * scipy_stats.norm.ppf(share)
    right = effects + rng.normal(size=effects.shape) < limit
    return intervals.two_way_interval(right, groups, is_share=True), share


def _f1(rng, number, *, size, of):
    """Draw predictions of a fixed confusion matrix; of artists of `size`, a third err as one."""
    recalls = np.linspace(0.3, 0.95, _NUM_CLASSES)
    matrix = np.random.default_rng(1).dirichlet(np.ones(_NUM_CLASSES), _NUM_CLASSES)
    matrix = matrix * (1 - recalls)[:, None] + np.diag(recalls)
    truth = np.repeat(np.arange(_NUM_CLASSES), number)
    groups = np.arange(len(truth)) // size
    predicted = (rng.random((len(truth), 1)) > matrix.cumsum(axis=1)[truth]).sum(axis=1)
    alike = rng.random(len(truth) // size) < (size > 1) / 3
    predicted = np.where(alike[groups], predicted[groups * size], predicted)
    ends = results.f1_ends(truth, predicted, _NUM_CLASSES, groups)
    expected = 2 * np.diag(matrix) / (1 + matrix.sum(axis=0))
    position = _NUM_CLASSES if of == "macro" else of
    truth_of = float(expected.mean() if of == "macro" else expected[of])
    low, high = ends[:, position]
    return (None if np.isnan(low) else (float(low), float(high))), truth_of


def _by_icc(**settings) -> dict[str, list[dict]]:
    return {
        f"ICC {icc:g}": [{"share": share, "icc": icc, **settings} for share in _SHARES]
        for icc in (0.0, 0.3, 0.8)
    }


_AT = "at a true accuracy of " + " / ".join(map(str, _SHARES))
_PAIRS = ((0.67, 0.67), (0.6, 0.75), (0.85, 0.9))
_CASES = (
    Case(
        f"An accuracy by artist, of 5 tracks each, {_AT}",
        "artists", _GROUPS, _by_icc(), _accuracy,
    ),
    Case(
        f"The same, artists of very different size, {_AT}",
        "artists", (6, 10, 20, 50, 100, 200), _by_icc(), _uneven,
    ),
    Case(
        f"For comparison, Wilson's interval by track, {_AT}",
        "artists", (6, 20, 200), _by_icc(by_track=True), _accuracy,
    ),
    Case(
        "A difference of two systems by artist, of 5 tracks each, at true accuracies of"
        " 0.67 and 0.67 / 0.6 and 0.75 / 0.85 and 0.9",
        "artists",
        (5, 6, 8, 10, 20, 50, 200),
        {
            f"spread {icc:g}": [
                {"shares": shares, "icc": icc} for shares in _PAIRS
            ]
            for icc in (0.0, 0.3, 0.8)
        },
        _difference,
        0.25,
    ),
    Case(
        "F1, of 10 classes: macro F1 / that of the worst class / of the best",
        "tracks per class",
        (6, 12, 30, 90),
        {
            f"artists of {size}": [{"size": size, "of": of} for of in ("macro", 0, 9)]
            for size in (1, 2, 3)
        },
        _f1,
        0.25,
    ),
    Case(
        "A mean over trainings, artists of 2 tracks, at a spread of the trainings of 0 / 0.1 / 0.3",
        "artists",
        (6, 10, 30, 100),
        {
            f"{num_seeds} trainings": [
                {"spread": spread, "num_seeds": num_seeds} for spread in (0.0, 0.1, 0.3)
            ]
            for num_seeds in (2, 3, 5, 10)
        },
        _two_way,
    ),
)  # fmt: skip
