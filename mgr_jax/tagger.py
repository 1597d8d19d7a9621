"""From audio to MusiCNN's tags and embeddings over time."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import jax
import numpy as np

from mgr_jax import pretrained
from mgr_jax.data import audio
from mgr_jax.data.decoders import Blocks, Decoders
from mgr_jax.features import musicnn


@dataclasses.dataclass(frozen=True)
class Tags:
    """The tags of one track over time. Any number of them may apply.

    Attributes:
      labels: names of the K tags.
      probabilities: probability of each tag by itself, in each of W windows [W, K].
      embeddings: 200 values of each window [W, 200], for other classifiers.
      window_starts_seconds: start of each window [W].
      window_seconds: length of a window.
      duration_seconds: length of the audio.
      note: a warning about a file that could be read but is defective or short; else empty.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    embeddings: np.ndarray
    window_starts_seconds: np.ndarray
    window_seconds: float
    duration_seconds: float
    note: str

    @property
    def mean(self) -> dict[str, float]:
        """Mean probability of each tag over the windows, highest first."""
        values = self.probabilities.mean(axis=0)
        return {self.labels[i]: float(values[i]) for i in np.argsort(-values, kind="stable")}


@dataclasses.dataclass(frozen=True)
class Tagger:
    """MusiCNN with a compiled function; several threads may use it at once.

    Attributes:
      labels: names of the K tags.
      logits: windows [W, 187, 96] of `features.musicnn` -> logits [W, K], not compiled.
      apply: chunk of a waveform at 16 kHz `[T]` -> probabilities [W, K] and embeddings [W, D].
      decoders: the processes that read files.
    """

    labels: tuple[str, ...]
    logits: Callable[[jax.Array], jax.Array]
    apply: Callable[[np.ndarray], tuple[jax.Array, jax.Array]]
    decoders: Decoders

    def tag(
        self,
        source: str | os.PathLike | BinaryIO | np.ndarray,
        sample_rate: float | None = None,
    ) -> Tags:
        """Return the tags of a track, a window of 3 s about every second.

        Args:
          source: path of an audio file, an open binary file, or a waveform [T] or [T, channels]:
            floats with full scale at +-1, or integers of full range.
          sample_rate: rate of the waveform in Hz; None for a file.

        Raises:
          audio.AudioError: if the audio cannot be read, is empty or silent.
          ValueError: for a waveform without `sample_rate` or of a wrong shape.
        """
        rate = musicnn.SAMPLE_RATE
        sources = self.decoders.read_source(source, sample_rate, sample_rate=rate)
        ((path, tags),) = ((path, self._tag_or_error(blocks)) for path, blocks in sources)
        if isinstance(tags, audio.AudioError):
            raise audio.AudioError(f"{path}: {tags}" if path else str(tags)) from tags
        return tags

    def tag_files(
        self, paths: Iterable[str | os.PathLike]
    ) -> Iterator[tuple[str, Tags | audio.AudioError]]:
        """Yield path and tags of each file, in order, or the `AudioError` of one that fails."""
        names = [os.fspath(path) for path in paths]
        for path, blocks in self.decoders.read(names, sample_rate=musicnn.SAMPLE_RATE):
            yield path, self._tag_or_error(blocks)

    def _tag_or_error(self, blocks: Blocks) -> Tags | audio.AudioError:
        try:
            return self._tag(blocks)
        except audio.AudioError as error:
            return error

    def _tag(self, blocks: Blocks) -> Tags:
        chunks = musicnn.chunks(blocks)
        outputs: list[tuple[np.ndarray, np.ndarray]] = []
        while True:
            try:
                chunk, count = next(chunks)
            except StopIteration as end:
                num_samples, note = end.value
                break
            probabilities, embeddings = self.apply(chunk)
            outputs.append((np.asarray(probabilities)[:count], np.asarray(embeddings)[:count]))
        probabilities, embeddings = (np.concatenate(x) for x in zip(*outputs, strict=True))
        hop = musicnn.WINDOW_HOP * musicnn.HOP_LENGTH / musicnn.SAMPLE_RATE
        if num_samples < musicnn.MIN_SAMPLES:
            note = "; ".join(filter(None, (note, "shorter than the 3 s of a window: repeated")))
        return Tags(
            labels=self.labels,
            probabilities=probabilities,
            embeddings=embeddings,
            window_starts_seconds=hop * np.arange(len(probabilities)),
            window_seconds=musicnn.MIN_SAMPLES / musicnn.SAMPLE_RATE,
            duration_seconds=num_samples / musicnn.SAMPLE_RATE,
            note=note,
        )


def load(name: str | os.PathLike = "musicnn", readers: Decoders | None = None) -> Tagger:
    """Load the tagger of the package, or one that `experiments.import_musicnn` wrote to a folder.

    `readers` decode its files; without them it starts its own.

    Raises:
      UserError: if a file of the folder is missing or damaged.
    """
    if readers is None:
        readers = Decoders()
        readers.warm_up()
    module, variables, labels = (
        pretrained.load_musicnn() if name == "musicnn" else pretrained.load_musicnn(name)
    )

    @jax.jit
    def apply(chunk: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = musicnn.cut_windows(musicnn.log_mel(chunk, center=False))
        outputs: Any = module.apply(variables, x)
        return jax.nn.sigmoid(outputs.logits), outputs.embedding

    def logits(x: jax.Array) -> jax.Array:
        outputs: Any = module.apply(variables, x)
        return outputs.logits

    return Tagger(labels, logits, apply, readers)
