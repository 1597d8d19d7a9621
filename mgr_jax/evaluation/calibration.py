"""Calibration of confidences: reliability, expected calibration error, temperature scaling."""

import json
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.errors import UserError
from mgr_jax.evaluation.scores import normalize
from mgr_jax.files import write_whole

_FILE = pathlib.Path("eval/temperature.json")
# Bounds of the temperature, which would be 0 for a part without mistakes, infinite without hits.
_LOWEST, _HIGHEST = 0.05, 20.0
# Replaces log 0, which no temperature could scale.
_FLOOR = -700.0
NUM_BINS = 15


class Reliability(NamedTuple):
    """Tracks in K bins of confidence, the probability of the predicted class."""

    edges: np.ndarray  # [K + 1]
    counts: np.ndarray  # [K]
    confidence: np.ndarray  # [K]
    accuracy: np.ndarray  # [K]


def fit_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T of least log loss of softmax(log p / T), between 0.05 and 20.

    Temperature scaling (Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural
    networks", arXiv 1706.04599). The log loss is convex in 1/T, so that the root of its derivative
    is the minimum. T is above 1 for an overconfident model.

    Args:
      log_probabilities: [N, C].
      labels: int [N].

    Raises:
      ValueError: if there are no tracks.
    """
    from scipy import optimize  # Imported here, since a prediction only reads the temperature.

    if not len(labels):
        raise ValueError("labels is empty: need one track or more")
    scores = np.maximum(log_probabilities, _FLOOR)
    chosen = scores[np.arange(len(labels)), labels]

    def derivative(inverse: float) -> float:
        probabilities = np.exp(normalize(scores * inverse))
        return float(((probabilities * scores).sum(axis=1) - chosen).mean())

    low, high = 1 / _HIGHEST, 1 / _LOWEST
    if derivative(high) <= 0:
        return _LOWEST
    if derivative(low) >= 0:
        return _HIGHEST
    root: Any = optimize.brentq(derivative, low, high)
    return float(1 / root)


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


def expected_calibration_error(
    log_probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int = NUM_BINS
) -> float:
    """Return the mean |confidence - accuracy| over the bins of `reliability` (Guo et al. 2017)."""
    bins = reliability(log_probabilities, labels, num_bins=num_bins)
    used = bins.counts > 0
    distance = np.abs(bins.confidence - bins.accuracy)[used]
    return float((distance * bins.counts[used]).sum() / len(labels))


def write_temperature(
    workdir: pathlib.Path,
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    checkpoint_step: int,
) -> float:
    """Fit the temperature to the validation part, write it to the workdir, and return it.

    Args:
      workdir: the folder of the run.
      log_probabilities: scores of the tracks of the validation part [N, C].
      labels: their classes, int [N].
      checkpoint_step: step of the checkpoint that computed the scores.
    """
    from mgr_jax.evaluation import metrics  # Imported here, since it imports SciPy.

    temperature = fit_temperature(log_probabilities, labels)
    scaled = scale(log_probabilities, temperature)
    record = {
        "temperature": temperature,
        "checkpoint_step": checkpoint_step,
        "part": "valid",
        "n": len(labels),
        "log_loss_before": _finite(metrics.log_loss(log_probabilities, labels)),
        "log_loss_after": _finite(metrics.log_loss(scaled, labels)),
    }
    path = pathlib.Path(workdir) / _FILE
    records = [r for r in _read(path) if r["checkpoint_step"] != checkpoint_step] + [record]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(records, indent=1))
    return temperature


def load_temperature(
    workdir: str | pathlib.Path, *, checkpoint_step: int | None = None
) -> float | None:
    """Return the temperature that `write_temperature` wrote for a checkpoint, or None.

    If `checkpoint_step` is None, the last one that was written.

    Raises:
      UserError: if the file is damaged.
    """
    temperatures = [
        record["temperature"]
        for record in _read(pathlib.Path(workdir) / _FILE)
        if checkpoint_step in (None, record["checkpoint_step"])
    ]
    return temperatures[-1] if temperatures else None


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Read the records of the checkpoints, in the order in which they were written."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        valid = all(0 < float(r["temperature"]) < math.inf for r in records)
        steps = [int(record["checkpoint_step"]) for record in records]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is damaged; delete it and run evaluate again") from error
    if not valid or not isinstance(records, list) or len(set(steps)) < len(steps):
        raise UserError(f"{path}: is damaged; delete it and run evaluate again")
    return records


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
