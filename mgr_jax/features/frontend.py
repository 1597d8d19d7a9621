"""`make_frontend(features)`: the function from a batch of waveforms to a model's input."""

from collections.abc import Callable

import jax
from numpy.typing import ArrayLike

from mgr_jax.config import Features
from mgr_jax.errors import UserError
from mgr_jax.features import filters, framing, spectral, summary

Frontend = Callable[[jax.Array], jax.Array]


def make_frontend(features: Features) -> Frontend:
    """The pure function `waveform [B, T] -> model input` that `features` describes.

    It works in float32 under `jit`, `vmap` and `grad`. By `features.kind`:

    - `logmel`: `[B, F, M]` decibels, per clip at most `top_db` below its loudest value.
    - `mfcc_stats`: `[B, K + K (K + 1) / 2]` mean and covariance of `n_mfcc` = K coefficients.

    Raises:
      UserError: `features` asks for mel bands that no FFT bin falls into, or for an unknown kind.
    """
    if features.kind not in FRONTENDS:
        raise UserError(f"features.kind is {features.kind!r}; it must be one of {list(FRONTENDS)}")
    empty = int((filters.mel_filter_bank(**_bank(features)).max(axis=1) == 0).sum())
    if empty:
        raise UserError(
            f"features.n_mels {features.n_mels} leaves {empty} bands without an FFT bin at"
            f" features.n_fft {features.n_fft}; use fewer bands or a longer frame"
        )
    function = FRONTENDS[features.kind]
    return lambda waveform: function(framing.checked(waveform), features)


def num_frames(features: Features, num_samples: ArrayLike) -> ArrayLike:
    """Frames of a waveform of `num_samples` samples (an int or an array of them)."""
    return 1 + (num_samples - features.n_fft % 2) // features.hop_length


def log_mel(waveform: jax.Array, features: Features) -> jax.Array:
    """Log-mel spectrogram in decibels, `[..., T]` -> `[..., F, M]`."""
    power = spectral.mel_spectrogram(waveform, hop_length=features.hop_length, **_bank(features))
    return spectral.power_to_db(power, top_db=features.top_db)


def mfcc(waveform: jax.Array, features: Features) -> jax.Array:
    """MFCCs, `[..., T]` -> `[..., F, n_mfcc]`."""
    return spectral.cepstrum(log_mel(waveform, features), n_mfcc=features.n_mfcc)


def mfcc_stats(waveform: jax.Array, features: Features) -> jax.Array:
    """Mean and covariance of the MFCCs, `[..., T]` -> `[..., D]`."""
    return summary.mean_covariance(mfcc(waveform, features))


FRONTENDS = {"logmel": log_mel, "mfcc_stats": mfcc_stats}


def _bank(features: Features) -> dict:
    return {
        "sample_rate": features.sample_rate,
        "n_fft": features.n_fft,
        "n_mels": features.n_mels,
        "fmin": features.fmin,
        "fmax": features.fmax or None,
    }
