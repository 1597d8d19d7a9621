"""The prediction for one track, as a value."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one track.

    All probabilities are calibrated if the model is, and those of a track or a window sum to 1.

    Attributes:
      label: the most probable genre.
      probabilities: probability of each label, highest first: the normalised geometric mean over
        the windows, see `evaluation.tracks`.
      windows: probabilities of each window [W, C], with classes in the order of `Predictor.labels`.
      unlike: bool [W], windows that are unlike the music that the model was trained on.
      window_starts_seconds: start of each window [W].
      window_seconds: length of a window; the audio may be shorter.
      duration_seconds: length of the audio.
      note: a warning about a file that could be read but is defective; else empty.
      cautions: reasons not to rely on the answer, a clause each.
      confidence: probability of `label`.
      uncertain: whether `confidence` is below the threshold, or most of the track is unlike the
        music that the model was trained on.
    """

    label: str
    probabilities: dict[str, float]
    windows: np.ndarray
    unlike: np.ndarray
    window_starts_seconds: np.ndarray
    window_seconds: float
    duration_seconds: float
    note: str
    cautions: tuple[str, ...]
    confidence: float
    uncertain: bool
