"""Calibration of confidences: reliability and temperature scaling; see also `calibration_error`.

A temperature from few tracks can make the confidences of others worse, most of all if the model was
chosen by these tracks, which it then classifies too well. So the temperature that is used is fitted
with a prior towards 1, never sharpens on such tracks, and is 1 if it loses on a held-back half.
Classical systems have it from held-out training tracks instead (`classical.held_out`).
"""

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.errors import UserError
from mgr_jax.evaluation import conformal
from mgr_jax.evaluation.scores import normalize
from mgr_jax.files import parse_json, record_digest, write_whole

_FILE = pathlib.Path("eval/temperature.json")
# Bounds of the temperature, which would be 0 for a part without mistakes, infinite without hits.
_LOWEST, _HIGHEST = 0.05, 20.0
# Replaces log 0, which no temperature could scale.
_FLOOR = -700.0
NUM_BINS = 15
# Weight of the prior towards a temperature of 1, in tracks.
_PRIOR = 40.0


class Reliability(NamedTuple):
    """Tracks in K bins of confidence, the probability of the predicted class."""

    edges: np.ndarray  # [K + 1]
    counts: np.ndarray  # [K]
    confidence: np.ndarray  # [K]
    accuracy: np.ndarray  # [K]


class Temperature(NamedTuple):
    """A temperature, and the reasons for it: log losses on held-back halves, in nats.

    Attributes:
      temperature: the one to use: `fitted`, or 1 if that is not better on held-back tracks.
      fitted: the one that was fitted to all tracks.
      held_back: log loss of all tracks, each half at the temperature fitted to the other half;
        None if all tracks are of one group.
      unscaled: their log loss at temperature 1.
    """

    temperature: float
    fitted: float
    held_back: float | None
    unscaled: float


def fit_temperature(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    prior: float = 0.0,
    lowest: float = _LOWEST,
) -> float:
    """Return the temperature T of least log loss of softmax(log p / T), from `lowest` to 20.

    Temperature scaling (Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural
    networks", arXiv 1706.04599). The log loss is convex in 1/T, so that the root of its derivative
    is the minimum. T is above 1 for an overconfident model.

    Args:
      log_probabilities: [N, C].
      labels: int [N].
      prior: weight of a prior towards 1, in tracks: so many are added whose classes are as
        frequent as the model's own probabilities say. It keeps the objective convex.
      lowest: smallest T.

    Raises:
      ValueError: if there are no tracks.
    """
    from scipy import optimize  # Imported here, since a prediction only reads the temperature.

    if not len(labels):
        raise ValueError("labels is empty: need one track or more")
    scores = np.maximum(log_probabilities, _FLOOR)
    share = prior / (len(labels) + prior)
    chosen = (1 - share) * scores[np.arange(len(labels)), labels]
    chosen = chosen + share * (np.exp(normalize(scores)) * scores).sum(axis=1)

    def derivative(inverse: float) -> float:
        probabilities = np.exp(normalize(scores * inverse))
        return float(((probabilities * scores).sum(axis=1) - chosen).mean())

    low, high = 1 / _HIGHEST, 1 / lowest
    if derivative(high) <= 0:
        return lowest
    if derivative(low) >= 0:
        return _HIGHEST
    root: Any = optimize.brentq(derivative, low, high)
    return float(1 / root)


def choose_temperature(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    chose_model: bool = False,
) -> Temperature:
    """Return the temperature to use, which is 1 unless another proves better on held-back tracks.

    Each half is scaled by the temperature that is fitted to the other half. Neither may lose, and
    together they must gain more than a standard error.

    Args:
      log_probabilities: [N, C].
      labels: int [N].
      groups: name of the group (artist) of each track [N], which stays in one half; None if each
        track is its own group.
      chose_model: whether the model was chosen by these very tracks. They are classified better
        than others then, and a temperature below 1 is not believed.

    Raises:
      ValueError: if there are no tracks.
    """
    from mgr_jax.evaluation import intervals  # Imported here, since it imports SciPy.

    settings = {"prior": _PRIOR, "lowest": 1.0 if chose_model else _LOWEST}
    log_probabilities = np.maximum(log_probabilities, _FLOOR)
    fitted = fit_temperature(log_probabilities, labels, **settings)
    losses = -log_probabilities[np.arange(len(labels)), labels]
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    first = _half(names)
    if first.all():
        return Temperature(1.0, fitted, None, float(losses.mean()))
    held_back = np.empty(len(labels))
    for half in (first, ~first):
        own = fit_temperature(log_probabilities[half], labels[half], **settings)
        scaled = scale(log_probabilities[~half], own)
        held_back[~half] = -scaled[np.arange(len(scaled)), labels[~half]]
    gains = losses - held_back
    by_group = intervals.group_sums(gains - gains.mean(), names)
    wins = all(gains[half].mean() >= 0 for half in (first, ~first))
    wins &= gains.sum() > math.sqrt(np.square(by_group).sum())
    temperature = fitted if wins else 1.0
    return Temperature(temperature, fitted, float(held_back.mean()), float(losses.mean()))


def _half(names: np.ndarray) -> np.ndarray:
    """Return bool [N]: whether a track is in the first of two halves that keep groups whole."""
    groups, counts = np.unique(names, return_counts=True)
    order = np.random.default_rng(0).permutation(len(groups))
    order = order[np.argsort(-counts[order], kind="stable")]
    in_first, sizes = np.zeros(len(groups), bool), np.zeros(2)
    for group in order:  # The largest group first, each to the smaller half.
        in_first[group] = sizes[0] <= sizes[1]
        sizes[0 if in_first[group] else 1] += counts[group]
    return in_first[np.searchsorted(groups, names)]


def scale(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return log-probabilities [..., C] at another temperature, which keeps their order."""
    return normalize(np.maximum(log_probabilities, _FLOOR) / temperature)


def reliability(
    log_probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int = NUM_BINS
) -> Reliability:
    """Return mean confidence and accuracy of the tracks in bins of equal width.

    A bin includes its upper edge. In an empty bin, both are NaN.

    Args:
      log_probabilities: [N, C].
      labels: int [N].
      num_bins: K.
    """
    confidence = np.exp(log_probabilities.max(axis=1))
    correct = log_probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, num_bins + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges=edges,
            counts=counts,
            confidence=np.bincount(bins, confidence, minlength=num_bins) / counts,
            accuracy=np.bincount(bins, correct, minlength=num_bins) / counts,
        )


def write_temperature(
    workdir: pathlib.Path,
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    checkpoint_step: int,
    groups: Sequence[str] | None = None,
    part: str = "valid",
    chose_model: bool = False,
) -> float:
    """Choose the temperature, write it to the workdir, and return it.

    With it are kept the tracks for `conformal`.

    Args:
      workdir: the folder of the run.
      log_probabilities: scores [N, C] of tracks that the model has not learned from.
      labels: their classes, int [N].
      checkpoint_step: step of the checkpoint that computed the scores.
      part: part of the tracks; those of `train` were scored by models of the other folds.
      groups, chose_model: see `choose_temperature`.
    """
    choice = choose_temperature(log_probabilities, labels, groups=groups, chose_model=chose_model)
    scaled = scale(log_probabilities, choice.temperature)
    rows = np.arange(len(labels)), labels
    record = {
        "temperature": choice.temperature,
        "fitted": choice.fitted,
        "checkpoint_step": checkpoint_step,
        "part": part,
        "n": len(labels),
        "log_loss_before": _finite(choice.unscaled),
        "log_loss_after": _finite(-float(scaled[rows].mean())),
        "log_loss_held_back": choice.held_back,
        "tracks": conformal.to_json(conformal.make_calibration(scaled, labels, groups, part)),
    }
    record["digest"] = record_digest(record)
    path = pathlib.Path(workdir) / _FILE
    records = [r for r in _read(path) if r["checkpoint_step"] != checkpoint_step] + [record]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(records, indent=1))
    return choice.temperature


def load_temperature(
    workdir: str | pathlib.Path, *, checkpoint_step: int | None = None
) -> float | None:
    """Return the temperature that `write_temperature` wrote for a checkpoint, or None.

    If `checkpoint_step` is None, the last one that was written. Records of versions that tried no
    temperature on held-back tracks do not count, so that `evaluate` fits it again.

    Raises:
      UserError: if the file is damaged.
    """
    record = _record(workdir, checkpoint_step)
    return record["temperature"] if record else None


def load_tracks(
    workdir: str | pathlib.Path, *, checkpoint_step: int | None = None
) -> conformal.Calibration | None:
    """Return the calibration tracks of a checkpoint; arguments and errors as `load_temperature`.

    None also if an earlier version wrote the temperature, without them.
    """
    record = _record(workdir, checkpoint_step)
    return conformal.from_json(record["tracks"]) if record and "tracks" in record else None


def _record(workdir: str | pathlib.Path, checkpoint_step: int | None) -> dict[str, Any] | None:
    records = [
        record
        for record in _read(pathlib.Path(workdir) / _FILE)
        if checkpoint_step in (None, record["checkpoint_step"]) and "log_loss_held_back" in record
    ]
    return records[-1] if records else None


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Read the records of the checkpoints, in the order in which they were written."""
    try:
        records = parse_json(path.read_text(encoding="utf-8"))
        valid = all(
            0 < float(r["temperature"]) < math.inf
            and r.get("digest", record_digest(r)) == record_digest(r)  # Early versions wrote none.
            for r in records
        )
        steps = [int(record["checkpoint_step"]) for record in records]
        for record in records:
            if "tracks" in record:
                conformal.from_json(record["tracks"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(f"{path}: is damaged; delete it and run evaluate again") from error
    if not valid or not isinstance(records, list) or len(set(steps)) < len(steps):
        raise UserError(f"{path}: is damaged; delete it and run evaluate again")
    return records


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
