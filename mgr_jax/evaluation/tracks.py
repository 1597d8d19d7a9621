"""Scores of tracks: the mean over the log-probabilities of their windows."""

from collections.abc import Callable

import numpy as np

from mgr_jax.data import batches
from mgr_jax.evaluation import scores as scores_lib

# A batch of windows -> log-probabilities [B, C].
Predict = Callable[[batches.Batch], np.ndarray]


def score_tracks(
    predict: Predict,
    part: batches.Part,
    *,
    batch_size: int,
    window: int,
    process_index: int = 0,
    process_count: int = 1,
    as_int16: bool = False,
) -> np.ndarray:
    """Return the log-probabilities of the tracks of a part [N, C].

    The probabilities of a track are the normalised geometric mean over its windows. With several
    processes, each reads its own rows of a batch, and `predict` returns the scores of all rows.
    `as_int16` is that of `batches.eval_batches`.
    """
    scores, tracks = [], []
    for batch in batches.eval_batches(
        part,
        batch_size=batch_size,
        window=window,
        process_index=process_index,
        process_count=process_count,
        as_int16=as_int16,
    ):
        # Padding is dropped rather than masked, since the score of a window of zeros may be NaN.
        real = batch["mask"] > 0
        scores.append(np.asarray(predict(batch))[real])
        tracks.append(batch["row"][real])
    return pool_windows(np.concatenate(scores), np.concatenate(tracks))


def pool_windows(scores: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of N tracks [N, C] from those of their windows [W, C].

    `tracks` [W] has the index of each window's track; every track has at least one window.
    """
    counts = np.bincount(tracks)
    totals = np.zeros((len(counts), scores.shape[1]))
    np.add.at(totals, tracks, scores.astype(np.float64))
    return scores_lib.normalize(totals / counts[:, None])
