"""An ensemble of discriminants and support vector machines on several views of a spectrogram.

Every member scores every track; scores are centred, divided by their spread, averaged, and turned
into probabilities by one slope. Spreads and slope come from cross-validated scores within the
training part (artists kept whole), so that nothing is fitted to scores of tracks that the member
has learned. All members have equal weight: nothing is chosen at training.

The model is one flat dict of arrays, `member/array`; there is no state to step through, hence one
file and not a workdir for each member.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mgr_jax.classical import lda, svm, views
from mgr_jax.config import Features
from mgr_jax.errors import UserError

Params = Mapping[str, np.ndarray]

_LOG24 = {"scale": "log", "n_bands": 24, "fmin": 90.0}
VIEWS = {
    "texture": views.View("texture"),
    "covariance_4": views.View("covariance", width=4, num_components=30),
    "covariance_8": views.View("covariance", width=8, num_components=45),
    "covariance_log": views.View("covariance", width=4, num_components=30, **_LOG24),
    "words_8": views.View("words", width=8, num_components=80, num_words=512),
    "words_8b": views.View("words", width=8, num_components=80, num_words=512, seed=1),
    "words_8c": views.View("words", width=8, num_components=80, num_words=512, seed=2),
    "words_4": views.View("words", width=4, num_components=40, num_words=512),
    "words_log": views.View("words", width=8, num_components=60, num_words=512, **_LOG24),
}
# View and classifier of each member.
MEMBERS = (
    ("texture", "lda"),
    ("texture", "svm"),
    ("covariance_4", "lda"),
    ("covariance_4", "svm"),
    ("covariance_8", "lda"),
    ("covariance_8", "svm"),
    ("covariance_log", "lda"),
    ("covariance_log", "svm"),
    ("words_8", "lda"),
    ("words_8b", "lda"),
    ("words_8c", "lda"),
    ("words_4", "lda"),
    ("words_log", "lda"),
)
_SVM_C = 10.0
_SLOPES = (1e-2, 20.0)
_SEEDS_APART = 1000  # further than the seeds of two views


def fit(
    x: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    *,
    num_classes: int,
    features: Features,
    seed: int = 0,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Fits all members on all rows, and the combination on cross-validated scores.

    Args:
      x: log spectrograms [N, F, K]. y: labels [N].
      folds: fold [N] of each row, which is scored by members fitted on the others; rows of fold -1
        are not scored.
      num_classes: C.
      features: `sample_rate` and `n_fft` of the spectrograms.
      seed: of the patches that views are fitted to, and of the codebooks.

    Returns:
      The model, and the cross-validated accuracy of each member and of the `ensemble`.

    Raises:
      UserError: if the spectrograms are too few or too small for a view.
    """
    members = [f"{view}_{classifier}" for view, classifier in MEMBERS]
    out = np.zeros((len(members), len(y), num_classes))
    for fold in np.unique(folds[folds >= 0]):
        held = folds == fold
        params = _fit_members(x[~held], y[~held], num_classes, features, seed)
        out[:, held] = _member_scores(params, x[held], features)
    known = folds >= 0
    out, truth = out[:, known], y[known]
    spread = np.sqrt(np.mean(np.square(_centred(out)), axis=(1, 2)))
    combined = np.mean(_centred(out) / spread[:, None, None], axis=0)

    def loss(log_slope: float) -> float:
        return -log_softmax(np.exp(log_slope) * combined, axis=1)[
            np.arange(len(truth)), truth
        ].mean()

    slope = np.exp(minimize_scalar(loss, bounds=np.log(_SLOPES), method="bounded").x)
    scores = dict(zip(members, np.mean(out.argmax(-1) == truth, axis=1).tolist(), strict=True))
    scores["ensemble"] = float(np.mean(combined.argmax(-1) == truth))
    params = _fit_members(x, y, num_classes, features, seed)
    params |= {
        "spread": spread,
        "slope": np.asarray(slope),
        "num_classes": np.asarray(num_classes),
        "shape": np.asarray(x.shape[1:]),
        "sample_rate": np.asarray(features.sample_rate),
        "n_fft": np.asarray(features.n_fft),
    }
    return params, scores


def log_probabilities(params: Params, x: np.ndarray) -> np.ndarray:
    """Log-probabilities [N, C] of log spectrograms `x` [N, F, K]."""
    features = Features(sample_rate=int(params["sample_rate"]), n_fft=int(params["n_fft"]))
    scores = _centred(_member_scores(params, np.asarray(x, np.float32), features))
    combined = np.mean(scores / params["spread"][:, None, None], axis=0)
    return log_softmax(combined * float(params["slope"]), axis=1)


def check_shapes(shape: Sequence[int]) -> None:
    """Raises `UserError` if spectrograms `[F, K]` are too small for the views."""
    frames, bins = shape
    if frames < 130 or bins < 64:
        raise UserError(
            f"model.name 'ensemble' needs spectrograms of 130 frames and 64 bins or more, not"
            f" {frames} and {bins}; use a longer clip, or another model"
        )


def _fit_members(
    x: np.ndarray, y: np.ndarray, num_classes: int, features: Features, seed: int
) -> dict[str, np.ndarray]:
    params, vectors = {}, {}
    for name, view in VIEWS.items():
        drawn = dataclasses.replace(view, seed=view.seed + _SEEDS_APART * seed)
        fitted = views.fit(drawn, x, features)
        vectors[name] = views.transform(view, fitted, x, features)
        params |= {f"{name}/{key}": value for key, value in fitted.items()}
    for name, classifier in MEMBERS:
        if classifier == "lda":
            fitted = lda.fit(vectors[name], y, num_classes=num_classes)
        else:
            fitted = svm.fit_one(vectors[name], y, num_classes=num_classes, c=_SVM_C)
        params |= {f"{name}_{classifier}/{key}": np.asarray(v) for key, v in fitted.items()}
    return params


def _member_scores(params: Params, x: np.ndarray, features: Features) -> np.ndarray:
    """Scores [M, N, C] of the members."""
    vectors = {
        name: views.transform(view, _below(params, name), x, features)
        for name, view in VIEWS.items()
    }
    scores = []
    for name, classifier in MEMBERS:
        score = lda.discriminants if classifier == "lda" else svm.decision_function
        scores.append(score(_below(params, f"{name}_{classifier}"), vectors[name]))
    # A class that training had no row of has -inf, which would spoil means.
    return np.maximum(np.asarray(scores, np.float64), -1e4)


def _below(params: Params, name: str) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(f"{name}/"): value
        for key, value in params.items()
        if key.startswith(f"{name}/")
    }


def _centred(scores: np.ndarray) -> np.ndarray:
    return scores - scores.mean(axis=-1, keepdims=True)
