"""From windows to tracks: a track's class is judged by the mean over its windows."""

from collections.abc import Callable

import numpy as np

from mgr_jax.data import batches

# A batch of windows -> log-probabilities [B, C].
Predict = Callable[[batches.Batch], np.ndarray]


def judge(
    predict: Predict,
    part: batches.Part,
    *,
    batch_size: int,
    window: int,
    process_index: int = 0,
    process_count: int = 1,
) -> np.ndarray:
    """Log-probabilities of the tracks of a part, `[N, C]`.

    Each is the mean over the log-probabilities of the track's windows, normalised again: the
    geometric mean of their probabilities. Of several processes each reads its own rows of a batch;
    `predict` then gives the scores of all rows in all of them.
    """
    totals, counts = None, np.zeros(len(part.ids))
    for batch in batches.eval_batches(
        part,
        batch_size=batch_size,
        window=window,
        process_index=process_index,
        process_count=process_count,
    ):
        # Chosen, not multiplied by the mask: the score of a window of zeros may be NaN.
        real = batch["mask"] > 0
        scores = np.asarray(predict(batch), np.float64)[real]
        if totals is None:
            totals = np.zeros((len(part.ids), scores.shape[1]))
        np.add.at(totals, batch["row"][real], scores)
        np.add.at(counts, batch["row"][real], 1)
    return normalize(totals / counts[:, None])


def normalize(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities `[..., C]` that sum to 1 from scores that are off by a constant."""
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
