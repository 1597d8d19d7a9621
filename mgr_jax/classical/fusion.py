"""A head on tags and an ensemble of spectrogram views, combined by two weights.

Both are fitted to the same tracks and score them by cross-validation, and `stacking` fits the
weights of least cross entropy to these scores, which calibrates the sum as well. The parameters
are one flat dict: `spectrogram/...` of `ensemble`, `tags/...` of `tag_head`, `weights` [2] in this
order, `threshold`, the 99th percentile of `tag_head.distances` of held-out tracks, and
`repetition`, the 1st percentile of `array_spectrogram.repetition` of the start of all tracks, of
each of `LENGTHS`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mgr_jax.classical import ensemble, library, stacking, tag_head
from mgr_jax.config import Features
from mgr_jax.features import array_spectrogram, musicnn

Params = Mapping[str, np.ndarray]

LENGTHS = (3.0, 5.0, 10.0, 15.0, 20.0, 30.0)  # in seconds
_RARE = 0.01  # Share of the tracks that repeat less than `repetition`.
# Below this a piece is noise: the lowest of the 639 training tracks has 0.041, white, pink and
# brown noise, bursts and clicks have 0.005 or less (`tests/test_shipped.py`).
_LEAST_PERSISTENCE = 0.02


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
      Parameters for `log_probabilities` and `strangeness`, and figures.

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
    tagged = (tags[has_tags], y[has_tags])
    owners = np.asarray(artists)[has_tags].tolist()
    tag_scores = np.zeros((len(y), num_classes))
    tag_scores[has_tags], _, threshold = tag_head.held_out(
        *tagged, folds[has_tags], owners, num_classes=num_classes
    )
    held_out_scores = np.stack([choice.held_out, ensemble.finite(tag_scores)])[:, scored]
    truth = y[scored]
    weights = stacking.fit_weights(held_out_scores, truth)
    both = stacking.cross_validated(held_out_scores, truth, folds[scored])
    head = tag_head.fit(*tagged, owners, num_classes=num_classes)
    params = {f"spectrogram/{name}": value for name, value in spectrogram.items()}
    params |= {f"tags/{name}": value for name, value in head.items()}
    params["weights"] = weights
    params["threshold"] = np.asarray(threshold)
    params["repetition"] = np.array(
        [np.quantile(_repetitions(x, np.full(len(x), length)), _RARE) for length in LENGTHS]
    )
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


def strangeness(
    params: Params, x: np.ndarray, tags: np.ndarray, seconds: np.ndarray
) -> dict[str, np.ndarray]:
    """Return three measures [N] of pieces, above 1 where a piece is unlike the training tracks.

    Args:
      params: those of `fit`.
      x: log spectrograms [N, F, K] of 30 s.
      tags: vectors [N, T].
      seconds: length [N] of the audio, which fills the 30 s by repetition.

    Returns:
      `tags`: `relative_distances`. `repetition`: lack of repetition within a beat, as in speech.
      `persistence`: lack of resemblance between neighbouring frames, as in noise.
    """
    least = np.interp(seconds, LENGTHS, params["repetition"])
    persistence = np.array([array_spectrogram.persistence(frames) for frames in x])
    return {
        "tags": relative_distances(params, tags),
        "repetition": (1 - _repetitions(x, seconds)) / (1 - least),
        "persistence": _LEAST_PERSISTENCE / np.maximum(persistence, 1e-3),
    }


def _repetitions(x: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    counts = map(array_spectrogram.count_frames, seconds)
    pairs = zip(x, counts, strict=True)
    return np.array([array_spectrogram.repetition(frames[:count]) for frames, count in pairs])


def shorten(
    x: np.ndarray, taggrams: Sequence[np.ndarray], *, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return spectrograms [N, F, K] and vectors [N, T] of the start of tracks, repeated to 30 s.

    Each piece of a spectrogram is normalised by itself, as a whole track is. Tags are those of the
    windows within the piece, without those across its repetitions.

    Args:
      x: log spectrograms [N, F, K] of 30 s, normalised.
      taggrams: probabilities [W, T] of the windows of each track.
      seconds: length of the pieces.
    """
    num_frames, count = x.shape[1], array_spectrogram.count_frames(seconds)
    if count == num_frames:
        return x, tag_head.summarize(taggrams)
    x = x[:, :count]
    low, median, high = np.percentile(x[:, :, 1:], (5, 50, 95), axis=(1, 2), keepdims=True)
    x = ((x - median) / np.maximum(high - low, 1e-6)).astype(np.float32)
    num_windows = max(1, musicnn.num_windows(round(seconds * musicnn.SAMPLE_RATE)))
    tags = tag_head.summarize([taggram[:num_windows] for taggram in taggrams])
    return x[:, np.arange(num_frames) % count], tags
