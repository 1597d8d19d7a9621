"""From audio to probabilities, with a trained system: the one way in for every use of a model.

Front end, labels, sample rate and weights come from the workdir or the bundle and never from
flags, so that a wrong rate or a wrong order of labels cannot happen.
"""

import collections
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel, workdir
from mgr_jax import system as system_lib
from mgr_jax.data import audio, decoders, windows
from mgr_jax.errors import UserError
from mgr_jax.evaluation import scores as scores_lib
from mgr_jax.evaluation.prediction import Prediction

# Windows of a batch, at most: what a training run could afford may be too much here.
_MAX_BATCH_SIZE = 16
# Samples of a block of a waveform in memory.
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained system, ready to predict. Several threads may use it at once.

    Attributes:
      system: config, labels, weights and what was measured.
      predict_windows: batch of windows -> log-probabilities `[B, C]`.
      batch_size: B.
      decoders: the processes that read files.
    """

    system: system_lib.System
    predict_windows: Callable[[dict[str, np.ndarray]], np.ndarray]
    batch_size: int
    decoders: decoders.Decoders

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `Prediction.windows` and `predict_proba`."""
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
        """Whether `Prediction.confidence` is calibrated."""
        return self.system.temperature is not None

    @property
    def run(self) -> workdir.Run:
        """The workdir; raises `UserError` if the system was loaded from a bundle."""
        if self.system.run is None:
            raise UserError(
                f"--workdir {self.system.path}: is a bundle, which has no data to score; give the"
                " workdir of the training"
            )
        return self.system.run

    def describe(self) -> str:
        """One line: model, data, and the measured accuracy with n, interval and protocol."""
        return self.system.describe()

    def predict(
        self,
        source: str | os.PathLike | np.ndarray,
        sample_rate: float | None = None,
        *,
        overlap: float = 0.0,
        threshold: float = 0.5,
        max_seconds: float | None = None,
    ) -> Prediction:
        """Genre of a track, all of which is heard, window by window.

        Args:
          source: path of an audio file, or a waveform `[T]` or `[T, channels]`: floats with full
            scale at +-1, or integers of full range.
          sample_rate: rate of the waveform in Hz; files know their own.
          overlap: share of a window that the next one covers again, from 0 to below 1.
          threshold: confidence below which the prediction is called uncertain.
          max_seconds: longer audio is refused; None takes any length.

        Raises:
          audio.AudioError: if the audio cannot be read, is empty, silent or too long.
          UserError: if the system was trained on arrays, not on audio.
          ValueError: for a waveform without `sample_rate` or of a wrong shape, or a bad `overlap`.
        """
        system_lib.check_hears_audio(self.system)
        if isinstance(source, str | os.PathLike):
            if sample_rate is not None:
                raise ValueError("sample_rate is for a waveform; a file knows its own")
            sources = self._read([os.fspath(source)], max_seconds)
        else:
            if sample_rate is None:
                raise ValueError("sample_rate is None; give the rate of the waveform in Hz")
            rate = self.config.features.sample_rate
            waveform = audio.convert(source, sample_rate, sample_rate=rate)
            sources = iter([("", _limit(_blocks(waveform), max_seconds, rate))])
        (found,) = self._predict(sources, overlap, threshold)
        if isinstance(found[1], audio.AudioError):
            raise found[1]
        return found[1]

    def predict_files(
        self,
        paths: Iterable[str | os.PathLike],
        *,
        overlap: float = 0.0,
        threshold: float = 0.5,
        max_seconds: float | None = None,
    ) -> Iterator[tuple[str, Prediction | audio.AudioError]]:
        """Path and prediction of each file, in the order given; the arguments are `predict`'s.

        Windows of several files share a batch, and the next files are decoded meanwhile. A file
        that cannot be read gives its error in place of a prediction.

        Raises:
          ValueError: for a bad `overlap`.
        """
        system_lib.check_hears_audio(self.system)
        windows.hop_length(1, overlap)  # Now, and not when the first result is asked for.
        return self._predict(self._read(map(os.fspath, paths), max_seconds), overlap, threshold)

    def predict_proba(self, paths: Iterable[str | os.PathLike]) -> np.ndarray:
        """Probabilities `[N, C]` of audio files, C in the order of `labels`.

        Raises:
          audio.AudioError: for the first file that cannot be read.
        """
        rows = []
        for path, found in self.predict_files(paths):
            if isinstance(found, audio.AudioError):
                raise audio.AudioError(f"{path}: {found}")
            rows.append([found.probabilities[label] for label in self.labels])
        return np.array(rows).reshape(-1, len(self.labels))

    def score_tracks(self, part) -> np.ndarray:
        """Log-probabilities `[N, C]` of the tracks of a `data.batches.Part`."""
        from mgr_jax.evaluation import tracks  # Here, since only an evaluation needs grain.

        batch_size = parallel.padded_batch_size(self.config.train.batch_size, parallel.make_mesh())
        window = config_lib.window_length(self.config)
        return tracks.score_tracks(self.predict_windows, part, batch_size=batch_size, window=window)

    def _read(
        self, paths: Iterable[str], max_seconds: float | None
    ) -> Iterator[tuple[str, decoders.Blocks]]:
        rate = self.config.features.sample_rate
        for path, blocks in self.decoders.read(list(paths), sample_rate=rate):
            yield path, _limit(blocks, max_seconds, rate)

    def _predict(
        self, sources: Iterator[tuple[str, decoders.Blocks]], overlap: float, threshold: float
    ) -> Iterator[tuple[str, Prediction | audio.AudioError]]:
        window = config_lib.window_length(self.config)
        hop = windows.hop_length(window, overlap)
        tracks: collections.deque[_Track] = collections.deque()
        waiting: list[tuple[_Track, np.ndarray, int]] = []
        for path, blocks in sources:
            track = _Track(path)
            tracks.append(track)
            try:
                pieces = windows.cut(blocks, window=window, hop=hop)
                while True:
                    start, piece, num_samples = next(pieces)
                    track.starts.append(start)
                    waiting.append((track, piece, num_samples))
                    if len(waiting) == self.batch_size:
                        self._score(waiting)
                        waiting = []
            except StopIteration as end:
                track.length, track.note = end.value
            except audio.AudioError as error:
                track.error = error
                waiting = [item for item in waiting if item[0] is not track]
            while tracks and tracks[0].complete:
                yield self._result(tracks.popleft(), window, threshold)
        if waiting:
            self._score(waiting)
        for track in tracks:
            yield self._result(track, window, threshold)

    def _score(self, waiting: list[tuple["_Track", np.ndarray, int]]) -> None:
        """Adds log-probabilities to the tracks; a lone window is not padded to a whole batch."""
        size = self.batch_size if len(waiting) > 1 else 1
        size = parallel.padded_batch_size(size, parallel.make_mesh())
        batch = {
            "waveform": np.zeros((size, waiting[0][1].size), np.float32),
            "num_samples": np.zeros(size, np.int32),
        }
        for row, (_, piece, num_samples) in enumerate(waiting):
            batch["waveform"][row], batch["num_samples"][row] = piece, num_samples
        scores = np.asarray(self.predict_windows(batch), np.float64)
        for (track, _, _), score in zip(waiting, scores, strict=False):
            track.scores.append(score)

    def _result(
        self, track: "_Track", window: int, threshold: float
    ) -> tuple[str, Prediction | audio.AudioError]:
        if track.error is not None:
            return track.path, track.error
        scores = np.stack(track.scores)
        total = scores_lib.normalize(scores.mean(axis=0))
        probabilities = np.exp(total)
        if not np.isfinite(probabilities).all():
            return track.path, audio.AudioError("gives probabilities that are not finite")
        order = np.argsort(-probabilities, kind="stable")
        calibrated = np.exp(scores_lib.normalize(total / (self.system.temperature or 1.0)))
        confidence = float(calibrated[order[0]])
        rate = self.config.features.sample_rate
        return track.path, Prediction(
            label=self.labels[order[0]],
            probabilities={self.labels[i]: float(probabilities[i]) for i in order},
            windows=np.exp(scores_lib.normalize(scores)),
            window_starts_seconds=np.array(track.starts) / rate,
            window_seconds=window / rate,
            duration_seconds=track.length / rate,
            note=track.note,
            confidence=confidence,
            uncertain=confidence < threshold,
        )


def load_system(path: str | os.PathLike, *, checkpoint_name: str = "best") -> system_lib.System:
    """Reads a workdir of `experiments.train`, or a bundle of `experiments.export`.

    Args:
      path: the folder or the file.
      checkpoint_name: of a workdir: `best` (on the validation part), `latest` or a step.

    Raises:
      UserError: if it is neither, or nothing in it is trained or can be read.
    """
    if not os.path.isfile(path):
        return system_lib.load(path, checkpoint_name=checkpoint_name)
    from mgr_jax.export import bundle  # Here, so that a workdir is loaded without it.

    if checkpoint_name not in ("best", "latest"):
        raise UserError(
            f"--checkpoint {checkpoint_name}: {path} is a bundle, which has one model only;"
            " leave the flag out"
        )
    return bundle.read(os.fspath(path))


def load(path: str | os.PathLike, *, checkpoint_name: str = "best") -> Predictor:
    """Loads what `experiments.train` left in a workdir, or a bundle of `experiments.export`.

    Args:
      path: the workdir, or the file.
      checkpoint_name: of a workdir: `best` (on the validation part), `latest` or a step.

    Raises:
      UserError: if there is no trained system at `path`, or its files are damaged.
    """
    readers = decoders.Decoders()
    readers.warm_up()
    try:
        system = load_system(path, checkpoint_name=checkpoint_name)
    except UserError:
        readers.close()
        raise
    return make_predictor(system, readers)


def make_predictor(
    system: system_lib.System, readers: decoders.Decoders | None = None
) -> Predictor:
    """The predictor of a system that is loaded; `readers` decode its files."""
    wanted = min(system.config.train.batch_size, _MAX_BATCH_SIZE)
    batch_size = parallel.padded_batch_size(wanted, parallel.make_mesh())
    predict_windows = system_lib.compiled(system)
    return Predictor(system, predict_windows, batch_size, readers or decoders.Decoders())


@dataclasses.dataclass(eq=False)
class _Track:
    """A track on its way: first samples and log-probabilities `[C]` of its windows so far."""

    path: str
    starts: list[int] = dataclasses.field(default_factory=list)
    scores: list[np.ndarray] = dataclasses.field(default_factory=list)
    length: int = 0
    note: str = ""
    error: audio.AudioError | None = None

    @property
    def complete(self) -> bool:
        """Whether all of it is read and scored."""
        scored = self.length > 0 and len(self.scores) == len(self.starts)
        return self.error is not None or scored


def _blocks(waveform: np.ndarray) -> decoders.Blocks:
    for start in range(0, len(waveform), _BLOCK):
        yield waveform[start : start + _BLOCK]
    return ""


def _limit(blocks: decoders.Blocks, max_seconds: float | None, rate: int) -> decoders.Blocks:
    """`blocks` as they are, until they exceed `max_seconds`."""
    if max_seconds is None:
        return (yield from blocks)
    count = 0
    while True:
        try:
            block = next(blocks)
        except StopIteration as end:
            return end.value
        count += block.size
        if count > max_seconds * rate:
            raise audio.AudioError(f"is longer than {max_seconds:g} s")
        yield block
