"""Tracks as a system hears them, window by window; windows of several tracks share a batch."""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import hearing, parallel
from mgr_jax.data import audio, windows
from mgr_jax.data.decoders import Blocks


@dataclasses.dataclass(eq=False)
class Track:
    """A track, complete or in progress.

    Attributes:
      path: its name.
      starts: first sample of each window so far.
      scores: log-probabilities [C] of each window that is scored, without the temperature.
      strangeness: of each window that is scored, see `hearing.Scores`; 0 if it is not measured.
      length: samples of the track, 0 until it is read to its end.
      note: what its decoder says of it.
      error: why it could not be read, or None.
    """

    path: str
    starts: list[int] = dataclasses.field(default_factory=list)
    scores: list[np.ndarray] = dataclasses.field(default_factory=list)
    strangeness: list[float] = dataclasses.field(default_factory=list)
    length: int = 0
    note: str = ""
    error: audio.AudioError | None = None

    @property
    def complete(self) -> bool:
        """Whether all its windows are read and scored, or reading failed."""
        scored = self.length > 0 and len(self.scores) == len(self.starts)
        return self.error is not None or scored

    def read(self, blocks: Blocks, window: int, hop: int, least: int) -> Iterator[windows.Window]:
        """Yield the windows of `windows.cut`; at the end, `length` and `note` are known."""
        self.length, self.note = yield from windows.cut(blocks, window=window, hop=hop, least=least)


def hear(
    sources: Iterator[tuple[str, Blocks]],
    score: hearing.Score,
    config: config_lib.Config,
    *,
    batch_size: int,
    overlap: float = 0.0,
    max_seconds: float | None = None,
) -> Iterator[Track]:
    """Yield the tracks in their order, each complete.

    Args:
      sources: name and blocks of samples of each track, at the rate of the system.
      score: batch of windows -> their scores.
      config: of the system.
      batch_size: windows of a batch; a single window is scored alone.
      overlap: share of a window that the next one overlaps, from 0 to 0.95.
      max_seconds: longest track that is no error; None for any.
    """
    window = hearing.window_length(config)
    hop, least = windows.hop_length(window, overlap), hearing.least_new(config)
    longest = np.inf if max_seconds is None else max_seconds * config.features.sample_rate
    tracks: collections.deque[Track] = collections.deque()
    pending: list[tuple[Track, np.ndarray, int]] = []
    for path, blocks in sources:
        track = Track(path)
        tracks.append(track)
        try:
            for start, piece, num_samples in track.read(blocks, window, hop, least):
                if start + num_samples > longest:
                    raise audio.AudioError(f"is longer than {max_seconds:g} s")
                track.starts.append(start)
                pending.append((track, piece, num_samples))
                if len(pending) == batch_size:
                    _score(pending, score, batch_size)
                    pending = []
        except audio.AudioError as error:
            track.error = error
        while tracks and tracks[0].complete:
            yield tracks.popleft()
    if pending:
        _score(pending, score, batch_size)
    yield from tracks


def _score(
    pending: list[tuple[Track, np.ndarray, int]], score: hearing.Score, batch_size: int
) -> None:
    """Append scores to the tracks of the windows, of which there are at most `batch_size`."""
    # A single window is not padded to a whole batch.
    size = batch_size if len(pending) > 1 else 1
    size = parallel.padded_batch_size(size, parallel.make_mesh())
    tracks, pieces, num_samples = zip(*pending, strict=True)
    padding = (0, size - len(pending))
    batch = {
        "waveform": np.pad(np.stack(pieces), (padding, (0, 0))),
        "num_samples": np.pad(np.array(num_samples, np.int32), padding),
    }
    scores, strangeness = score(batch)
    for i, track in enumerate(tracks):
        track.scores.append(scores[i])
        track.strangeness.append(0.0 if strangeness is None else float(strangeness[i]))
