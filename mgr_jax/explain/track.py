"""The explanation of a whole track, window by window, by the method that suits the system."""

import dataclasses
import functools
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import hearing
from mgr_jax.data import windows
from mgr_jax.errors import UserError
from mgr_jax.evaluation.prediction import Prediction
from mgr_jax.evaluation.reports.explanation import LARGE_ERROR, Explanation
from mgr_jax.evaluation.scores import normalize
from mgr_jax.evaluation.tracks import pool_windows
from mgr_jax.explain import cells, deletion, gradients, linear, occlusion, path
from mgr_jax.explain.cells import Cells
from mgr_jax.features import filters, spectral
from mgr_jax.system import System

# Kinds of features whose exact contributions are carried back to time and frequency.
_CARRIED_BACK = ("mfcc_stats", "flattened")
# Most columns of attributions and of the picture; most bands of attributions.
_MAX_COLUMNS, _MAX_BANDS = 600, 128
_DELETED = (40, 16)  # Most columns and bands that are deleted.
_N_FFT, _N_MELS = 1024, 64  # Of the picture.
_NUM_FEATURES = 20  # that an explanation lists.
_REMARKS = {"linear": "of what was added up, which need not be what the answer depends on"}


class Part(NamedTuple):
    """The explanation of a window that starts at `start` seconds."""

    start: float
    attribution: gradients.Attribution


def choose_method(system: System, method: str = "auto") -> str:
    """Return the method that suits a system, or `method` if it is another that does.

    It is `linear` where the contributions of features are exact and can be carried back to cells,
    `integrated_gradients` for networks and for linear systems on other features, else `occlusion`.

    Raises:
      UserError: if `method` does not suit the system.
    """
    config = system.config
    is_linear = linear.is_linear(config.model.name, system.variables)
    suited = ["occlusion"]
    if config.model.name in config_lib.NETWORKS or is_linear:
        suited.insert(0, "integrated_gradients")
    if is_linear and config.features.kind in _CARRIED_BACK:
        suited.insert(0, "linear")
    if method not in ("auto", *suited):
        raise UserError(
            f"method {method}: {config.model.name} on {config.features.kind} can be"
            f" explained by {' or '.join(suited)}"
        )
    return suited[0] if method == "auto" else method


@dataclasses.dataclass(frozen=True)
class Explainer:
    """Explains tracks of a system, whose gradients it compiles once.

    Attributes:
      system: the system.
      score_audio: batch of windows of audio -> their scores.
      batch_size: windows of a batch.
    """

    system: System
    score_audio: hearing.Score
    batch_size: int

    def explain(
        self,
        waveform: np.ndarray,
        prediction: Prediction,
        *,
        label: str | None = None,
        method: str = "auto",
    ) -> Explanation:
        """Return the explanation of a label for a track.

        Integrated gradients that miss more than a fifth of the score, as of some recurrent networks
        on long windows, give way to occlusion if `method` is `auto`.

        Args:
          waveform: [T] at the rate of the system.
          prediction: that of the waveform.
          label: None is the predicted one.
          method: see `choose_method`.

        Raises:
          UserError: if the system does not have the label, or the method does not suit it.
        """
        name, chosen = label or prediction.label, choose_method(self.system, method)
        if name not in self.system.labels:
            raise UserError(f"label {name!r}: it must be one of {', '.join(self.system.labels)}")
        probability = prediction.probabilities[name]
        explanation = self._explain(waveform, name, probability, chosen)
        error = explanation.completeness_error
        if method == "auto" and error is not None and error > LARGE_ERROR:
            remark = f"integrated gradients miss {100 * error:.0f} % of the score"
            explanation = self._explain(waveform, name, probability, "occlusion")
            explanation = dataclasses.replace(explanation, remark=remark)
        return explanation

    def _explain(
        self, waveform: np.ndarray, label: str, probability: float, method: str
    ) -> Explanation:
        """Return the explanation of a label by a method."""
        config = self.system.config
        rate, index = config.features.sample_rate, self.system.labels.index(label)
        parts = [
            Part(start / rate, self._attribute(piece, count, index, method))
            for start, piece, count in _windows(waveform, config)
        ]
        # The score of a track is the mean over its windows, and so are its attributions. Logits are
        # those of the probability that is shown, decision values are as they are.
        scale = float(len(parts))
        if method != "occlusion" and config.model.name != "svm":
            scale *= self.system.temperature or 1.0
        return assemble(
            waveform,
            config.features,
            parts,
            scale=scale,
            window=hearing.window_length(config),
            label=label,
            probability=probability,
            method=method,
            remark=_REMARKS.get(method, ""),
            score=_describe_score(config, method, label),
            baseline=_describe_baseline(config, method),
        )

    def delete(
        self, waveform: np.ndarray, explanation: Explanation, *, seed: int = 0
    ) -> deletion.Curves:
        """Return the deletion curves of an explanation of a track `waveform` [T].

        Cells are those of the explanation, at most 40 x 16 of them.
        """
        index = self.system.labels.index(explanation.label)

        def probability(variants: np.ndarray) -> np.ndarray:
            return np.exp(self._score_tracks(variants)[:, index])

        return deletion.deletion_curves(
            probability,
            waveform,
            Cells(*explanation.coarse(*_DELETED)),
            sample_rate=self.system.config.features.sample_rate,
            seed=seed,
        )

    @functools.cached_property
    def _by_gradients(self) -> gradients.Attribute:
        return gradients.make_attribute(self.system)

    def _attribute(
        self, piece: np.ndarray, count: int, label: int, method: str
    ) -> gradients.Attribution:
        """Return the explanation of one window [T] with `count` samples of audio."""
        if method != "occlusion":
            return self._by_gradients(piece, count, label, method)
        rate = self.system.config.features.sample_rate
        return gradients.Attribution(
            occlusion.occlude(
                lambda variants: self._score_tracks(variants)[:, label],
                piece[:count],
                *occlusion.grid(count / rate, rate),
                sample_rate=rate,
            )
        )

    def _score_tracks(self, waveforms: np.ndarray) -> np.ndarray:
        """Return the calibrated log-probabilities [V, C] of V tracks [V, T]."""
        cut = [
            (track, piece, count)
            for track, waveform in enumerate(waveforms)
            for _, piece, count in _windows(waveform, self.system.config)
        ]
        tracks, pieces, counts = map(np.array, zip(*cut, strict=True))
        scores = []
        for start in range(0, len(pieces), self.batch_size):
            rows = slice(start, start + self.batch_size)
            padding = (0, self.batch_size - len(pieces[rows]))
            batch = {
                "waveform": np.pad(pieces[rows], (padding, (0, 0))),
                "num_samples": np.pad(counts[rows].astype(np.int32), padding),
            }
            of_batch = np.asarray(self.score_audio(batch).log_probabilities, np.float64)
            scores.append(of_batch[: len(pieces[rows])])
        scale = self.system.temperature or 1.0
        return normalize(pool_windows(np.concatenate(scores), tracks) / scale)


def assemble(
    waveform: np.ndarray,
    features: config_lib.Features,
    parts: Sequence[Part],
    *,
    scale: float,
    window: int,
    **facts: Any,
) -> Explanation:
    """Return the explanation of a track from those of its windows.

    Args:
      waveform: [T].
      features: the front end.
      parts: the windows in order.
      scale: divisor of the sum over the windows.
      window: samples of a window.
      facts: the fields of `Explanation` that are known already.
    """
    rate = features.sample_rate
    joined = _join(parts, len(waveform) / rate, is_repeated=len(waveform) < 0.99 * window)
    values = joined.values / scale
    changes = [part.attribution.change for part in parts if part.attribution.change is not None]
    change = sum(changes) / scale if changes else None
    error = None
    if change is not None:
        error = abs(float(values.sum()) - change) / max(abs(change), 1e-9)
    picture = mel_decibels(waveform, rate)
    return Explanation(
        attributions=values,
        seconds=joined.seconds,
        hz=joined.hz,
        change=change,
        completeness_error=error,
        features=_features(features, parts, scale),
        decibels=picture.values,
        decibel_hz=picture.hz,
        **facts,
    )


def mel_decibels(waveform: np.ndarray, sample_rate: float) -> Cells:
    """Return the mel spectrogram [F, 64] of a waveform [T] in decibels, of at most 600 frames."""
    hop = max(256, -(-len(waveform) // _MAX_COLUMNS))
    power = spectral.mel_spectrogram(
        waveform, sample_rate=sample_rate, hop_length=hop, n_fft=_N_FFT, n_mels=_N_MELS
    )
    decibels = 10 * np.log10(np.maximum(np.asarray(power), 1e-10))
    seconds = np.linspace(0, len(waveform) / sample_rate, len(decibels) + 1)
    return Cells(decibels, seconds, cells.mel_edges(_N_MELS, fmax=sample_rate / 2))


def _windows(waveform: np.ndarray, config: config_lib.Config) -> Iterator[windows.Window]:
    """Yield the windows of a track [T] that are scored."""

    def blocks() -> Generator[np.ndarray, None, str]:
        yield waveform
        return ""

    window = hearing.window_length(config)
    yield from windows.cut(blocks(), window=window, hop=window, least=hearing.least_new(config))


def _join(parts: Sequence[Part], duration: float, *, is_repeated: bool) -> Cells:
    """Return the sum of the windows, which start at some second, in cells of the whole track."""
    first = parts[0].attribution.cells
    hz = first.hz
    if len(hz) - 1 > _MAX_BANDS:
        low, high = filters.hz_to_mel(hz[[0, -1]])
        hz = filters.mel_to_hz(np.linspace(low, high, _MAX_BANDS + 1))
    width = np.median(np.diff(first.seconds))
    seconds = np.linspace(0, duration, min(_MAX_COLUMNS, max(1, round(duration / width))) + 1)
    # A window that is longer than the audio repeats it.
    period = duration if is_repeated else np.inf
    total = np.zeros((len(seconds) - 1, len(hz) - 1))
    for part in parts:
        own = part.attribution.cells
        shifted = own._replace(seconds=own.seconds + part.start)
        total += cells.spread(shifted, seconds, hz, period=period).values
    return Cells(total, seconds, hz)


def _describe_score(config: config_lib.Config, method: str, label: str) -> str:
    if method == "occlusion":
        return f"log-probability of {label}"
    if config.model.name == "svm":
        return f"sum of the decision values of {label} against the other labels"
    return f"logit of {label} minus the mean logit of the other labels"


def _describe_baseline(config: config_lib.Config, method: str) -> str:
    if method == "occlusion":
        return "the track without the cell"
    if method == "linear":
        return "the mean of the training part"
    return path.describe_baseline(config.features)


def _features(
    features: config_lib.Features, parts: Sequence[Part], scale: float
) -> dict[str, float]:
    """Return the largest contributions of features of a linear system by name."""
    rows = [part.attribution.contributions for part in parts]
    rows = [row for row in rows if row is not None]
    if not rows:
        return {}
    values = np.sum(rows, axis=0) / scale
    names = linear.feature_names(features, len(values))
    order = np.argsort(-np.abs(values), kind="stable")[:_NUM_FEATURES]
    return {names[i]: float(values[i]) for i in order}
