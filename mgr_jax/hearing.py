"""From windows of audio to scores, for systems on waveforms and for those on arrays.

A system that was trained on arrays hears clips of 30 s, drawn as the array files of GTZAN are
(`features.array_spectrogram`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax.data import windows
from mgr_jax.errors import UserError
from mgr_jax.evaluation.scores import normalize
from mgr_jax.features import array_spectrogram


class Scores(NamedTuple):
    """Scores of B windows.

    Attributes:
      log_probabilities: [B, C].
      strangeness: [B], distance from the training music in units of the largest that is usual;
        above 1 the music is unlike it. None if the system does not measure it.
    """

    log_probabilities: np.ndarray
    strangeness: np.ndarray | None = None


# Batch of windows, with `waveform` [B, T] and `num_samples` [B], the samples that are no padding.
Score = Callable[[dict[str, np.ndarray]], Scores]


def window_length(config: config_lib.Config) -> int:
    """Return the samples of audio that a system of `config` hears at once."""
    if config.data.name == "arrays":
        return array_spectrogram.NUM_SAMPLES
    return config_lib.window_length(config)


def least_new(config: config_lib.Config) -> int:
    """Return the new samples for which a last window is worth hearing: of 30 s a twentieth.

    Windows of a system on waveforms are those of its evaluation, which leaves nothing out.
    """
    return window_length(config) // 20 if config.data.name == "arrays" else 1


def check(config: config_lib.Config) -> None:
    """Raise `UserError` if a system of `config` takes arrays that cannot be made from audio."""
    if config.data.name == "embeddings":
        raise UserError(
            "data.name 'embeddings': the model takes vectors of a file, not audio; score such a"
            " file with experiments.evaluate --config.data.root=FILE.npz"
        )
    if config.data.name != "arrays":
        return
    features = config.features
    ours = (
        config_lib.clip_length(config),
        features.num_bins,
        features.sample_rate,
        features.n_fft,
    )
    known = (
        array_spectrogram.NUM_FRAMES,
        array_spectrogram.NUM_BINS,
        array_spectrogram.SAMPLE_RATE,
        array_spectrogram.N_FFT,
    )
    if ours != known:
        raise UserError(
            "data.name 'arrays': the model takes spectrograms of {} frames and {} bins at {} Hz"
            " (n_fft {}), which cannot be made from audio; those of {} x {} at {} Hz ({})"
            " can".format(*ours, *known)
            + "; score an array file with experiments.evaluate --config.data.root=FILE.npz"
        )


def make_score(
    config: config_lib.Config,
    predict: Callable[[dict[str, np.ndarray]], np.ndarray],
    variables: Mapping[str, Any],
) -> Score:
    """Return the function from a batch of windows of audio to their scores.

    Args:
      config: that of the system.
      predict: batch of the windows that it was trained on -> log-probabilities [B, C].
      variables: those of the system.
    """
    if config.features.kind == "musicnn":
        from mgr_jax.classical import scoring  # Imported here, since networks do not need it.

        guarded = scoring.make_guarded_predict(config, variables)
        return lambda batch: Scores(*guarded(batch))
    if config.data.name != "arrays":
        return lambda batch: Scores(np.asarray(predict(batch), np.float64))
    from mgr_jax.data import batches  # Imported here, since it imports grain.

    window = config_lib.window_length(config)
    starts = np.asarray(batches.window_starts(array_spectrogram.NUM_FRAMES, window))
    rows = starts[:, None] + np.arange(window)

    def score(batch: dict[str, np.ndarray]) -> Scores:
        pieces = np.concatenate([frames[rows] for frames in spectrograms(batch)])
        num_frames = np.full(len(pieces), window, np.int32)
        scores = np.asarray(predict({"waveform": pieces, "num_samples": num_frames}), np.float64)
        return Scores(normalize(scores.reshape(-1, len(starts), scores.shape[-1]).mean(axis=1)))

    return score


def spectrograms(batch: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the array spectrogram [496, 128] of each window of a batch; short ones are repeated.

    A window without samples, which pads the batch, gives zeros.
    """
    return [
        array_spectrogram.array_spectrogram(windows.repeat(waveform, num_samples, tolerance=0))
        for waveform, num_samples in zip(batch["waveform"], batch["num_samples"], strict=True)
    ]
