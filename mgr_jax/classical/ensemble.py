"""An ensemble of discriminants and support vector machines on several views of a spectrogram.

Members are `listed`, of equal weight, or `chosen` in training: each classifier on each view of the
library scores the training part, cross-validated (artists kept whole), and weights of least cross
entropy (`classical.stacking`) are fitted to these scores; members without a weight are left out. A
cross-validation of the latter from outside is nested: its test folds take no part in any choice.
Views are fitted to the whole training part, without its labels.

The model is one flat dict of arrays, `member/array`; there is no state to step through, hence one
file and not a workdir for each member.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from mgr_jax.classical import lda, library, stacking, svm, views
from mgr_jax.config import Features
from mgr_jax.errors import UserError

Params = Mapping[str, np.ndarray]

_SVM_C = 10.0
_SEEDS_APART = 1000  # further than the seeds of two views
_LEAST_SHARE = 1e-3  # of the weights; what has less is left out


_SCORES = {"lda": lda.discriminants, "svm": svm.decision_function}


@dataclasses.dataclass(frozen=True)
class Choice:
    """What training chose, and what it goes by: all cross-validated within the training part.

    Attributes:
      accuracy: of each member that there was to choose from.
      weights: of each member that is used, as shares.
      ensemble_accuracy: of the weighted members; if chosen, each fold's weights were fitted to the
        others.
    """

    accuracy: dict[str, float]
    weights: dict[str, float]
    ensemble_accuracy: float


def fit(
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    num_classes: int,
    features: Features,
    seed: int = 0,
    listed: Sequence[tuple[str, str]] = (),
) -> tuple[dict[str, np.ndarray], Choice]:
    """Weighs members by their cross-validated scores, and fits them to all rows.

    Args:
      x: log spectrograms [N, F, K]. y: labels [N].
      folds: fold [N] of each row, which is scored by members fitted on the others; rows of fold -1
        are not scored.
      num_classes: C.
      features: `sample_rate` and `n_fft` of the spectrograms.
      seed: of the patches that views are fitted to, and of the codebooks.
      listed: view and classifier of the members of equal weight; empty to choose them.

    Raises:
      UserError: if the spectrograms are too few or too small for a view.
    """
    members = list(listed) or [(view, kind) for view in library.VIEWS for kind in _SCORES]
    fitted, vectors = {}, {}
    for name in dict.fromkeys(view for view, _ in members):
        view = library.VIEWS[name]
        drawn = dataclasses.replace(view, seed=view.seed + _SEEDS_APART * seed)
        fitted[name] = views.fit(drawn, x, features)
        vectors[name] = views.transform(view, fitted[name], x, features)
    known = folds >= 0
    scores = np.stack(
        [_held_out(vectors[view], y, folds, kind, num_classes) for view, kind in members]
    )[:, known]
    spread = np.sqrt(np.mean(np.square(scores), axis=(1, 2)))
    scores /= spread[:, None, None]
    truth = y[known]
    if listed:
        judged = stacking.combine(scores, np.full(len(members), 1 / len(members)))
        slope = stacking.fit_weights(scores.mean(axis=0, keepdims=True), truth)
        weights = np.full(len(members), slope[0] / len(members))
    else:
        judged = stacking.cross_validated(scores, truth, folds[known])
        weights = stacking.fit_weights(scores, truth)
    if not weights.any():  # No member is better than guessing.
        weights = np.full(len(members), 1 / len(members))
    kept = np.flatnonzero(weights > _LEAST_SHARE * weights.sum())
    names = ["_".join(member) for member in members]
    choice = Choice(
        accuracy=dict(zip(names, np.mean(scores.argmax(2) == truth, axis=1).tolist(), strict=True)),
        weights={names[i]: float(weights[i] / weights[kept].sum()) for i in kept},
        ensemble_accuracy=float((judged.argmax(axis=1) == truth).mean()),
    )
    used = {view: library.VIEWS[view] for view, _ in (members[i] for i in kept)}
    params = {
        # With the model, which then does not depend on what the library becomes.
        "views": np.asarray(json.dumps({n: dataclasses.asdict(v) for n, v in used.items()})),
        "members": np.asarray([members[i] for i in kept]),
        "weights": weights[kept] / spread[kept],
        "num_classes": np.asarray(num_classes),
        "shape": np.asarray(x.shape[1:]),
        "sample_rate": np.asarray(features.sample_rate),
        "n_fft": np.asarray(features.n_fft),
    }
    for name in used:
        params |= {f"{name}/view/{key}": value for key, value in fitted[name].items()}
    for view, kind in (members[i] for i in kept):
        model = _fit_one(kind, vectors[view], y, np.ones(len(y), bool), num_classes)
        params |= {f"{view}/{kind}/{key}": np.asarray(value) for key, value in model.items()}
    return params, choice


def log_probabilities(params: Params, x: np.ndarray) -> np.ndarray:
    """Log-probabilities [N, C] of log spectrograms `x` [N, F, K]."""
    features = Features(sample_rate=int(params["sample_rate"]), n_fft=int(params["n_fft"]))
    x = np.asarray(x, np.float32)
    vectors = {
        name: views.transform(views.View(**view), _below(params, f"{name}/view"), x, features)
        for name, view in json.loads(str(params["views"])).items()
    }
    scores = [
        _score(kind, _below(params, f"{view}/{kind}"), vectors[view])
        for view, kind in params["members"]
    ]
    return stacking.combine(np.stack(scores), params["weights"])


def check_shapes(shape: Sequence[int]) -> None:
    """Raises `UserError` if spectrograms `[F, K]` are too small for the views."""
    frames, bins = shape
    if frames < 130 or bins < 64:
        raise UserError(
            f"model.name 'ensemble' needs spectrograms of 130 frames and 64 bins or more, not"
            f" {frames} and {bins}; use a longer clip, or another model"
        )


def _held_out(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, kind: str, num_classes: int
) -> np.ndarray:
    """Scores [N, C] of the rows of each fold by the classifier fitted on all other rows."""
    scores = np.zeros((len(y), num_classes))
    for fold in np.unique(folds[folds >= 0]):
        held = folds == fold
        model = _fit_one(kind, x, y, ~held, num_classes)
        scores[held] = _score(kind, model, x[held])
    return scores


def _fit_one(
    kind: str, x: np.ndarray, y: np.ndarray, rows: np.ndarray, num_classes: int
) -> Mapping[str, np.ndarray]:
    """A classifier on the chosen `rows`, bool [N]."""
    if kind == "lda":
        return lda.fit(x, y, num_classes=num_classes, rows=rows)
    return svm.fit_one(x[rows], y[rows], num_classes=num_classes, c=_SVM_C)


def _score(kind: str, model: Params, x: np.ndarray) -> np.ndarray:
    """Scores [N, C], which sum to 0 in each row."""
    scores = np.asarray(_SCORES[kind](model, x), np.float64)
    # A class that training had no row of has -inf, which would spoil means.
    scores = np.maximum(scores, -1e4)
    return scores - scores.mean(axis=-1, keepdims=True)


def _below(params: Params, name: str) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(f"{name}/"): value
        for key, value in params.items()
        if key.startswith(f"{name}/")
    }
