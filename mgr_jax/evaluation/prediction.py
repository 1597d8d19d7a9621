"""What a model says of one track, as a value."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of a track.

    Attributes:
      label: the most probable genre.
      probabilities: probability of each label, best first: the mean over the windows in the
        logarithm, as `evaluation.tracks` has it.
      windows: probabilities of each window `[W, C]`, C in the order of `Predictor.labels`.
      window_starts_seconds: where each window begins `[W]`.
      window_seconds: length of a window; the audio may be shorter.
      duration_seconds: length of the audio.
      note: what is odd about the file although it could be read; empty if nothing.
      confidence: probability of `label`, calibrated if the model is.
      uncertain: whether `confidence` is below the threshold.
    """

    label: str
    probabilities: dict[str, float]
    windows: np.ndarray
    window_starts_seconds: np.ndarray
    window_seconds: float
    duration_seconds: float
    note: str
    confidence: float
    uncertain: bool
