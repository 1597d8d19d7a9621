"""An ensemble of discriminants and support vector machines on several views of a spectrogram.

The members are either listed, with equal weights, or chosen in training: each classifier on each
view of the library scores the training part by cross-validation (which keeps artists whole),
`classical.stacking` fits the weights of least cross entropy to these scores, and members whose
weight is 0 are dropped. An outer cross-validation of a chosen ensemble is nested, since its test
folds take no part in any choice. Views are fitted to the whole training part, without its labels.

The model is one flat dict of arrays named `view/classifier/array`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from mgr_jax.classical import held_out as held_out_lib
from mgr_jax.classical import lda, library, stacking, svm, views
from mgr_jax.config import Features
from mgr_jax.errors import UserError

Params = Mapping[str, np.ndarray]

_SVM_C = 10.0
_SEED_STRIDE = 1000  # larger than the seed of any view
_MIN_SHARE = 1e-3  # members with a smaller share of the weights are dropped

_SCORES = {"lda": lda.discriminants, "svm": svm.decision_function}


@dataclasses.dataclass(frozen=True)
class Choice:
    """The members that training chose, with figures cross-validated within the training part.

    Attributes:
      accuracy: accuracy of each candidate.
      weights: share of each member that is used; they sum to 1.
      ensemble_accuracy: accuracy of the weighted members. Chosen weights are fitted to the other
        folds for each fold.
      held_out: log-probabilities [N, C] of the weighted members for rows that they were not fitted
        to; NaN for rows of fold -1.
    """

    accuracy: dict[str, float]
    weights: dict[str, float]
    ensemble_accuracy: float
    held_out: np.ndarray


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
    """Weight the members by their cross-validated scores, and fit them to all rows.

    Args:
      x: log spectrograms [N, F, K]. y: labels [N].
      folds: fold [N] of each row, which members fitted to the other folds score; rows of fold -1
        are only learned from.
      num_classes: C.
      features: `sample_rate` and `n_fft` of the spectrograms.
      seed: seed of the patches that views are fitted to, and of the codebooks.
      listed: view and classifier of the members of equal weight; if empty, members are chosen.

    Returns:
      Parameters for `log_probabilities`, and the choice.

    Raises:
      UserError: if the spectrograms are too few or too small for a view.
    """
    members = list(listed) or [(view, kind) for view in library.VIEWS for kind in _SCORES]
    fitted, vectors = {}, {}
    for name in dict.fromkeys(view for view, _ in members):
        view = library.VIEWS[name]
        seeded = dataclasses.replace(view, seed=view.seed + _SEED_STRIDE * seed)
        fitted[name] = views.fit(seeded, x, features)
        vectors[name] = views.transform(view, fitted[name], x, features)
    scored = folds >= 0

    def held_out_scores(view: str, kind: str) -> np.ndarray:
        def score(rows: np.ndarray, tested: np.ndarray) -> np.ndarray:
            model = _fit_one(kind, vectors[view], y, rows, num_classes)
            return _score(kind, model, vectors[view][tested])

        return held_out_lib.scores(score, folds, num_classes=num_classes)

    scores = np.stack([held_out_scores(*member) for member in members])[:, scored]
    rms = np.sqrt(np.mean(np.square(scores), axis=(1, 2)))
    scores /= rms[:, None, None]
    truth = y[scored]
    if listed:
        slope = stacking.fit_weights(scores.mean(axis=0, keepdims=True), truth)
        weights = np.full(len(members), slope[0] / len(members))
    else:
        weights = stacking.fit_weights(scores, truth)
    if not weights.any():  # No member is better than guessing.
        weights = np.full(len(members), 1 / len(members))
    held_out = np.full((len(y), num_classes), np.nan)
    held_out[scored] = (
        stacking.combine(scores, weights)
        if listed
        else stacking.cross_validated(scores, truth, folds[scored])
    )
    kept = np.flatnonzero(weights > _MIN_SHARE * weights.sum())
    names = ["_".join(member) for member in members]
    choice = Choice(
        accuracy=dict(zip(names, np.mean(scores.argmax(2) == truth, axis=1).tolist(), strict=True)),
        weights={names[i]: float(weights[i] / weights[kept].sum()) for i in kept},
        ensemble_accuracy=float((held_out[scored].argmax(axis=1) == truth).mean()),
        held_out=held_out,
    )
    used = {view: library.VIEWS[view] for view, _ in (members[i] for i in kept)}
    params = {
        # The views are stored with the model, so that the library may change.
        "views": np.asarray(json.dumps({n: dataclasses.asdict(v) for n, v in used.items()})),
        "members": np.asarray([members[i] for i in kept]),
        "weights": weights[kept] / rms[kept],
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
    """Return the log-probabilities [N, C] of log spectrograms `x` [N, F, K]."""
    features = Features(sample_rate=int(params["sample_rate"]), n_fft=int(params["n_fft"]))
    x = np.asarray(x, np.float32)
    vectors = {
        name: views.transform(views.View(**view), subtree(params, f"{name}/view"), x, features)
        for name, view in json.loads(str(params["views"])).items()
    }
    scores = [
        _score(kind, subtree(params, f"{view}/{kind}"), vectors[view])
        for view, kind in params["members"]
    ]
    return stacking.combine(np.stack(scores), params["weights"])


def check_shapes(shape: Sequence[int]) -> None:
    """Raise `UserError` if spectrograms of `shape` [F, K] are too small for the views."""
    frames, bins = shape
    if frames < 130 or bins < 64:
        raise UserError(
            f"model.name 'ensemble' needs spectrograms of 130 frames and 64 bins or more, not"
            f" {frames} and {bins}; use a longer clip, or another model"
        )


def _fit_one(
    kind: str, x: np.ndarray, y: np.ndarray, rows: np.ndarray, num_classes: int
) -> Mapping[str, np.ndarray]:
    """Return a classifier fitted to `rows`, bool [N]."""
    if kind == "lda":
        model = lda.fit(x, y, num_classes=num_classes, rows=rows)
        return {name: np.asarray(value) for name, value in model.items()}
    return svm.fit_one(x[rows], y[rows], num_classes=num_classes, c=_SVM_C)


def _score(kind: str, model: Params, x: np.ndarray) -> np.ndarray:
    """Return scores [N, C] that sum to 0 in each row."""
    scores = finite(np.asarray(_SCORES[kind](model, x), np.float64))
    return scores - scores.mean(axis=-1, keepdims=True)


def finite(scores: np.ndarray) -> np.ndarray:
    """Return scores without the -inf of a class without a training row, which no sum survives."""
    return np.maximum(scores, -1e4)


def subtree(params: Params, name: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `name/`, without that."""
    return {
        key.removeprefix(f"{name}/"): value
        for key, value in params.items()
        if key.startswith(f"{name}/")
    }
