"""How often the intervals of `mgr_jax.evaluation` cover the truth, by simulation.

The intraclass correlation (ICC) is that of the tracks of an artist. Shares of right answers of the
artists are from a beta distribution; what is more than right or wrong is drawn once for the artist
and once for each track, which has that of its artist with probability sqrt(ICC). Every cell has a
seed of its own, so that `measure` of one gives what the suite gives.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from mgr_jax.evaluation import calibration_error, intervals, metrics, results, scores, stats

QUICK = {"num_draws": 20}
_GROUPS = (2, 3, 4, 5, 6, 8, 10, 20, 50, 100, 200)
_ICCS = (0.0, 0.3, 0.8)
_SIZE = 5  # Tracks of an artist.
_NUM_CLASSES = 10

# Generator, number of groups, ICC, setting, number of draws -> ends [2, R], NaN if refused, and the
# truth [R] or of all.
Draw = Callable[..., tuple[np.ndarray, np.ndarray | float]]


class Case(NamedTuple):
    """A table of coverages: a line for each number of groups, a column for each ICC.

    Attributes:
      function: the function that computes the interval.
      title: what is covered.
      draw: draws the intervals of a cell.
      settings: what the coverages of a cell differ in, as the title says.
      numbers: numbers of groups.
      unit: of the numbers.
      share: share of the draws of the suite that are made, since some take longer.
    """

    function: str
    title: str
    draw: Draw
    settings: tuple
    numbers: tuple[int, ...] = _GROUPS
    unit: str = "artists"
    share: float = 1.0


def run(*, num_draws: int = 1000) -> list[dict]:
    """Return a row for each cell of the tables."""
    return [
        measure(case, number, icc, num_draws=num_draws)
        for case in CASES
        for number in case.numbers
        for icc in _ICCS
    ]


def measure(case: Case, number: int, icc: float, *, num_draws: int = 1000) -> dict:
    """Return a cell: the coverages of its settings, and the largest share of refused draws."""
    count = max(2, int(case.share * num_draws))
    coverage, refused = [], 0.0
    for setting in case.settings:
        rng = np.random.default_rng([number, int(10 * icc)])
        (low, high), truth = case.draw(rng, number, icc, setting, count)
        shown = np.isfinite(low)
        covered = ((low <= truth) & (truth <= high))[shown]
        coverage.append(float(covered.mean()) if shown.any() else None)
        refused = max(refused, 1 - float(shown.mean()))
    fields = {"function": case.function, "title": case.title, "unit": case.unit}
    cell = {"number": number, "icc": icc, "draws": count, "coverage": coverage, "refused": refused}
    return fields | cell


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown tables."""
    lines: list[str] = []
    for title in dict.fromkeys(row["title"] for row in rows):
        own = [row for row in rows if row["title"] == title]
        columns = " | ".join(f"ICC {icc:g}" for icc in dict.fromkeys(row["icc"] for row in own))
        lines += ["", f"`{own[0]['function']}`: {title}", ""]
        lines += [f"| {own[0]['unit']} | {columns} |", "| --- | --- | --- | --- |"]
        for number in dict.fromkeys(row["number"] for row in own):
            cells = [format_cell(row) for row in own if row["number"] == number]
            lines.append(f"| {number} | {' | '.join(cells)} |")
    return lines


def format_cell(row: dict) -> str:
    """Format the coverages of a cell: `0.95 / 0.96 (2 % refused)`."""
    shares = ["refused" if value is None else f"{value:.2f}" for value in row["coverage"]]
    text = "refused" if set(shares) == {"refused"} else " / ".join(shares)
    refused = f" ({100 * row['refused']:.0f} % refused)" if 0.005 < row["refused"] < 1 else ""
    return text + refused


def _each(draw: Callable[..., tuple[Sequence[float] | None, float]]) -> Draw:
    """Return a function that calls one of a single draw for each."""

    @functools.wraps(draw)
    def draw_all(rng, number, icc, setting, count, **options):
        drawn = [draw(rng, number, icc, setting, **options) for _ in range(count)]
        ends = [(np.nan, np.nan) if interval is None else interval for interval, _ in drawn]
        return np.array(ends, float).T, np.array([truth for _, truth in drawn])

    return draw_all


def _beta(rng: np.random.Generator, share: float, icc: float, size: tuple[int, ...]) -> np.ndarray:
    if not icc:
        return np.full(size, share)
    spread = (1 - icc) / icc
    return rng.beta(share * spread, (1 - share) * spread, size)


def _accuracy(rng, number, icc, share, count, *, size: int | np.ndarray = _SIZE, by_track=False):
    groups = np.repeat(np.arange(number), size)
    shares = _beta(rng, share, icc, (number, count))
    correct = (rng.random((len(groups), count)) < shares[groups]).astype(float)
    if by_track:
        return intervals.wilson(correct.mean(axis=0), len(groups), 1.959963984540054), share
    pairs = np.stack([correct, np.ones_like(correct)], axis=2)
    return intervals.share_interval(pairs, intervals.ratio, groups=groups), share


def _uneven(rng, number, icc, share, count):
    """The i-th artist has 1 / i of the tracks of the first."""
    sizes = np.maximum(1, np.round(max(20, number / 2) / np.arange(1, number + 1))).astype(int)
    return _accuracy(rng, number, icc, share, count, size=sizes)


def _sources(rng, groups: np.ndarray, icc: float) -> np.ndarray:
    """Return which of N + G draws each track has [N]: its own, or that of its artist."""
    n = len(groups)
    return np.where(rng.random(n) < icc**0.5, n + groups, np.arange(n))


def _pair(rng, number, icc, only):
    """Draw right and wrong of two systems: `only` are the shares that one has right alone."""
    groups = np.repeat(np.arange(number), _SIZE)
    drawn = rng.random(len(groups) + number)[_sources(rng, groups, icc)]
    second = drawn < only[1] + 0.6
    first = (drawn >= only[1]) & (drawn < only[1] + 0.6 + only[0])
    return first, second, groups


@_each
def _difference(rng, number, icc, only):
    first, second, groups = _pair(rng, number, icc, only)
    return stats.paired_interval(first, second, groups), only[1] - only[0]


@_each
def _gap(rng, number, icc, only):
    first, second, groups = _pair(rng, number, icc, only)
    return intervals.difference_interval(second.astype(float) - first, groups), only[1] - only[0]


def _several(rng, number, icc, share, num_seeds, spread, artists, tracks):
    """Draw the answers of trainings [N, S]: right where effects of artist, track and training are
    small. `artists` and `tracks` are effects that other protocols share."""
    groups = np.repeat(np.arange(number), _SIZE)
    by_artist = 0.8 * artists + 0.6 * rng.normal(size=(number, num_seeds))
    by_track = 0.8 * tracks + 0.6 * rng.normal(size=(len(groups), num_seeds))
    effects = icc**0.5 * by_artist[groups] + (1 - icc) ** 0.5 * by_track
    effects += spread * rng.normal(size=(1, num_seeds))
    return effects < (1 + spread**2) ** 0.5 * scipy_stats.norm.ppf(share), groups


@_each
def _two_way(rng, number, icc, setting, *, spread):
    artists, tracks = rng.normal(size=(number, 1)), rng.normal(size=(number * _SIZE, 1))
    right, groups = _several(rng, number, icc, 0.7, setting, spread, artists, tracks)
    return intervals.two_way_interval(right, groups, is_share=True), 0.7


@_each
def _two_way_gap(rng, number, icc, setting):
    artists, tracks = rng.normal(size=(number, 1)), rng.normal(size=(number * _SIZE, 1))
    random, groups = _several(rng, number, icc, 0.75, setting, 0.1, artists, tracks)
    grouped, _ = _several(rng, number, icc, 0.65, setting, 0.1, artists, tracks)
    values = random.astype(float) - grouped
    return intervals.two_way_interval(values, groups, is_share=False), 0.1


def _log_probabilities(rng, labels: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Draw scores [N, C], which are calibrated at a scale of 1."""
    noise = rng.normal(size=(len(labels), _NUM_CLASSES))
    return scores.normalize(scale * (1.5 * noise + 1.5**2 * np.eye(_NUM_CLASSES)[labels]))


def _scored(rng, number, icc, scale=1.0):
    groups = np.repeat(np.arange(number), _SIZE)
    labels = rng.integers(0, _NUM_CLASSES, len(groups) + number)
    source = _sources(rng, groups, icc)
    return _log_probabilities(rng, labels, scale)[source], labels[source], groups


@functools.cache
def _many(scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, _NUM_CLASSES, 200_000)
    return _log_probabilities(rng, labels, scale), labels


def _answers(log_p: np.ndarray, labels: np.ndarray, setting: int | float):
    """Return right or wrong of the first k genres, or of what is at least so confident."""
    if isinstance(setting, int):
        return metrics.in_top_k(log_p, labels, k=setting), np.ones(len(labels), bool)
    answered = np.exp(log_p.max(axis=1)) >= setting
    return (log_p.argmax(axis=1) == labels)[answered], answered


@functools.cache
def _true_share(setting: int | float) -> float:
    return float(_answers(*_many(), setting)[0].mean())


@_each
def _chosen(rng, number, icc, setting):
    log_p, labels, groups = _scored(rng, number, icc)
    correct, answered = _answers(log_p, labels, setting)
    if not answered.any():
        return None, 0.0
    return results.count(correct, groups[answered])["ci95"], _true_share(setting)


@functools.cache
def _true_error(scale: float, num_bins: int) -> float:
    log_p, labels = _many(scale)
    confidence = np.exp(log_p.max(axis=1))
    edges = np.quantile(confidence, np.linspace(0, 1, num_bins + 1)[1:-1])
    gaps = confidence - (log_p.argmax(axis=1) == labels)
    return float(np.abs(np.bincount(np.searchsorted(edges, confidence), gaps)).sum() / len(labels))


@_each
def _calibration(rng, number, icc, scale):
    log_p, labels, groups = _scored(rng, number, icc, scale)
    values = calibration_error.calibration_error(log_p, labels, groups=groups)
    return values.interval, _true_error(scale, values.num_bins)


@functools.cache
def _confusion() -> np.ndarray:
    recalls = np.linspace(0.3, 0.95, _NUM_CLASSES)
    matrix = np.random.default_rng(1).dirichlet(np.ones(_NUM_CLASSES), _NUM_CLASSES)
    return matrix * (1 - recalls)[:, None] + np.diag(recalls)


@_each
def _f1(rng, number, icc, of):
    """Draw predictions of a fixed confusion matrix for artists of one class each."""
    matrix, size = _confusion(), 3
    artists = np.repeat(np.arange(_NUM_CLASSES), number)
    groups = np.repeat(np.arange(len(artists)), size)
    labels = np.concatenate([artists[groups], artists])
    drawn = (rng.random((len(labels), 1)) > matrix.cumsum(axis=1)[labels]).sum(axis=1)
    predicted = drawn[_sources(rng, groups, icc)]
    ends = results.f1_ends(artists[groups], predicted, _NUM_CLASSES, groups)
    f1 = 2 * np.diag(matrix) / (1 + matrix.sum(axis=0))
    truth = [*f1, f1.mean(), np.diag(matrix).mean()]
    low, high = ends[:, of]
    return (None if np.isnan(low) else (float(low), float(high))), float(truth[of])


CASES = (
    Case(
        "intervals.accuracy_interval",
        "an accuracy of 0.5 / 0.67 / 0.9, artists of 5 tracks",
        _accuracy,
        (0.5, 0.67, 0.9),
    ),
    Case(
        "intervals.accuracy_interval",
        "an accuracy of 0.5 / 0.67 / 0.9, the i-th artist with 1 / i of the tracks of the first",
        _uneven,
        (0.5, 0.67, 0.9),
    ),
    Case(
        "stats.wilson_interval",
        "for comparison, the first table by track",
        functools.partial(_accuracy, by_track=True),
        (0.5, 0.67, 0.9),
        (2, 6, 20, 200),
    ),
    Case(
        "results.count",
        "genre among the first 3 / accuracy of what is answered at a confidence of 0.5 / of 0.8",
        _chosen,
        (3, 0.5, 0.8),
        share=0.5,
    ),
    Case(
        "results.f1_ends",
        "macro F1 / balanced accuracy / F1 of the worst class / of the best, of 10 classes with so"
        " many artists of 3 tracks each",
        _f1,
        (-2, -1, 0, 9),
        (2, 3, 4, 6, 10, 20),
        "artists a class",
        0.3,
    ),
    Case(
        "stats.paired_interval",
        "a difference of two systems, where each alone has 15 and 15 % / 5 and 20 % / 4 and 9 % of"
        " the tracks right",
        _difference,
        ((0.15, 0.15), (0.05, 0.2), (0.04, 0.09)),
        share=0.3,
    ),
    Case(
        "intervals.difference_interval",
        "the leakage gap of one training, with the same shares",
        _gap,
        ((0.15, 0.15), (0.05, 0.2), (0.04, 0.09)),
    ),
    Case(
        "intervals.two_way_interval",
        "an accuracy over 2 / 3 / 10 trainings that do not differ but by chance",
        functools.partial(_two_way, spread=0.0),
        (2, 3, 10),
        share=0.5,
    ),
    Case(
        "intervals.two_way_interval",
        "an accuracy over 2 / 3 / 10 trainings that differ as much as 0.3 sd of the tracks",
        functools.partial(_two_way, spread=0.3),
        (2, 3, 10),
        share=0.5,
    ),
    Case(
        "intervals.two_way_interval",
        "the leakage gap over 2 / 3 / 10 trainings",
        _two_way_gap,
        (2, 3, 10),
        share=0.5,
    ),
    Case(
        "calibration_error.calibration_error",
        "the calibration error of a model that is calibrated / overconfident",
        _calibration,
        (1.0, 2.0),
        (2, 3, 4, 6, 10, 20, 50, 200),
        share=0.1,
    ),
)
