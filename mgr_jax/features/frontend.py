"""`make_frontend(features)` returns the function from a batch of waveforms to a model's input."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Protocol, TypeVar

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax import ops
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
    """A pure function of waveforms `[B, T]`, which returns model input.

    `normalizer` is needed if `features.normalize` is fitted; `num_samples` `[B]` are the samples of
    each waveform that are audio, not its repetition or padding. None: all are.
    """

    def __call__(
        self,
        waveform: ArrayLike,
        normalizer: normalize.Normalizer | None = None,
        num_samples: ArrayLike | None = None,
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

    With `num_samples`, `mfcc_stats` and the normaliser `clip` take the frames of the audio alone.
    The other kinds read the whole waveform, in which `data.windows.repeat` repeats short audio.

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
    empty = features.kind not in _FROM_ARRAYS and int(
        (filters.mel_filter_bank(**_bank(features)).max(axis=1) == 0).sum()
    )
    if empty:
        raise UserError(
            f"features.n_mels {features.n_mels} leaves {empty} bands without an FFT bin at"
            f" features.n_fft {features.n_fft}; use fewer bands or a longer frame"
        )
    function = functools.partial(_model_input, features=features)
    if mesh is not None:
        rows = jax.sharding.PartitionSpec(mesh.axis_names)
        function = jax.shard_map(function, mesh=mesh, in_specs=rows, out_specs=rows)

    def frontend(
        waveform: ArrayLike,
        normalizer: normalize.Normalizer | None = None,
        num_samples: ArrayLike | None = None,
    ) -> jax.Array:
        lengths = None if num_samples is None else jnp.asarray(num_samples)
        x = function(framing.checked(waveform), lengths)
        valid = None
        if lengths is not None and features.normalize == "clip":
            valid = _valid(features, x, lengths)
        return normalize.apply(normalizer, x, kind=features.normalize, valid=valid)

    return frontend


def fit_normalizer(
    features: Features, batches: Iterable[tuple[ArrayLike, ArrayLike | None]]
) -> normalize.Normalizer | None:
    """Return the normaliser of `features.normalize`, None for a kind that is not fitted.

    Args:
      batches: waveforms `[B, T]` of the training part only, with their `num_samples` `[B]`; rows
        without samples and frames of padding are left out. None: all is audio.

    Raises:
      ValueError: there is no batch.
    """
    if features.normalize not in normalize.FITTED:
        return None
    frontend = make_frontend(dataclasses.replace(features, normalize="none"))

    @jax.jit
    def add(moments, waveform, num_samples):
        x = frontend(waveform, None, num_samples)
        valid = None if num_samples is None else _valid(features, x, jnp.asarray(num_samples))
        return normalize.accumulate(moments, x, kind=features.normalize, valid=valid)

    moments = None
    for waveform, num_samples in batches:
        moments = add(moments, waveform, num_samples)
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


def log_mel(waveform: jax.Array, features: Features, frames: jax.Array | None = None) -> jax.Array:
    """Return the log-mel spectrogram in decibels, `[..., T] -> [..., F, M]`.

    Only the first `frames` `[...]` frames count for the loudest value; None: all do.
    """
    power = spectral.mel_spectrogram(waveform, hop_length=features.hop_length, **_bank(features))
    if frames is not None:
        power = jnp.where(framing.mask(frames, power.shape[-2])[..., None], power, 0.0)
    return decibels.power_to_db(power, top_db=features.top_db)


def mel_image(waveform: jax.Array, features: Features) -> jax.Array:
    """Return the log-mel spectrogram as an image, `[..., T] -> [..., H, W, C]`."""
    return _image(waveform, features, features.image_height, features.image_width)


def mfcc(waveform: jax.Array, features: Features) -> jax.Array:
    """Return MFCCs, `[..., T] -> [..., F, n_mfcc]`."""
    return spectral.cepstrum(log_mel(waveform, features), n_mfcc=features.n_mfcc)


def mfcc_stats(
    waveform: jax.Array, features: Features, num_samples: jax.Array | None = None
) -> jax.Array:
    """Return mean and covariance of the MFCCs, `[..., T] -> [..., D]`.

    They are those of the first `num_samples` `[...]` samples, as without the padding.
    """

    def of_all(waveform: jax.Array) -> jax.Array:
        return summary.mean_covariance(mfcc(waveform, features))

    if num_samples is None:
        return of_all(waveform)
    size = waveform.shape[-1]

    def of_audio(waveform: jax.Array) -> jax.Array:
        waveform = jnp.where(framing.mask(num_samples, size), waveform, 0.0)
        frames = num_frames(features, num_samples)
        cepstra = spectral.cepstrum(log_mel(waveform, features, frames), n_mfcc=features.n_mfcc)
        return summary.mean_covariance(cepstra, frames)

    if ops.is_reference():
        return of_audio(waveform)
    # Full clips are not masked, which would cost a third of their time on CPU.
    return jax.lax.cond(jnp.any(num_samples < size), of_audio, of_all, waveform)


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


_FROM_ARRAYS = ("spectrogram", "embedding")
_SEQUENCES = ("logmel", "mfcc")
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


def _model_input(
    waveform: jax.Array, num_samples: jax.Array | None, features: Features
) -> jax.Array:
    """Return the model's input before normalisation."""
    if features.kind == "mfcc_stats":
        return mfcc_stats(waveform, features, num_samples)
    return FRONTENDS[features.kind](waveform, features)


def _valid(features: Features, x: jax.Array, num_samples: jax.Array) -> jax.Array:
    """Return which frames `[B, F]` of model input are of audio, or which rows `[B]` have any."""
    if features.kind not in _SEQUENCES:
        return num_samples > 0
    return framing.mask(
        jnp.where(num_samples > 0, num_frames(features, num_samples), 0), x.shape[1]
    )


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
