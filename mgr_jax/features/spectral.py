"""Short-time spectra of waveforms: STFT, mel, MFCC, as librosa computes them.

All functions take any leading batch dimensions, compute in float32 for any dtype of the model,
and put frames before bins: `[..., F, K]` where librosa has `[..., K, F]`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax import ops
from mgr_jax.features import filters, framing
from mgr_jax.features.decibels import power_to_db, safe_power
from mgr_jax.ops.arrays import as_row

BAND = 16


def stft(
    waveform: ArrayLike,
    *,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: str | ArrayLike = "hann",
    center: bool = True,
    pad_mode: str = "constant",
) -> jax.Array:
    """Return the short-time Fourier transform, `[..., F, 1 + n_fft // 2]` (`librosa.stft`).

    Args:
      waveform: `[..., T]`, floating point.
      n_fft: samples of a frame.
      hop_length: samples between frames; None is `win_length // 4`.
      win_length: samples of the window, centred in the frame; None is `n_fft`.
      window: `hann`, `hamming`, `boxcar` or an array `[win_length]`.
      center: frame `i` is centred on sample `i * hop_length`, the ends being padded by
        `n_fft // 2`; otherwise it starts there.
      pad_mode: `constant` (zeros) or `reflect`.

    Raises:
      ValueError: an argument is out of its range, the waveform is not `[..., T]` floating
        point, empty, or shorter than a frame when it is not centred.
    """
    waveform = framing.checked(waveform)
    if hop_length is None:
        hop_length = (win_length or n_fft) // 4
    cut = framing.checked_framing(waveform, n_fft, hop_length, center, pad_mode)
    weights = _padded_window(window, win_length, n_fft)
    frames = ops.frames(waveform, cut)
    return jnp.fft.rfft(frames * as_row(weights, frames))


def spectrogram(waveform: ArrayLike, *, power: float = 2.0, **options) -> jax.Array:
    """Return magnitudes of `stft` to the given power, `[..., F, 1 + n_fft // 2]`.

    Args:
      power: 2 for power, 1 for magnitude. The other arguments and errors are those of `stft`.
    """
    filters.require_positive(power=power)
    return _magnitude(stft(waveform, **options), power)


def mel_spectrogram(
    waveform: ArrayLike,
    *,
    sample_rate: float,
    n_fft: int = 2048,
    hop_length: int = 512,
    win_length: int | None = None,
    window: str | ArrayLike = "hann",
    center: bool = True,
    pad_mode: str = "constant",
    power: float = 2.0,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
) -> jax.Array:
    """Return the mel spectrogram, `[..., T] -> [..., F, M]` (`librosa.feature.melspectrogram`).

    The arguments and errors are those of `spectrogram` and `filters.mel_filter_bank`.
    """
    bank = filters.mel_filter_bank(
        sample_rate=sample_rate,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        htk=htk,
        norm=norm,
    )
    filters.require_positive(power=power)
    waveform = framing.checked(waveform)
    cut = framing.checked_framing(waveform, n_fft, hop_length, center, pad_mode)
    weights = _padded_window(window, win_length, n_fft)
    if ops.is_reference():
        frames = ops.frames(waveform, cut)
        squared = _power_by_matrix(frames * as_row(weights, frames))
        return jnp.matmul(_root(squared, power), bank.T, precision="highest")
    bands, rows = _bands(bank)
    return _mel(waveform, weights, rows, cut=cut, bands=bands, power=power)


def cepstrum(
    log_mel: ArrayLike,
    *,
    n_mfcc: int = 20,
    dct_type: int = 2,
    norm: str | None = "ortho",
    lifter: float = 0.0,
) -> jax.Array:
    """Return MFCCs `[..., F, n_mfcc]` of log-mel `[..., F, M]` (`librosa.feature.mfcc(S=...)`).

    Args:
      log_mel: mel spectrogram in decibels.
      n_mfcc: coefficients kept. dct_type: 2 or 3. norm: `ortho` or None.
      lifter: 0 for none, else coefficient `i` (from 1) is scaled by
        `1 + lifter / 2 * sin(pi * i / lifter)`.

    Raises:
      ValueError: `lifter` is negative or another argument is out of its range.
    """
    log_mel = jnp.asarray(log_mel)
    if log_mel.ndim < 1:
        raise ValueError("log_mel is a scalar; it must have shape [..., F, M]")
    if not lifter >= 0:
        raise ValueError(f"lifter is {lifter}; it must be 0 or more")
    basis = filters.dct_basis(n_mels=log_mel.shape[-1], n_mfcc=n_mfcc, dct_type=dct_type, norm=norm)
    if lifter:
        rows = np.arange(1, 1 + n_mfcc)[:, None]
        basis = (basis * (1 + lifter / 2 * np.sin(np.pi * rows / lifter))).astype(np.float32)
    return jnp.matmul(log_mel.astype(jnp.float32), basis.T, precision="highest")


def mfcc(
    waveform: ArrayLike,
    *,
    sample_rate: float,
    n_mfcc: int = 20,
    dct_type: int = 2,
    norm: str | None = "ortho",
    lifter: float = 0.0,
    mel_norm: str | None = "slaney",
    **mel,
) -> jax.Array:
    """Return MFCCs of a waveform, `[..., T] -> [..., F, n_mfcc]` (`librosa.feature.mfcc`).

    The mel spectrogram is converted by `power_to_db` with its defaults, as in librosa.

    Args:
      mel_norm: `norm` of `mel_spectrogram`. mel: its other options.
      The other arguments and errors are those of `cepstrum`.
    """
    power = mel_spectrogram(waveform, sample_rate=sample_rate, norm=mel_norm, **mel)
    return cepstrum(power_to_db(power), n_mfcc=n_mfcc, dct_type=dct_type, norm=norm, lifter=lifter)


def _padded_window(window: str | ArrayLike, win_length: int | None, n_fft: int) -> np.ndarray:
    win_length = n_fft if win_length is None else win_length
    if not 0 < win_length <= n_fft:
        raise ValueError(f"win_length is {win_length}; it must be in 1..n_fft ({n_fft})")
    left = (n_fft - win_length) // 2
    weights = np.pad(filters.window(window, win_length), (left, n_fft - win_length - left))
    return weights.astype(np.float32)


@functools.partial(jax.jit, static_argnames=("bands", "cut", "power"))
def _mel(waveform, weights, rows, *, cut, bands, power):
    # Jitted as a whole, since eager code would compile the loop over blocks at every call.
    def mel_of(frames):
        spectrum = jnp.fft.rfft((frames * as_row(weights, frames)).reshape(-1, cut.n_fft))
        parts = [
            jnp.matmul(_magnitude(spectrum[:, low:high], power), row, precision="highest")
            for (low, high), row in zip(bands, rows, strict=True)
        ]
        return jnp.concatenate(parts, axis=-1).reshape(*frames.shape[:-1], -1)

    return ops.map_frames(mel_of, waveform, cut)


def _power_by_matrix(frames: jax.Array) -> jax.Array:
    """Power spectrum `[..., n_fft]` -> `[..., K]` by real products, for exports without an FFT."""
    n_fft = frames.shape[-1]
    turns = np.outer(np.arange(n_fft), np.arange(1 + n_fft // 2)) % n_fft / n_fft
    waves = (wave(2 * np.pi * turns).astype(np.float32) for wave in (np.cos, np.sin))
    real, imag = (jnp.matmul(frames, wave, precision="highest") for wave in waves)
    return jnp.square(real) + jnp.square(imag)


def _bands(bank: np.ndarray) -> tuple[tuple[tuple[int, int], ...], list[np.ndarray]]:
    """Split a mel bank `[M, K]` into groups of filters, each with its range of nonzero bins.

    Mel filters are narrow: only a few percent of the bank is nonzero, and the products with
    `[high - low, BAND]` blocks cost a third of the product with the whole bank.
    """
    bands, rows = [], []
    for start in range(0, len(bank), BAND):
        group = bank[start : start + BAND]
        used = np.flatnonzero(group.any(axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
        bands.append((low, high))
        rows.append(group[:, low:high].T)
    return tuple(bands), rows


def _magnitude(spectrum: jax.Array, power: float) -> jax.Array:
    return _root(jnp.square(spectrum.real) + jnp.square(spectrum.imag), power)


def _root(squared: jax.Array, power: float) -> jax.Array:
    return squared if power == 2 else safe_power(squared, power / 2)
