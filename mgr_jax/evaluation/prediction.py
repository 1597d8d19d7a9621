"""The prediction for one track, as a value."""

import dataclasses
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from mgr_jax.escape import printable

# Of the HTML for notebooks.
_SHOWN = 5  # Genres.
_COLUMNS = 120  # Of the picture over time, at most.
_MAX_CANDIDATES = 3
_BAR = "display:inline-block;height:.7em;background:#1f77b4;width:{:.1f}em"


@dataclasses.dataclass(frozen=True, repr=False, eq=False)  # Arrays have no truth value.
class Prediction:
    """The prediction for one track.

    All probabilities are calibrated if the model is, and those of a track or a window sum to 1.

    Attributes:
      label: the most probable genre.
      probabilities: probability of each label, highest first: the normalised geometric mean over
        the windows, see `evaluation.tracks`.
      labels: the genres in the order of `windows`.
      windows: probabilities of each window [W, C].
      unlike: bool [W], windows that are unlike the music that the model was trained on.
      window_starts_seconds: start of each window [W].
      window_seconds: length of a window; the audio may be shorter.
      duration_seconds: length of the audio.
      note: a warning about a file that could be read but is defective; else empty.
      cautions: reasons not to rely on the answer, a clause each.
      confidence: probability of `label`.
      uncertain: whether `confidence` is below the threshold (with a coverage, whether the set has
        more than one genre), or most of the track is unlike the music that the model was trained
        on.
      label_set: genres that hold the right one with the requested coverage, most probable first;
        empty if none was requested. See `evaluation.conformal`.
      threshold: confidence below which the prediction is uncertain.
    """

    label: str
    probabilities: dict[str, float]
    labels: tuple[str, ...]
    windows: np.ndarray
    unlike: np.ndarray
    window_starts_seconds: np.ndarray
    window_seconds: float
    duration_seconds: float
    note: str
    cautions: tuple[str, ...]
    confidence: float
    uncertain: bool
    label_set: tuple[str, ...] = ()
    threshold: float = 0.5

    @property
    def candidates(self) -> tuple[str, ...]:
        """The genres in play, most probable first: `label_set`, or those that reach the threshold.

        Those are the fewest genres whose probabilities sum to it; none if that takes more than 3.
        """
        if self.label_set:
            return self.label_set
        sums = np.cumsum(list(self.probabilities.values()))
        count = 1 + int((sums < self.threshold - 1e-9).sum())
        return tuple(self.probabilities)[:count] if count <= _MAX_CANDIDATES else ()

    def __repr__(self) -> str:
        doubt = ", uncertain" if self.uncertain else ""
        seconds = f"{self.duration_seconds:.1f} s"
        name = either(self.label_set or (self.label,))
        return f"Prediction({name!r}, {100 * self.confidence:.0f} %{doubt}, {seconds})"

    def _repr_html_(self) -> str:
        return _to_html(self)


def either(labels: Sequence[str]) -> str:
    """Return labels as alternatives: `pop`, `pop or disco`, `pop, disco or rock`."""
    *others, last = labels
    return f"{', '.join(others)} or {last}" if others else last


def verdict(value: Prediction, mark: Callable[[str], str] = str) -> str:
    """Return the genre, or for an uncertain prediction text such as `not sure: pop or disco`.

    `mark` formats the genres.
    """
    if not value.uncertain:
        return mark(value.label)
    names = [mark(label) for label in value.candidates]
    if not names:
        return "not sure: no genre stands out"
    return f"not sure: {either(names) if names[1:] else f'perhaps {names[0]}'}"


def _to_html(value: Prediction) -> str:
    """Return the answer, its probabilities and genre over time, for light and dark notebooks."""
    genres = list(value.probabilities.items())[:_SHOWN]
    rows = "".join(
        f'<tr><td style="text-align:left">{_text(name)}</td>'
        f'<td style="text-align:right">{100 * share:.0f} %</td>'
        f'<td style="text-align:left"><span style="{_BAR.format(10 * share)}"></span></td></tr>'
        for name, share in genres
    )
    remarks = "; ".join(filter(None, (*value.cautions, value.note)))
    return (
        f"<div><strong>{_text(verdict(value))}</strong> {100 * value.confidence:.0f} %"
        f"{f'<br><small>{_text(remarks)}</small>' if remarks else ''}"
        f"<table>{rows}</table>{_over_time(value, [name for name, _ in genres])}</div>"
    )


def _over_time(value: Prediction, genres: list[str]) -> str:
    """Return a picture with time to the right and a row a genre, darker if more probable."""
    columns = [value.labels.index(name) for name in genres]
    pieces = np.array_split(value.windows[:, columns], min(len(value.windows), _COLUMNS))
    cells = "".join(
        f'<rect x="{i}" y="{row}" width="1.05" height="0.9" fill="#1f77b4" fill-opacity="{p:.2f}"/>'
        for i, piece in enumerate(pieces)
        for row, p in enumerate(piece.mean(axis=0))
    )
    title = f"{', '.join(genres)} over {value.duration_seconds:.0f} s, from top to bottom"
    return (
        f'<svg role="img" aria-label="{_text(title)}" viewBox="0 0 {len(pieces)} {len(genres)}"'
        f' preserveAspectRatio="none" style="width:30em;height:{1.1 * len(genres):.1f}em">'
        f"<title>{_text(title)}</title>{cells}</svg>"
    )


def _text(text: str) -> str:
    return escape(printable(text))
