"""Windows and filter banks as NumPy constants: built in float64, returned as float32 banks.

Only the chroma filters of an estimated tuning are traced. The banks follow librosa's definitions;
the tests compare them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from numpy.typing import ArrayLike

WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "boxcar": (1.0, 0.0)}


def window(name: str | ArrayLike, length: int) -> np.ndarray:
    """Return a periodic analysis window, float64 `[length]` (`librosa.filters.get_window`).

    Args:
      name: `hann`, `hamming`, `boxcar`, or an array `[length]`, which is returned unchanged.

    Raises:
      ValueError: `name` is unknown, `length` is not positive, or the array has another length.
    """
    if length < 1:
        raise ValueError(f"length is {length}; it must be a positive number of samples")
    if not isinstance(name, str):
        values = np.asarray(name, np.float64)
        if values.shape != (length,):
            raise ValueError(f"window has shape {values.shape}; it must be ({length},)")
        return values
    if name not in WINDOWS:
        raise ValueError(f"window is {name!r}; it must be an array or one of {', '.join(WINDOWS)}")
    if length == 1:
        return np.ones(1)
    offset, depth = WINDOWS[name]
    return offset - depth * np.cos(2 * np.pi * np.arange(length) / length)


def fft_frequencies(*, sample_rate: float, n_fft: int) -> np.ndarray:
    """Return the centre of each FFT bin in Hz, float64 `[1 + n_fft // 2]`."""
    return np.arange(1 + n_fft // 2) * (sample_rate / n_fft)


def hz_to_mel(frequencies: ArrayLike, *, htk: bool = False) -> np.ndarray:
    """Convert Hz to mel: Slaney's scale (linear below 1 kHz, then logarithmic) or HTK's formula."""
    frequencies = np.asarray(frequencies, np.float64)
    if htk:
        return 2595.0 * np.log10(1.0 + frequencies / 700.0)
    linear = frequencies * 3 / 200
    return np.where(
        frequencies < 1000, linear, 15 + np.log(np.maximum(frequencies, 1e-9) / 1000) / _LOG_STEP
    )


def mel_to_hz(mels: ArrayLike, *, htk: bool = False) -> np.ndarray:
    """Convert mel to Hz; the inverse of `hz_to_mel`."""
    mels = np.asarray(mels, np.float64)
    if htk:
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(_LOG_STEP * (mels - 15)))


_LOG_STEP = np.log(6.4) / 27


@functools.cache
def mel_filter_bank(
    *,
    sample_rate: float,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
) -> np.ndarray:
    """Return triangular mel filters, float32 `[M, 1 + n_fft // 2]` (`librosa.filters.mel`).

    Args:
      sample_rate: Hz. n_fft: samples of a frame. n_mels: filters.
      fmin, fmax: edges of the lowest and highest filter in Hz; `fmax` None is half the rate.
      htk: HTK's mel formula instead of Slaney's.
      norm: `slaney` gives every filter the same area in Hz, None the same height.

    Raises:
      ValueError: an argument is out of its range.
    """
    fmax = sample_rate / 2 if fmax is None else fmax
    require_positive(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels)
    if not 0 <= fmin < fmax:
        raise ValueError(f"fmin is {fmin}; it must be 0 or more and below fmax ({fmax})")
    if fmax > sample_rate / 2:
        raise ValueError(f"fmax is {fmax}; it must not exceed sample_rate/2 ({sample_rate / 2:g})")
    if norm not in ("slaney", None):
        raise ValueError(f"norm is {norm!r}; it must be 'slaney' or None")
    low, high = hz_to_mel([fmin, fmax], htk=htk)
    edges = mel_to_hz(np.linspace(low, high, n_mels + 2), htk=htk)
    distance = edges[:, None] - fft_frequencies(sample_rate=sample_rate, n_fft=n_fft)
    width = np.diff(edges)[:, None]
    bank = np.maximum(0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]))
    if norm == "slaney":
        bank *= 2 / (edges[2:] - edges[:-2])[:, None]
    return _constant(bank)


@functools.cache
def dct_basis(
    *, n_mels: int, n_mfcc: int, dct_type: int = 2, norm: str | None = "ortho"
) -> np.ndarray:
    """Return the first `n_mfcc` rows of a discrete cosine transform, float32 `[n_mfcc, n_mels]`.

    As `scipy.fft.dct(..., type=dct_type, norm=norm)` along an axis of `n_mels` values.

    Raises:
      ValueError: `dct_type` is not 2 or 3, `norm` not `ortho` or None, or `n_mfcc` is not in
        `1..n_mels`.
    """
    require_positive(n_mfcc=n_mfcc)
    if n_mfcc > n_mels:
        raise ValueError(f"n_mfcc is {n_mfcc}; it must not exceed n_mels ({n_mels})")
    if norm not in ("ortho", None):
        raise ValueError(f"norm is {norm!r}; it must be 'ortho' or None")
    if dct_type not in (2, 3):
        raise ValueError(f"dct_type is {dct_type}; it must be 2 or 3")
    transform = np.asarray(scipy.fft.dct(np.eye(n_mels), dct_type, axis=0, norm=norm))
    return _constant(transform[:n_mfcc])


def chroma_filter_bank(
    *,
    sample_rate: float,
    n_fft: int,
    n_chroma: int = 12,
    tuning: float | jax.Array = 0.0,
    ctroct: float = 5.0,
    octwidth: float | None = 2.0,
    base_c: bool = True,
) -> np.ndarray | jax.Array:
    """Return pitch class filters, float32 `[..., n_chroma, K]` (`librosa.filters.chroma`).

    Args:
      n_fft: samples of a frame; K is `1 + n_fft // 2`.
      tuning: deviation from A440 in chroma bins: a number, or a JAX array `[...]`, for which the
        banks are computed by JAX.
      ctroct, octwidth: centre and width in octaves of the weight over octaves; `octwidth` None
        weighs all octaves alike.
      base_c: the first class is C, else A.

    Raises:
      ValueError: `sample_rate`, `n_fft`, `n_chroma` or `octwidth` is not positive.
    """
    require_positive(sample_rate=sample_rate, n_fft=n_fft, n_chroma=n_chroma)
    if octwidth is not None:
        require_positive(octwidth=octwidth)
    bins = n_chroma * np.log2(np.arange(1, n_fft) * (sample_rate / n_fft) / 27.5)
    # Bin 0 has no pitch: it is placed one and a half octaves below bin 1.
    bins = np.concatenate([[bins[0] - 1.5 * n_chroma], bins])
    widths = np.concatenate([np.maximum(np.diff(bins), 1), [1]])
    half = np.round(n_chroma / 2)
    distance = np.mod(bins - np.arange(n_chroma)[:, None] + half, n_chroma) - half
    kept = slice(1 + n_fft // 2)
    distance, bins, widths = distance[:, kept], bins[kept], widths[kept]
    if isinstance(tuning, jax.Array):
        xp, tuning = jnp, tuning[..., None, None]
        distance, bins, widths = (
            x.astype(np.float32).reshape((1,) * (tuning.ndim - 2) + np.atleast_2d(x).shape)
            for x in (distance, bins, widths)
        )
    else:
        xp = np
    distance = xp.mod(distance - tuning + half, n_chroma) - half
    bank = xp.exp(-0.5 * xp.square(2 * distance / widths))
    bank = bank / xp.sqrt(xp.sum(bank**2, axis=-2, keepdims=True))
    if octwidth is not None:
        bank = bank * xp.exp(-0.5 * (((bins - tuning) / n_chroma - ctroct) / octwidth) ** 2)
    if base_c:
        bank = xp.roll(bank, -3 * (n_chroma // 12), axis=-2)
    return bank.astype(np.float32)


def require_positive(**values: float) -> None:
    """Raise ValueError that names the first of `values` that is not greater than 0."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be greater than 0")


def _constant(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float32)
    values.flags.writeable = False
    return values
