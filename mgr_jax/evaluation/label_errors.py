"""Which labels are doubted by models that have not learned from them, and what share is wrong.

All functions take log-probabilities of models of other folds. The share of wrong labels is that of
a mixture: with probability 1 - r a track has the label that the model gives it, at a temperature,
and with probability r any other one (Bootkrajang and Kaban 2012, "Label-noise robust logistic
regression and its applications"; Guo et al. 2017, arXiv 1706.04599). Tracks near the border of two
genres then raise the temperature, and only labels against a sure model raise r. That takes a model
of unbounded logits, such as a linear one: a model that never gives more than 1 - r has learned the
noise. What the model is sure of and wrong about counts as well, so that the share of a weak model
is too large. Confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning: estimating
uncertainty in dataset labels", arXiv 1911.00068), which cleanlab implements, takes tracks near a
border for errors as well, and gives a larger share; it is shown beside the other.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.evaluation import intervals, results
from mgr_jax.evaluation.scores import normalize

# Grid of the likelihood.
_TEMPERATURES = np.geomspace(0.1, 4.0, 28)
_SHARES = np.concatenate([[0.0], np.geomspace(0.002, 0.6, 60)])
_NUM_DRAWS = 400


class Noise(NamedTuple):
    """The mixture: share of wrong labels with its 95 % interval (None if few artists), doubts.

    Attributes:
      share: r.
      interval: its ends, by a percentile bootstrap over artists, or where none is doubted those of
        no wrong one among so many artists (Clopper and Pearson); None below `MIN_GROUPS` of them.
      temperature: divisor of the log-probabilities.
      doubt: probability that the label of each track is wrong, [N].
    """

    share: float
    interval: tuple[float, float] | None
    temperature: float
    doubt: np.ndarray


def fit_noise(log_probabilities: np.ndarray, labels: np.ndarray, groups: intervals.Groups) -> Noise:
    """Fit the mixture by maximum likelihood on a grid.

    Args:
      log_probabilities: [N, C], of models that have not learned from the track or its artist.
      labels: given labels, int [N].
      groups: name of the artist of each track [N].
    """
    index = np.unique(np.asarray(groups), return_inverse=True)[1]
    order = np.argsort(index, kind="stable")
    starts = np.unique(index[order], return_index=True)[1]
    num_groups, num_classes = len(starts), log_probabilities.shape[1]
    likelihood = np.zeros((num_groups, len(_TEMPERATURES), len(_SHARES)))
    for i, temperature in enumerate(_TEMPERATURES):
        own = _own(log_probabilities, labels, temperature)[:, None]
        mixed = (1 - _SHARES) * own + _SHARES * (1 - own) / (num_classes - 1)
        likelihood[:, i] = np.add.reduceat(np.log(mixed + 1e-300)[order], starts)
    flat = likelihood.reshape(num_groups, -1)
    best = int(flat.sum(axis=0).argmax())
    temperature, share = _TEMPERATURES[best // len(_SHARES)], _SHARES[best % len(_SHARES)]
    ends = None
    if num_groups >= intervals.MIN_GROUPS:
        rng = np.random.default_rng(0)
        draws = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=_NUM_DRAWS)
        shares = _SHARES[(draws.astype(float) @ flat).argmax(axis=1) % len(_SHARES)]
        low, high = np.quantile(shares, [0.025, 0.975])
        # Without a doubt every draw gives 0, which does not show that there is no wrong label.
        ends = (float(low), float(high or 1 - 0.025 ** (1 / num_groups)))
    right = (1 - share) * _own(log_probabilities, labels, temperature)
    wrong = share * (1 - right / (1 - share)) / (num_classes - 1)
    doubt = wrong / (right + wrong + 1e-300)
    return Noise(float(share), ends, float(temperature), doubt)


def confident_joint(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the confident joint [C, C]: counts by given label and by confident class.

    A track counts if the probability of a class reaches the mean of that of the tracks with its
    label; of several such classes the most probable one counts.
    """
    num_classes = log_probabilities.shape[1]
    joint = np.zeros((num_classes, num_classes), int)
    confident = _confident(log_probabilities, labels)
    known = confident >= 0
    np.add.at(joint, (labels[known], confident[known]), 1)
    return joint


def confident_share(joint: np.ndarray, labels: np.ndarray) -> float:
    """Return confident learning's share of wrong labels, off the diagonal of the joint.

    Each row of `confident_joint` [C, C] is scaled to the number of tracks of its label [N].
    """
    counts = np.bincount(labels, minlength=len(joint))
    rows = joint / np.maximum(1, joint.sum(axis=1, keepdims=True)) * counts[:, None]
    return float(1 - np.trace(rows) / max(1e-300, rows.sum()))


def find(
    ids: Sequence[str],
    names: Sequence[str],
    labels: np.ndarray,
    log_probabilities: np.ndarray,
    groups: intervals.Groups,
) -> dict[str, Any]:
    """Return the doubted labels, and the share of wrong ones, as JSON values.

    Args:
      ids: tracks [N]. names: of the classes [C]. labels: given labels, int [N].
      log_probabilities, groups: see `fit_noise`.

    Returns:
      `share` and `share_ci95`, of the mixture; `confident_share`; `agreement`, the `results.count`
      of the tracks whose label is the most probable one; `num_classes`; and `rows`, the tracks in
      the order of their doubt, as many as the upper end of the interval, and all above one half:
      `rank`, `track`, `given`, `suggested`, the most probable other label, `doubt`, `probability`
      of both labels, and `confident`, whether confident learning takes the label for wrong.
    """
    noise = fit_noise(log_probabilities, labels, groups)
    # The order of the doubt, also where that is 0.
    order = np.argsort(_own(log_probabilities, labels, noise.temperature), kind="stable")
    most = noise.interval[1] if noise.interval and noise.share else noise.share
    shown = max(math.ceil(most * len(ids)), int((noise.doubt >= 0.5).sum()))
    confident = _confident(log_probabilities, labels)
    others = log_probabilities.copy()
    others[np.arange(len(ids)), labels] = -np.inf
    suggested, probabilities = others.argmax(axis=1), np.exp(log_probabilities)
    rows = [
        {
            "rank": rank,
            "track": ids[i],
            "given": names[int(labels[i])],
            "suggested": names[int(suggested[i])],
            "doubt": round(float(noise.doubt[i]), 4),
            "probability": [
                round(float(probabilities[i, label]), 4) for label in (labels[i], suggested[i])
            ],
            "confident": bool(confident[i] not in (-1, labels[i])),
        }
        for rank, i in enumerate(order[:shown], start=1)
    ]
    joint = confident_joint(log_probabilities, labels)
    return {
        "share": noise.share,
        "share_ci95": noise.interval and list(noise.interval),
        "confident_share": confident_share(joint, labels),
        "num_classes": len(names),
        "agreement": results.count(log_probabilities.argmax(axis=1) == labels, groups),
        "rows": rows,
    }


def conflicts(findings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pairs of one audio under two labels of an `audit.audit`, the surest first.

    Each has `tracks`, `labels` and `evidence`, what is known to be the same.
    """
    pairs = {
        field: {tuple(sorted(row["tracks"])) for row in findings[f"{field}_rows"] or ()}
        for field in ("identical_pairs", "near_identical_pairs")
    }
    kinds = ("the same bytes", "near-identical audio", "the same recording")
    rows = []
    for row in findings["label_conflicts_rows"] or ():
        pair = tuple(sorted(row["tracks"]))
        kind = next((i for i, known in enumerate(pairs.values()) if pair in known), 2)
        rows.append({"tracks": row["tracks"], "labels": row["labels"], "evidence": kinds[kind]})
    return sorted(rows, key=lambda row: kinds.index(row["evidence"]))


def _own(log_probabilities: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probability of the given labels [N] at a temperature."""
    scaled = normalize(np.maximum(log_probabilities, -700.0) / temperature)
    return np.exp(np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0])


def _confident(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the confident class of each track, int [N]; -1 if there is none."""
    probabilities = np.exp(log_probabilities)
    own = [probabilities[labels == k, k] for k in range(probabilities.shape[1])]
    least = np.array([values.mean() if len(values) else np.inf for values in own])
    reached = np.where(probabilities >= least, probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)
