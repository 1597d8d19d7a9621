"""From audio to probabilities with a trained system.

Front end, labels, sample rate and weights always come from the workdir or the bundle, never from
flags, so that they cannot be mismatched.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import heard, hearing, parallel, pretrained, progress, workdir
from mgr_jax import system as system_lib
from mgr_jax.data import audio, windows
from mgr_jax.data.decoders import Blocks, Decoders
from mgr_jax.errors import UserError
from mgr_jax.evaluation import conformal
from mgr_jax.evaluation import scores as scores_lib
from mgr_jax.evaluation.prediction import Prediction

if TYPE_CHECKING:
    from mgr_jax.evaluation.reports.explanation import Explanation
    from mgr_jax.explain.track import Explainer

# Largest batch of windows, since the machine may have less memory than the one of the training.
_MAX_BATCH_SIZE = 16


@dataclasses.dataclass(frozen=True, repr=False)
class Predictor:
    """A trained system with a compiled function; several threads may use it at once.

    Attributes:
      system: config, labels, weights and results.
      predict_windows: batch of windows of the data that it was trained on -> log-probabilities
        [B, C].
      score_audio: batch of windows of audio -> their scores.
      batch_size: B.
      decoders: the processes that read files.
    """

    system: system_lib.System
    predict_windows: Callable[[dict[str, np.ndarray]], np.ndarray]
    score_audio: hearing.Score
    batch_size: int
    decoders: Decoders

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `predict_proba`."""
        return self.system.labels

    @property
    def config(self) -> config_lib.Config:
        """The config that the system was trained with."""
        return self.system.config

    @property
    def step(self) -> int:
        """Step of the checkpoint; 0 for a system that is fitted in one call."""
        return self.system.step

    @property
    def calibrated(self) -> bool:
        """Whether the probabilities of predictions are calibrated."""
        return self.system.temperature is not None

    @property
    def run(self) -> workdir.Run:
        """The workdir; raises `UserError` if the system was loaded from a bundle."""
        if self.system.run is None:
            raise UserError(
                f"workdir {self.system.path}: is a bundle, which has no data to score; give the"
                " workdir of the training"
            )
        return self.system.run

    def describe(self) -> str:
        """Return one line with model, data, and the accuracy with n, interval and protocol."""
        return self.system.describe()

    def __repr__(self) -> str:
        return f"Predictor({self.describe()}; {len(self.labels)} labels)"

    def _repr_html_(self) -> str:
        labels = escape(", ".join(self.labels))
        return f"<div><strong>{escape(self.describe())}</strong><br><small>{labels}</small></div>"

    def predict(
        self,
        source: str | os.PathLike | BinaryIO | np.ndarray,
        sample_rate: float | None = None,
        *,
        overlap: float = 0.0,
        threshold: float = 0.5,
        max_seconds: float | None = None,
        coverage: float | None = None,
    ) -> Prediction:
        """Predict the genre of a whole track, window by window.

        Args:
          source: path of an audio file, an open binary file (`io.BytesIO`), or a waveform [T] or
            [T, channels]: floats with full scale at +-1, or integers of full range.
          sample_rate: rate of the waveform in Hz; None for a file.
          overlap: share of a window that the next one overlaps, from 0 to 0.95.
          threshold: confidence below which the prediction is marked as uncertain, from 0 to 1.
          max_seconds: longest audio that is accepted; None accepts any length.
          coverage: share of the tracks of new artists whose `label_set` is to hold their genre,
            such as 0.9; None for no set. With it, the prediction is uncertain if the set has more
            than one genre, and `threshold` is not used.

        Raises:
          audio.AudioError: if the audio cannot be read, is empty, silent or too long.
          UserError: if the system was trained on arrays, not on audio, or has no tracks to
            calibrate sets with.
          ValueError: for a waveform without `sample_rate` or of a wrong shape, or a number that is
            out of range.
        """
        hearing.check(self.config)
        _check_settings(overlap, threshold, max_seconds)
        rule = None if coverage is None else self.set_rule(coverage)
        rate = self.config.features.sample_rate
        sources = self.decoders.read_source(source, sample_rate, sample_rate=rate)
        ((path, result),) = self._predict(sources, overlap, threshold, max_seconds, rule)
        if isinstance(result, audio.AudioError):
            raise audio.AudioError(f"{path}: {result}" if path else str(result)) from result
        return result

    def explain(
        self,
        source: str | os.PathLike | BinaryIO | np.ndarray,
        sample_rate: float | None = None,
        *,
        label: str | None = None,
        method: str = "auto",
    ) -> "Explanation":
        """Explain which times and which bands of a track carried its label.

        Args:
          source, sample_rate: as of `predict`.
          label: the label to explain; None is the predicted one.
          method: `linear`, `integrated_gradients` or `occlusion`; `auto` chooses by the system, see
            `explain.track.choose_method`.

        Raises:
          audio.AudioError, ValueError: as `predict` does.
          UserError: as `predict` does; if there is no such label, or the method does not suit.
        """
        hearing.check(self.config)
        rate = self.config.features.sample_rate
        waveform = self.read(source, sample_rate)
        prediction = self.predict(waveform, rate)
        return self.explainer.explain(waveform, prediction, label=label, method=method)

    def read(
        self, source: str | os.PathLike | BinaryIO | np.ndarray, sample_rate: float | None = None
    ) -> np.ndarray:
        """Return a whole track as a waveform [T] at the rate of the system.

        The arguments and errors are those of `predict`.
        """
        rate = self.config.features.sample_rate
        sources = self.decoders.read_source(source, sample_rate, sample_rate=rate)
        ((path, waveform),) = ((path, _waveform(blocks)) for path, blocks in sources)
        if isinstance(waveform, audio.AudioError):
            raise audio.AudioError(f"{path}: {waveform}" if path else str(waveform)) from waveform
        return waveform

    @functools.cached_property
    def explainer(self) -> "Explainer":
        """Explanations of waveforms, and the test of their trustworthiness."""
        from mgr_jax.explain import track  # Imported here, since predictions do not need it.

        return track.Explainer(self.system, self.score_audio, self.batch_size)

    def predict_files(
        self,
        paths: Iterable[str | os.PathLike],
        *,
        overlap: float = 0.0,
        threshold: float = 0.5,
        max_seconds: float | None = None,
        coverage: float | None = None,
    ) -> Iterator[tuple[str, Prediction | audio.AudioError]]:
        """Yield path and prediction of each file, in order; arguments and errors as in `predict`.

        Windows of several files share a batch, and the next files are decoded meanwhile. A file
        that cannot be read yields an `AudioError` instead of a prediction.
        """
        hearing.check(self.config)
        # Checked now, not when the first result is requested.
        _check_settings(overlap, threshold, max_seconds)
        rule = None if coverage is None else self.set_rule(coverage)
        return self._predict(self._read(paths), overlap, threshold, max_seconds, rule)

    def set_rule(self, coverage: float) -> conformal.Rule:
        """Return which genres are in sets of a coverage (`conformal.describe` tells it in words).

        Raises:
          UserError: if the system has no tracks to calibrate sets with.
          ValueError: if the coverage is not above 0 and below 1.
        """
        conformal.check(coverage)
        if self.system.calibration is None:
            remedy = "export it again from its workdir" if self.system.run is None else ""
            if self.system.run is not None:
                is_network = self.config.model.name in config_lib.NETWORKS
                remedy = "run evaluate" if is_network else "train it again, in another workdir"
            raise UserError(
                f"coverage: {self.system.path} has no tracks to calibrate sets of genres with;"
                f" {remedy}"
            )
        return conformal.make_rule(self.system.calibration, coverage, num_classes=len(self.labels))

    def predict_proba(self, paths: Iterable[str | os.PathLike]) -> np.ndarray:
        """Return the probabilities [N, C] of audio files, with classes in the order of `labels`.

        Raises:
          audio.AudioError: for the first file that cannot be read.
        """
        if isinstance(paths, str | bytes):
            raise ValueError("paths is one path; give a list of them")
        rows = []
        for path, result in self.predict_files(paths):
            if isinstance(result, audio.AudioError):
                raise audio.AudioError(f"{path}: {result}")
            rows.append([result.probabilities[label] for label in self.labels])
        return np.array(rows).reshape(-1, len(self.labels))

    def score_tracks(self, part) -> np.ndarray:
        """Return the log-probabilities [N, C] of the tracks of a `data.batches.Part`."""
        # Imported here, since they import grain.
        if self.config.model.name not in config_lib.NETWORKS:
            from mgr_jax.classical import fitting

            return fitting.score_tracks(self.config, self.system.variables, part)
        from mgr_jax.data import batches
        from mgr_jax.evaluation import tracks

        window = config_lib.window_length(self.config)
        # A batch is allocated as a whole, and that of the config may exceed the part by far.
        num_windows = max(1, len(batches.windows_of(part, window)))
        batch_size = min(self.config.train.batch_size, num_windows)
        batch_size = parallel.padded_batch_size(batch_size, parallel.make_mesh())
        with progress.Progress("score", total=num_windows, unit="window") as bar:

            def predict(batch: dict[str, np.ndarray]) -> np.ndarray:
                scores = self.predict_windows(batch)
                bar.update(int(batch["mask"].sum()))
                return scores

            return tracks.score_tracks(
                predict, part, batch_size=batch_size, window=window, as_int16=True
            )

    def _read(self, paths: Iterable[str | os.PathLike]) -> Iterator[tuple[str, Blocks]]:
        rate = self.config.features.sample_rate
        return self.decoders.read([os.fspath(path) for path in paths], sample_rate=rate)

    def _predict(
        self,
        sources: Iterator[tuple[str, Blocks]],
        overlap: float,
        threshold: float,
        max_seconds: float | None,
        rule: conformal.Rule | None,
    ) -> Iterator[tuple[str, Prediction | audio.AudioError]]:
        for track in heard.hear(
            sources,
            self.score_audio,
            self.config,
            batch_size=self.batch_size,
            overlap=overlap,
            max_seconds=max_seconds,
        ):
            yield track.path, self._result(track, threshold, rule)

    def _result(
        self, track: heard.Track, threshold: float, rule: conformal.Rule | None
    ) -> Prediction | audio.AudioError:
        if track.error is not None:
            return track.error
        # One temperature for the track and its windows, so that all that is shown agrees.
        scores = np.stack(track.scores) / (self.system.temperature or 1.0)
        log_p = scores_lib.normalize(scores.mean(axis=0))
        probabilities = np.exp(log_p)
        if not np.isfinite(probabilities).all():
            return audio.AudioError("gives probabilities that are not finite")
        order = np.argsort(-probabilities, kind="stable")
        confidence = float(probabilities[order[0]])
        strangeness, rate = np.array(track.strangeness), self.config.features.sample_rate
        window = hearing.window_length(self.config)
        cautions, note, frame = [], track.note, self.config.features.n_fft
        is_tiny = track.length < frame
        if is_tiny:
            tiny = f"shorter than a frame: {track.length} of {frame} samples at {rate} Hz"
            note = "; ".join(filter(None, (note, tiny)))
        if track.length < window:
            cautions.append(f"heard {track.length / rate:.3g} s, less than {window / rate:g} s")
        label_set, is_unsure = (), confidence < threshold
        if rule is not None:
            members = conformal.members(log_p, rule)
            label_set = tuple(self.labels[i] for i in order if members[i])
            is_unsure = len(label_set) > 1
        unlike = strangeness > 1
        is_unlike = bool(unlike.mean() > 0.5)
        if unlike.any():
            which = "" if is_unlike else f"{unlike.sum()} of {len(unlike)} windows are "
            cautions.append(f"{which}unlike the music that the model was trained on")
        if self.config.data.name == "band":
            cautions.append("the model has heard synthetic music only")
        return Prediction(
            label=self.labels[order[0]],
            probabilities={self.labels[i]: float(probabilities[i]) for i in order},
            labels=self.labels,
            windows=np.exp(scores_lib.normalize(scores)),
            unlike=unlike,
            window_starts_seconds=np.array(track.starts) / rate,
            window_seconds=window / rate,
            duration_seconds=track.length / rate,
            note=note,
            cautions=tuple(cautions),
            confidence=confidence,
            uncertain=is_unsure or is_unlike or is_tiny,
            label_set=label_set,
            threshold=threshold,
        )


def _waveform(blocks: Blocks) -> np.ndarray | audio.AudioError:
    """Return the joined blocks [T], or the error of reading them."""
    try:
        return np.concatenate(list(blocks))
    except audio.AudioError as error:
        return error


def _check_settings(overlap: float, threshold: float, max_seconds: float | None) -> None:
    """Raise `ValueError` for a number that is out of range."""
    windows.hop_length(1, overlap)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be from 0 to 1")
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds is {max_seconds}; it must be above 0, or None")


def load_system(path: str | os.PathLike, *, checkpoint_name: str = "best") -> system_lib.System:
    """Load a workdir of `experiments.train`, or a bundle of `experiments.export`.

    Args:
      path: the folder or the file.
      checkpoint_name: for a workdir, `best` (on the validation part), `latest` or a step.

    Raises:
      UserError: if it is neither, has no trained model, or cannot be read.
    """
    if not os.path.isfile(path):
        return system_lib.load(path, checkpoint_name=checkpoint_name)
    from mgr_jax.export import bundle  # Imported here, since workdirs do not need it.

    if checkpoint_name not in ("best", "latest"):
        raise UserError(
            f"checkpoint_name {checkpoint_name}: {path} is a bundle, which has one model only;"
            " leave it out"
        )
    return bundle.read(os.fspath(path))


def load(path: str | os.PathLike, *, checkpoint_name: str = "best") -> Predictor:
    """Load the system at `path` for prediction; see `load_system` for arguments and errors.

    The path `gtzan` is the model that comes with the package; a folder of `experiments.fit_gtzan`
    is another one.
    """
    readers = Decoders()
    readers.warm_up()
    try:
        if path == "gtzan" or os.path.isfile(os.path.join(path, pretrained.WEIGHTS)):
            from mgr_jax import shipped  # Imported here, since it takes long.

            system, score_audio = shipped.load_gtzan(None if path == "gtzan" else path)

            def predict_windows(batch: dict[str, np.ndarray]) -> np.ndarray:
                return score_audio(batch).log_probabilities

            return Predictor(system, predict_windows, score_audio, _MAX_BATCH_SIZE, readers)
        return make_predictor(load_system(path, checkpoint_name=checkpoint_name), readers)
    except UserError:
        readers.close()
        raise


def make_predictor(system: system_lib.System, readers: Decoders | None = None) -> Predictor:
    """Return the predictor of a loaded system; `readers` decode its files."""
    batch_size = min(system.config.train.batch_size, _MAX_BATCH_SIZE)
    batch_size = parallel.padded_batch_size(batch_size, parallel.make_mesh())
    predict_windows = system_lib.compiled(system)
    score_audio = hearing.make_score(system.config, predict_windows, system.variables)
    return Predictor(system, predict_windows, score_audio, batch_size, readers or Decoders())
