"""The path of integrated gradients, in a space of time and frequency.

`logmel`, `mfcc` and `mfcc_stats` go through the log-mel spectrogram, images through their pixels
(whose colours have no gradient), arrays through their spectrogram, and MusiCNN through its own
log-mel spectrogram. The baseline is the mean spectrum of the training part where the front end
knows it (`features.normalize` `bin`), else what it has for silence: the floor `top_db` below the
loudest cell of the clip, the colour of that floor, the darkest level, or 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax.config import Features
from mgr_jax.explain.cells import Cells
from mgr_jax.features import (
    array_spectrogram,
    filters,
    framing,
    image,
    musicnn,
    normalize,
    spectral,
    summary,
)
from mgr_jax.features import frontend as frontend_lib

_LOG_MEL = ("logmel", "mfcc")
_IMAGES = ("mel_image", "flattened")
BASELINES = {
    "mel_image": "a picture of silence",
    "flattened": "a picture of silence",
    "spectrogram": "the darkest level of the spectrogram",
    "musicnn": "silence",
}


class Path(NamedTuple):
    """Both ends of a path, and the way from there to the input of the model.

    Attributes:
      x: the recording. baseline: silence, in the shape of `x`.
      model_input: `x` or a point before it -> input of the model [S, ...] for S windows of it.
    """

    x: jax.Array
    baseline: jax.Array
    model_input: Callable[[jax.Array], jax.Array]


def describe_baseline(features: Features) -> str:
    """Return in words what attributions are relative to."""
    if features.normalize == "bin" and features.kind in _LOG_MEL:
        return "the mean spectrum of the training part"
    floor = f"silence, {features.top_db:g} dB below the loudest cell"
    return BASELINES.get(features.kind, floor)


def make_path(
    features: Features,
    source: jax.Array,
    normalizer: normalize.Normalizer | None,
    num_samples: jax.Array,
    rows: np.ndarray | None = None,
) -> Path:
    """Return the path to one window.

    Args:
      features: the front end.
      source: waveform [T], or a spectrogram [F, K] for `spectrogram`.
      normalizer: of the front end, or None.
      num_samples: how many samples of the waveform are audio.
      rows: frames [S, F'] of the windows that a model sees of a spectrogram.
    """
    frames = frontend_lib.num_frames(features, num_samples)
    inputs = source[None]
    if features.kind == "spectrogram":
        x, baseline = source, jnp.full_like(source, source.min())
        inputs = source[rows]

        def raw(x: jax.Array) -> jax.Array:
            return frontend_lib.spectrogram(x[rows], features)
    elif features.kind == "musicnn":
        x = musicnn.log_mel(source)
        baseline = jnp.zeros_like(x)

        def raw(x: jax.Array) -> jax.Array:
            return musicnn.cut_windows(x)[None]
    elif features.kind in _IMAGES:
        x = _draw(frontend_lib.log_mel(source, features), features)
        baseline = _draw(jnp.zeros((2, 2)), features)

        def raw(x: jax.Array) -> jax.Array:
            return x.reshape(1, -1) if features.kind == "flattened" else x[None]
    elif features.kind == "mfcc_stats":
        audio = jnp.where(framing.mask(num_samples, source.shape[-1]), source, 0.0)
        x = frontend_lib.log_mel(audio, features, frames)
        baseline = _floor(x, features)

        def raw(x: jax.Array) -> jax.Array:
            cepstra = spectral.cepstrum(x, n_mfcc=features.n_mfcc)
            return summary.mean_covariance(cepstra, frames)[None]
    else:
        x = frontend_lib.log_mel(source, features)
        baseline, is_mfcc = _floor(x, features), features.kind == "mfcc"
        if features.normalize == "bin":
            assert normalizer is not None
            mean = normalizer["mean"]
            if is_mfcc:  # The spectrum as far as the coefficients resolve it.
                mean = mean @ filters.dct_basis(n_mels=features.n_mels, n_mfcc=features.n_mfcc)
            baseline = jnp.broadcast_to(mean, x.shape)

        def raw(x: jax.Array) -> jax.Array:
            return (spectral.cepstrum(x, n_mfcc=features.n_mfcc) if is_mfcc else x)[None]

    if features.normalize != "clip":
        return Path(
            x,
            baseline,
            lambda x: normalize.apply(normalizer, raw(x), kind=features.normalize),
        )
    # Mean and deviation stay those of the recording: the path would else be as loud throughout,
    # and jump at its start. They follow from two values and what normalisation makes of these.
    before = raw(x)
    after = frontend_lib.make_frontend(features)(
        inputs, None, jnp.full(len(inputs), num_samples if rows is None else rows.shape[1])
    )
    axes = tuple(range(1, before.ndim))
    top, extent = before.max(axes, keepdims=True), jnp.ptp(before, axes, keepdims=True)
    scaled = jnp.ptp(after, axes, keepdims=True)
    slope = jnp.where(extent > 0, scaled / jnp.where(extent > 0, extent, 1.0), 1.0)
    return Path(x, baseline, lambda x: (raw(x) - top) * slope + after.max(axes, keepdims=True))


def to_cells(values: np.ndarray, features: Features, seconds: float) -> Cells:
    """Return attributions in the shape of `Path.x`, or features of `flattened`, as cells.

    Args:
      values: attributions of a window.
      features: the front end.
      seconds: length of the window.
    """
    rate = features.sample_rate
    if features.kind == "spectrogram":
        bins = np.arange(values.shape[1] + 1) - 0.5
        hz = np.clip(bins, 0, None) * array_spectrogram.SAMPLE_RATE / array_spectrogram.N_FFT
        return Cells(values, np.linspace(0, seconds, len(values) + 1), hz)
    fmax = features.fmax or rate / 2
    if features.kind in _IMAGES:
        pixels = values.reshape(*_image_size(features), -1).sum(axis=-1)
        if features.time_axis == "horizontal":
            pixels = pixels[::-1].T
        hz = _band_edges(features.n_mels, features.fmin, fmax, pixels.shape[1])
        return Cells(pixels, np.linspace(0, seconds, len(pixels) + 1), hz)
    times = (np.arange(len(values) + 1) - 0.5) * features.hop_length / rate
    hz = _band_edges(features.n_mels, features.fmin, fmax, features.n_mels)
    return Cells(values, np.clip(times, 0, seconds), hz)


def _band_edges(n_mels: int, fmin: float, fmax: float, count: int) -> np.ndarray:
    """Return the edges between the bands of a mel bank, midway between their centres, in Hz."""
    low, high = filters.hz_to_mel([fmin, fmax])
    half = (high - low) / (n_mels + 1) / 2
    return filters.mel_to_hz(np.linspace(low + half, high - half, count + 1))


def _image_size(features: Features) -> tuple[int, int]:
    if features.kind == "flattened":
        return frontend_lib.FLATTENED_IMAGE
    return features.image_height, features.image_width


def _draw(decibels: jax.Array, features: Features) -> jax.Array:
    height, width = _image_size(features)
    return image.spectrogram_image(
        decibels,
        height=height,
        width=width,
        colormap=features.colormap,
        time_axis=features.time_axis,
    )


def _floor(decibels: jax.Array, features: Features) -> jax.Array:
    return jnp.full_like(decibels, decibels.max() - features.top_db)
