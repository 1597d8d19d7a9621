"""The mel spectrogram of a song as a picture, of bounded width whatever the length."""

import base64
import io
from collections.abc import Sequence

import matplotlib.image
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax.features import filters, spectral

MAX_COLUMNS = 960
_TOP_DB = 80.0
_BLOCK_FRAMES = 512  # All blocks have one shape, so that one compiled program serves all songs.


def features_of(config: config_lib.Config) -> config_lib.Features:
    """Return the front end to draw: that of the model, or the default if it has no mel bands."""
    return config_lib.Features() if config.features.kind == "spectrogram" else config.features


def decibels(waveform: np.ndarray, features: config_lib.Features) -> np.ndarray:
    """Return the mel spectrogram [F, M] of a waveform [T] in dB below its loudest value.

    F is at most `MAX_COLUMNS`: the power of neighbouring frames is averaged.
    """
    hop, n_fft = features.hop_length, features.n_fft
    num_frames = 1 + max(0, len(waveform) - n_fft) // hop
    size = n_fft + hop * (_BLOCK_FRAMES - 1)
    frames = []
    for first in range(0, num_frames, _BLOCK_FRAMES):
        piece = waveform[first * hop : first * hop + size]
        mel = spectral.mel_spectrogram(
            np.pad(piece, (0, size - len(piece))),
            sample_rate=features.sample_rate,
            n_fft=n_fft,
            hop_length=hop,
            center=False,
            n_mels=features.n_mels,
            fmin=features.fmin,
            fmax=features.fmax or None,
        )
        frames.append(np.asarray(mel))
    power = np.concatenate(frames)[:num_frames]
    edges = np.linspace(0, num_frames, min(num_frames, MAX_COLUMNS) + 1).astype(int)
    power = np.add.reduceat(power, edges[:-1], axis=0) / np.diff(edges)[:, None]
    loudest = max(float(power.max()), 1e-10)
    return np.maximum(10 * np.log10(np.maximum(power, 1e-10) / loudest), -_TOP_DB)


def to_png(values: np.ndarray) -> str:
    """Return the data URL of a PNG of `decibels` [F, M], with low frequencies at the bottom."""
    file = io.BytesIO()
    picture = values.T[::-1]
    matplotlib.image.imsave(file, picture, cmap="magma", vmin=-_TOP_DB, vmax=0, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def heights(frequencies: Sequence[float], features: config_lib.Features) -> dict[float, float]:
    """Return frequency in Hz -> its height in the picture, 0 to 1, for those not at its edges."""
    top = features.fmax or features.sample_rate / 2
    low, high = filters.hz_to_mel(np.array([features.fmin, top]))
    relative = (filters.hz_to_mel(np.asarray(frequencies)) - low) / (high - low)
    return {f: float(h) for f, h in zip(frequencies, relative, strict=True) if 0.04 < h < 0.96}
