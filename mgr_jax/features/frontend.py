"""`make_frontend(features)` returns the function from a batch of waveforms to a model's input."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Protocol, TypeVar

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax.config import Features
from mgr_jax.errors import UserError
from mgr_jax.features import (
    bands,
    decibels,
    descriptors,
    filters,
    framing,
    image,
    musicnn,
    normalize,
    spectral,
    summary,
    texture,
)

# 203 * 200 * 3 = 121 800 values, the length of the vectors in the presentation's SVM log.
FLATTENED_IMAGE = (203, 200)


Count = TypeVar("Count", int, jax.Array)


class Frontend(Protocol):
    """A pure function of waveforms `[B, T]` and, if fitted, a normaliser; returns model input."""

    def __call__(
        self, waveform: ArrayLike, normalizer: normalize.Normalizer | None = None
    ) -> jax.Array: ...


def make_frontend(features: Features, *, mesh: jax.sharding.Mesh | None = None) -> Frontend:
    """Return the pure function `waveform [B, T] -> model input` that `features` describes.

    It computes in float32 and supports `jit`, `vmap` and `grad`. By `features.kind`:

    - `logmel`: `[B, F, M]` decibels, per clip at most `top_db` below its loudest value.
    - `mel_image`: `[B, H, W, C]` in [0, 1], the log-mel spectrogram as an image.
    - `mfcc`: `[B, F, n_mfcc]`.
    - `mfcc_stats`: `[B, K + K (K + 1) / 2]` mean and covariance of `n_mfcc` = K coefficients.
    - `flattened`: `[B, 121800]`, a 203x200x3 image as a vector.
    - `spectrogram`: `[B, F, D]` of log spectrograms `[B, F, K]` in place of waveforms, or `[B, D]`
      with `features.statistics`.
    - `musicnn`: `[B, W, 187, 96]`, windows of 3 s (`features.musicnn`).
    - `embedding`: `[B, D]` or `[B, layers, D]`, windows `[B, 1, ...]` of an encoder as they are.

    With `features.normalize` `global` or `bin` the function also needs the `normalizer` of
    `fit_normalizer`, and raises ValueError without it.

    Args:
      features: the fields of the config.
      mesh: devices over all axes of which the batch is sharded; each then works on its own clips
        (B must be a multiple of their number). Without it a sharded batch gives the same result,
        but XLA gathers all clips on every device: it cannot partition an FFT (jax#13081).

    Raises:
      UserError: the kind is unknown, or some mel bands contain no FFT bin.
    """
    if features.kind not in FRONTENDS:
        raise UserError(
            f"features.kind is {features.kind!r}; it must be one of {', '.join(FRONTENDS)}"
        )
    empty = features.kind not in ("spectrogram", "embedding") and int(
        (filters.mel_filter_bank(**_bank(features)).max(axis=1) == 0).sum()
    )
    if empty:
        raise UserError(
            f"features.n_mels {features.n_mels} leaves {empty} bands without an FFT bin at"
            f" features.n_fft {features.n_fft}; use fewer bands or a longer frame"
        )
    function = functools.partial(FRONTENDS[features.kind], features=features)
    if mesh is not None:
        rows = jax.sharding.PartitionSpec(mesh.axis_names)
        function = jax.shard_map(function, mesh=mesh, in_specs=rows, out_specs=rows)

    def frontend(waveform: ArrayLike, normalizer: normalize.Normalizer | None = None) -> jax.Array:
        x = function(framing.checked(waveform))
        return normalize.apply(normalizer, x, kind=features.normalize)

    return frontend


def fit_normalizer(features: Features, batches: Iterable[ArrayLike]) -> normalize.Normalizer | None:
    """Return the normaliser of `features.normalize`, None for a kind that is not fitted.

    Args:
      batches: waveforms `[B, T]` of the training part only.

    Raises:
      ValueError: there is no batch.
    """
    if features.normalize not in normalize.FITTED:
        return None
    frontend = make_frontend(dataclasses.replace(features, normalize="none"))

    @jax.jit
    def add(moments, waveform):
        return normalize.accumulate(moments, frontend(waveform), kind=features.normalize)

    moments = None
    for waveform in batches:
        moments = add(moments, waveform)
    if moments is None:
        raise ValueError("batches is empty; a normalizer is fitted on the training part")
    return normalize.finish(moments)


def num_frames(features: Features, num_samples: Count) -> Count:
    """Return the number of frames of waveforms of `num_samples` samples (an int or an array).

    Of `musicnn` it is the number of windows.
    """
    if features.kind == "spectrogram":
        return num_samples
    if features.kind == "musicnn":
        return musicnn.num_windows(num_samples)
    inside = num_samples - features.n_fft % 2
    if isinstance(inside, jax.Array):  # One operation, where `//` is a dozen; nothing is negative.
        return 1 + jax.lax.div(inside, jnp.full_like(inside, features.hop_length))
    return 1 + inside // features.hop_length


def log_mel(waveform: jax.Array, features: Features) -> jax.Array:
    """Return the log-mel spectrogram in decibels, `[..., T] -> [..., F, M]`."""
    power = spectral.mel_spectrogram(waveform, hop_length=features.hop_length, **_bank(features))
    return decibels.power_to_db(power, top_db=features.top_db)


def mel_image(waveform: jax.Array, features: Features) -> jax.Array:
    """Return the log-mel spectrogram as an image, `[..., T] -> [..., H, W, C]`."""
    return _image(waveform, features, features.image_height, features.image_width)


def mfcc(waveform: jax.Array, features: Features) -> jax.Array:
    """Return MFCCs, `[..., T] -> [..., F, n_mfcc]`."""
    return spectral.cepstrum(log_mel(waveform, features), n_mfcc=features.n_mfcc)


def mfcc_stats(waveform: jax.Array, features: Features) -> jax.Array:
    """Return mean and covariance of the MFCCs, `[..., T] -> [..., D]`."""
    return summary.mean_covariance(mfcc(waveform, features))


def flattened(waveform: jax.Array, features: Features) -> jax.Array:
    """Return an image of 203x200x3 as a vector, `[..., T] -> [..., 121800]`."""
    pixels = _image(waveform, features, *FLATTENED_IMAGE)
    return pixels.reshape(*pixels.shape[:-3], -1)


def spectrogram(frames: jax.Array, features: Features) -> jax.Array:
    """Return features of log spectrograms, `[B, F, K] -> [B, F, D]`, or `[B, D]` as statistics."""
    x = bands.pool_bands(
        frames,
        scale=features.bands,
        n_bands=features.n_mels,
        sample_rate=features.sample_rate,
        n_fft=features.n_fft,
        fmin=features.fmin,
        fmax=features.fmax,
    )
    if features.statistics == "texture":
        # One clip at a time: batched eigenvectors beside FFTs deadlock on a CPU of two threads.
        return jax.lax.map(lambda pair: texture.texture(*pair), (x, frames))
    if features.cepstrum:
        x = spectral.cepstrum(x, n_mfcc=features.n_mfcc)
    if features.deltas:
        x = jnp.concatenate([x, descriptors.delta(x, width=5)], axis=-1)
    if features.statistics:
        x = summary.summarize(x, statistics=features.statistics.split(","))
    return x


def musicnn_windows(waveform: jax.Array, features: Features) -> jax.Array:
    """Return the windows of MusiCNN, `[..., T] -> [..., W, 187, 96]`."""
    del features  # `config.validate` requires those of the training of MusiCNN.
    return musicnn.windows(waveform)


def embedding(windows: jax.Array, features: Features) -> jax.Array:
    """Return the one window of each row, `[B, 1, ...] -> [B, ...]`."""
    del features
    return windows[:, 0]


FRONTENDS = {
    "logmel": log_mel,
    "mel_image": mel_image,
    "mfcc": mfcc,
    "mfcc_stats": mfcc_stats,
    "flattened": flattened,
    "spectrogram": spectrogram,
    "musicnn": musicnn_windows,
    "embedding": embedding,
}


def _image(waveform: jax.Array, features: Features, height: int, width: int) -> jax.Array:
    return image.spectrogram_image(
        log_mel(waveform, features),
        height=height,
        width=width,
        colormap=features.colormap,
        time_axis=features.time_axis,
    )


def _bank(features: Features) -> dict:
    return {
        "sample_rate": features.sample_rate,
        "n_fft": features.n_fft,
        "n_mels": features.n_mels,
        "fmin": features.fmin,
        "fmax": features.fmax or None,
    }
