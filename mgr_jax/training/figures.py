"""The confusion matrix of the best epoch so far, as an image in TensorBoard."""

import io
import time
from collections.abc import Sequence

import numpy as np

from mgr_jax.training.checkpoint import rank
from mgr_jax.training.writer import MetricsWriter

# Drawing takes as long as an epoch of a small network.
_SECONDS_BETWEEN = 60.0


class BestConfusion:
    """Draws the best epoch's confusion matrix: at most once a minute, and at the end."""

    def __init__(
        self, writer: MetricsWriter, labels: Sequence[str], records: Sequence[dict[str, float]]
    ) -> None:
        """`records` are those of earlier epochs, whose figures have been drawn."""
        self._writer, self._labels = writer, labels
        self._best = max(map(rank, records), default=(-np.inf, -np.inf))
        self._pending_figure: tuple[dict[str, float], np.ndarray] | None = None
        self._drawn = time.monotonic()

    def after_epoch(self, record: dict[str, float], matrix: np.ndarray) -> None:
        """Take an epoch's record and the confusion matrix `[C, C]` of its validation part."""
        if rank(record) > self._best:
            self._best, self._pending_figure = rank(record), (record, matrix)
        if time.monotonic() - self._drawn > _SECONDS_BETWEEN:
            self.close()

    def close(self) -> None:
        """Draw the pending figure, if there is one."""
        if self._pending_figure is None:
            return
        from mgr_jax.evaluation.reports import plots  # Here: matplotlib takes a second to import.

        record, matrix = self._pending_figure
        png = io.BytesIO()
        hits, num_tracks = np.trace(matrix), matrix.sum()
        title = f"after epoch {record['epoch']}: {hits} of {num_tracks} validation tracks correct"
        plots.confusion_matrix(png, matrix, self._labels, title)
        self._writer.write_image("valid_confusion", png.getvalue(), step=int(record["step"]))
        self._pending_figure, self._drawn = None, time.monotonic()
