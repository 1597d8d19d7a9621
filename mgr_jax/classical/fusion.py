"""A head on tags and an ensemble of spectrogram views, combined by two weights.

Both are fitted to the same tracks and score them by cross-validation, and `stacking` fits the
weights of least cross entropy to these scores, which calibrates the sum as well. The parameters
are one flat dict: `spectrogram/...` of `ensemble`, `tags/...` of `tag_head`, `weights` [2] in this
order, and `threshold`, the 99th percentile of `tag_head.distances` of held-out tracks.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mgr_jax.classical import ensemble, library, stacking, tag_head
from mgr_jax.config import Features

Params = Mapping[str, np.ndarray]

_QUANTILE = 0.99


@dataclasses.dataclass(frozen=True)
class Report:
    """Figures that are cross-validated within the tracks that a model is fitted to.

    Attributes:
      accuracy: accuracy of `spectrogram`, `tags`, `both`, and of each member of the spectrograms'
        ensemble. The weights of `both` are fitted to the other folds for each fold.
      weights: weights of `spectrogram` and `tags`, times the mean deviation of their scores.
    """

    accuracy: dict[str, float]
    weights: dict[str, float]


def fit(
    x: np.ndarray,
    tags: np.ndarray,
    y: np.ndarray,
    folds: np.ndarray,
    artists: Sequence[str],
    *,
    num_classes: int,
    features: Features,
    seed: int = 0,
) -> tuple[dict[str, np.ndarray], Report]:
    """Fit both parts to all rows that have their input, and weight them by held-out scores.

    Args:
      x: log spectrograms [N, F, K].
      tags: vectors [N, T] of `tag_head.summarize`; NaN for a track without tags.
      y: labels [N], integers below `num_classes`.
      folds: fold [N] of each row, which parts fitted to the other folds score; rows of fold -1,
        which must be all without tags, are only learned from.
      artists: artist [N] of each track.
      num_classes: C.
      features: `sample_rate` and `n_fft` of the spectrograms.
      seed: seed of the views.

    Returns:
      Parameters for `log_probabilities` and `relative_distances`, and figures.

    Raises:
      UserError: if the spectrograms are too few or too small for a view.
      ValueError: if a row of a fold has no tags.
    """
    scored, has_tags = folds >= 0, np.isfinite(tags).all(axis=1)
    if (scored & ~has_tags).any():
        raise ValueError("tags: a row of a fold has NaN; give it fold -1")
    spectrogram, choice = ensemble.fit(
        x,
        y,
        folds,
        num_classes=num_classes,
        features=features,
        seed=seed,
        listed=library.LINEAR,
    )
    owners = np.asarray(artists)
    tag_scores, distances = np.zeros((len(y), num_classes)), np.zeros(len(y))
    for fold in np.unique(folds[scored]):
        held_out, rows = folds == fold, has_tags & (folds != fold)
        head = tag_head.fit(tags[rows], y[rows], owners[rows].tolist(), num_classes=num_classes)
        tag_scores[held_out] = ensemble.finite(tag_head.scores(head, tags[held_out]))
        distances[held_out] = tag_head.distances(head, tags[held_out])
    held_out_scores = np.stack([choice.held_out, tag_scores])[:, scored]
    truth = y[scored]
    weights = stacking.fit_weights(held_out_scores, truth)
    both = stacking.cross_validated(held_out_scores, truth, folds[scored])
    head = tag_head.fit(
        tags[has_tags], y[has_tags], owners[has_tags].tolist(), num_classes=num_classes
    )
    params = {f"spectrogram/{name}": value for name, value in spectrogram.items()}
    params |= {f"tags/{name}": value for name, value in head.items()}
    params["weights"] = weights
    params["threshold"] = np.asarray(np.quantile(distances[scored], _QUANTILE))
    shares = weights * np.std(held_out_scores, axis=2).mean(axis=1)
    names = ("spectrogram", "tags", "both")
    right = [scores.argmax(axis=1) == truth for scores in (*held_out_scores, both)]
    accuracy = {name: float(hits.mean()) for name, hits in zip(names, right, strict=True)}
    report = Report(
        accuracy=accuracy | choice.accuracy,
        weights=dict(zip(names[:2], shares.tolist(), strict=True)),
    )
    return params, report


def log_probabilities(params: Params, x: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return the log-probabilities [N, C] of log spectrograms [N, F, K] and vectors [N, T]."""
    return stacking.combine(np.stack(part_scores(params, x, tags)), params["weights"])


def part_scores(params: Params, x: np.ndarray, tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores [N, C] of the spectrograms and those of the tags, before their weights."""
    spectrogram = ensemble.log_probabilities(ensemble.subtree(params, "spectrogram"), x)
    return spectrogram, ensemble.finite(tag_head.scores(ensemble.subtree(params, "tags"), tags))


def relative_distances(params: Params, tags: np.ndarray) -> np.ndarray:
    """Return how far vectors [N, T] are from the training tracks: above 1, they are unlike them."""
    return tag_head.distances(ensemble.subtree(params, "tags"), tags) / params["threshold"]
