"""Sets of genres that hold the right one as often as requested: conformal prediction by artist.

A genre is in the set of a track if its probability is not below a threshold, which is chosen on
calibration tracks, of which the model has not learned. The tracks of an artist resemble each other,
so that a new track is exchangeable with one track of each artist, not with all tracks. Hierarchical
conformal prediction (Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical
data", arXiv 2306.06342; Dunn, Wasserman and Ramdas 2018, arXiv 1809.07441) gives each artist the
same weight, shared among the tracks, and one more such weight to the artist to come. So a track of
a new artist is covered with at least the requested probability, whatever the sizes of the artists
and the likeness of their tracks. `experiments.benchmark --suite=sets` simulates it.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.plural import plural

# Coverages in reports and exports.
COVERAGES = (0.8, 0.9, 0.95)
# Thresholds are by class where none exceeds the coverage by more, since sets would be too large.
_EXCESS = 0.02
# Less than the smallest difference of weights, so that rounding decides nothing.
_TINY = 1e-9


class Calibration(NamedTuple):
    """N tracks that the model has not learned from.

    Attributes:
      log_p: log-probability of the class of each track, at the temperature of the model, [N].
      labels: the classes, int [N].
      groups: number of the artist (the group of `folds.group_ids`) of each track, int [N].
      part: part that they are of; those of `train` were scored by models of other folds.
    """

    log_p: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    part: str

    @property
    def num_groups(self) -> int:
        """Number of artists."""
        return len(np.unique(self.groups))

    @property
    def grouped_by(self) -> str:
        """`artist`, or `track` if no artist has two tracks."""
        return "artist" if self.num_groups < len(self.groups) else "track"


class Rule(NamedTuple):
    """Which genres are in a set.

    Attributes:
      coverage: share of new tracks whose set holds their genre.
      least: least log-probability of each class, [C]; -inf if there are too few artists.
      by_class: whether the coverage holds for each class, or over all classes.
    """

    coverage: float
    least: np.ndarray
    by_class: bool


def make_calibration(
    log_probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[Any] | None, part: str
) -> Calibration:
    """Return the calibration tracks from their log-probabilities [N, C], classes and artists.

    `groups` is None if each track is its own group.
    """
    rows = np.arange(len(labels))
    index = rows if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    # Rounded down, so that a threshold does not exclude what equals it.
    log_p = np.floor(1e6 * log_probabilities[rows, labels]) / 1e6
    return Calibration(log_p, labels, index, part)


def to_json(tracks: Calibration) -> dict[str, Any]:
    """Return the calibration tracks as JSON values."""
    columns = {name: getattr(tracks, name).tolist() for name in ("log_p", "labels", "groups")}
    return columns | {"part": tracks.part}


def from_json(values: Mapping[str, Any], *, num_classes: int | None = None) -> Calibration:
    """Return the calibration tracks of `to_json`.

    Raises:
      ValueError: if the values are none, or a class is out of range.
    """
    try:
        log_p = np.array(values["log_p"], float)
        labels, groups = (np.array(values[name]) for name in ("labels", "groups"))
        part = values["part"]
    except (KeyError, TypeError) as error:
        raise ValueError("the calibration tracks are incomplete") from error
    valid = log_p.ndim == 1 and len(log_p) > 0 and log_p.shape == labels.shape == groups.shape
    valid = valid and bool(np.isfinite(log_p).all() and (log_p <= 0).all())
    valid = valid and labels.dtype.kind == groups.dtype.kind == "i" and isinstance(part, str)
    if not valid or labels.min() < 0 or (num_classes is not None and labels.max() >= num_classes):
        raise ValueError("the calibration tracks have values out of range")
    return Calibration(log_p, labels, groups, part)


def least_artists(coverage: float) -> int:
    """Return the least number of artists with which a set may leave out a genre: 9 for 0.9."""
    return math.ceil(coverage / (1 - coverage) - _TINY)


def threshold(log_p: np.ndarray, groups: np.ndarray, coverage: float) -> float:
    """Return the least log-probability of a genre in a set; -inf if there are too few artists.

    Args:
      log_p: log-probability of the own class of each calibration track, [N].
      groups: the artists [N]. coverage: above 0 and below 1.
    """
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / (sizes[index] * (len(sizes) + 1))
    order = np.argsort(-log_p, kind="stable")
    reached = np.cumsum(weights[order]) >= coverage - _TINY
    return float(log_p[order][reached.argmax()]) if reached.any() else -np.inf


def make_rule(tracks: Calibration, coverage: float, *, num_classes: int) -> Rule:
    """Return the rule for a coverage.

    It is by class if each class has so many artists that the coverage is exceeded by no more than
    two points (45 for 0.9), else one for all classes.

    Raises:
      ValueError: if the coverage is not above 0 and below 1.
    """
    check(coverage)
    classes = [tracks.labels == label for label in range(num_classes)]
    counts = [len(np.unique(tracks.groups[own])) for own in classes]
    least = coverage / _EXCESS - _TINY
    if min(counts) >= max(least, least_artists(coverage)):
        each = [threshold(tracks.log_p[own], tracks.groups[own], coverage) for own in classes]
        return Rule(coverage, np.array(each), by_class=True)
    one = threshold(tracks.log_p, tracks.groups, coverage)
    return Rule(coverage, np.full(num_classes, one), by_class=False)


def make_rules(tracks: Calibration | None, *, num_classes: int) -> dict[str, list[float]]:
    """Return coverage -> least log-probabilities [C], for `COVERAGES` that the artists suffice for.

    Empty without calibration tracks.
    """
    if tracks is None:
        return {}
    rules = [make_rule(tracks, coverage, num_classes=num_classes) for coverage in COVERAGES]
    return {f"{r.coverage:g}": r.least.tolist() for r in rules if np.isfinite(r.least).all()}


def check(coverage: float) -> None:
    """Raise `ValueError` if a coverage is not above 0 and below 1."""
    if not isinstance(coverage, numbers.Real) or not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage!r}; it must be above 0 and below 1, such as 0.9")


def members(log_probabilities: np.ndarray, rule: Rule) -> np.ndarray:
    """Return whether each genre is in the set of each track, bool [..., C].

    The most probable genre always is, so that no set is empty.
    """
    top = log_probabilities.max(axis=-1, keepdims=True)
    return (log_probabilities >= rule.least) | (log_probabilities == top)


def describe(tracks: Calibration, rule: Rule) -> str:
    """Return the sentence on what sets promise, or that there are too few artists for a promise."""
    count, by = tracks.num_groups, tracks.grouped_by
    share = f"{100 * rule.coverage:g} %"
    if np.isinf(rule.least).all():
        least = least_artists(rule.coverage)
        return (
            f"every set has all genres: a coverage of {share} takes {least} {by}s for calibration,"
            f" and there are {count}"
        )
    scope = "of each genre" if rule.by_class else "over all genres together"
    new = " by new artists" if by == "artist" else ""
    kind = "held-out training" if tracks.part == "train" else f"{tracks.part}"
    calibration = f"{plural(len(tracks.labels), f'{kind} track')}"
    calibration += f" by {plural(count, 'artist')}" if by == "artist" else ""
    return f"sets hold the genre of {share} of tracks{new}, {scope}; from {calibration}"
