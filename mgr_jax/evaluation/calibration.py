"""How far a model's confidence can be trusted, and a temperature that mends it."""

import json
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from mgr_jax.errors import UserError
from mgr_jax.evaluation.scores import normalize
from mgr_jax.files import write_whole

_FILE = pathlib.Path("eval/temperature.json")
# A part without a mistake asks for 0, one without a hit for infinity.
_LOWEST, _HIGHEST = 0.05, 20.0
# Probability 0 stays so at any temperature; this is as good as 0 and can be divided.
_FLOOR = -700.0
NUM_BINS = 15


class Reliability(NamedTuple):
    """Tracks by confidence, the probability of the class that was chosen; see `reliability`."""

    edges: np.ndarray  # [K + 1]
    counts: np.ndarray  # [K]
    confidence: np.ndarray  # [K]
    accuracy: np.ndarray  # [K]


def fit_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that makes softmax(log p / T) fit best: `[N, C]`, int `[N]`.

    Temperature scaling (Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural
    networks", arXiv 1706.04599): the log loss is convex in 1/T, and its slope is brought to 0.
    Above 1, the model was too sure. T is kept within 0.05 and 20.

    Raises:
      ValueError: if there are no tracks.
    """
    from scipy import optimize  # Here, since a prediction only reads the temperature.

    if not len(labels):
        raise ValueError("labels is empty: need one track or more")
    scores = np.maximum(log_probabilities, _FLOOR)
    chosen = scores[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        probabilities = np.exp(normalize(scores * inverse))
        return float(((probabilities * scores).sum(axis=1) - chosen).mean())

    low, high = 1 / _HIGHEST, 1 / _LOWEST
    if slope(high) <= 0:
        return _LOWEST
    if slope(low) >= 0:
        return _HIGHEST
    return float(1 / optimize.brentq(slope, low, high))


def scale(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Log-probabilities `[..., C]` at another temperature; which is largest does not change."""
    return normalize(np.maximum(log_probabilities, _FLOOR) / temperature)


def reliability(
    log_probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int = NUM_BINS
) -> Reliability:
    """Mean confidence and accuracy of the tracks in bins of equal width: `[N, C]`, int `[N]`.

    A bin holds its upper edge. In an empty one, both are NaN.
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
    """Mean distance of confidence and accuracy over the bins of `reliability` (Guo et al. 2017)."""
    bins = reliability(log_probabilities, labels, num_bins=num_bins)
    there = bins.counts > 0
    distance = np.abs(bins.confidence - bins.accuracy)[there]
    return float((distance * bins.counts[there]).sum() / len(labels))


def write_temperature(
    workdir: pathlib.Path,
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    checkpoint_step: int,
) -> float:
    """Fits the temperature on the validation part and keeps it in the workdir.

    Args:
      workdir: the folder of the run.
      log_probabilities: of the tracks of the validation part `[N, C]`.
      labels: their classes, int `[N]`.
      checkpoint_step: step of the checkpoint that gave them.
    """
    from mgr_jax.evaluation import metrics  # Here, as above: it imports SciPy.

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
    """The temperature that `write_temperature` kept for a checkpoint, or None.

    Without `checkpoint_step`, the one that was written last.

    Raises:
      UserError: if the file is damaged.
    """
    found = [
        record["temperature"]
        for record in _read(pathlib.Path(workdir) / _FILE)
        if checkpoint_step in (None, record["checkpoint_step"])
    ]
    return found[-1] if found else None


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Records of the checkpoints, the last one written last."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        good = all(0 < float(r["temperature"]) < math.inf for r in records)
        steps = [int(record["checkpoint_step"]) for record in records]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is damaged; delete it and run evaluate again") from error
    if not good or not isinstance(records, list) or len(set(steps)) < len(steps):
        raise UserError(f"{path}: is damaged; delete it and run evaluate again")
    return records


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
