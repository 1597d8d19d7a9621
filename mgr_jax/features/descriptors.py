"""One-number-per-frame descriptors, chroma and deltas, as librosa computes them.

They take a spectrogram `[..., F, K]` (magnitude unless said otherwise, never negative) or a
waveform `[..., T]`, with any leading batch dimensions, and give `[..., F]` where librosa gives
`[..., 1, F]`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.features import filters, framing

NORMS = ("max", 1, 2, None)
DELTA_MODES = {"nearest": "edge", "mirror": "reflect", "constant": "constant", "wrap": "wrap"}


def spectral_centroid(spectrogram: ArrayLike, *, sample_rate: float) -> jax.Array:
    """Mean frequency in Hz, `[..., F, K] -> [..., F]`, 0 where a frame is silent.

    `librosa.feature.spectral_centroid`. K bins are taken to come from an FFT of 2 (K - 1).
    """
    spectrogram = _checked(spectrogram)
    shares = _normalized(spectrogram, 1)
    return shares @ _frequencies(spectrogram, sample_rate)


def spectral_bandwidth(
    spectrogram: ArrayLike,
    *,
    sample_rate: float,
    centroid: ArrayLike | None = None,
    p: float = 2.0,
    norm: bool = True,
) -> jax.Array:
    """Order-p deviation from the centroid in Hz, `[..., F, K] -> [..., F]`.

    `librosa.feature.spectral_bandwidth`.

    Args:
      centroid: `[..., F]` in Hz; None computes it.
      norm: whether a frame's bins are scaled to sum to one.

    Raises:
      ValueError: `p` is not positive.
    """
    spectrogram = _checked(spectrogram)
    filters.require_positive(p=p)
    if centroid is None:
        centroid = spectral_centroid(spectrogram, sample_rate=sample_rate)
    frequencies = _frequencies(spectrogram, sample_rate)
    frequencies = frequencies.reshape((1,) * (spectrogram.ndim - 1) + frequencies.shape)
    deviation = jnp.abs(frequencies - jnp.asarray(centroid)[..., None])
    weights = _normalized(spectrogram, 1) if norm else spectrogram
    return _power(jnp.sum(weights * deviation**p, axis=-1), 1 / p)


def spectral_rolloff(
    spectrogram: ArrayLike, *, sample_rate: float, roll_percent: float = 0.85
) -> jax.Array:
    """Frequency in Hz below which `roll_percent` of a frame lies, `[..., F, K] -> [..., F]`.

    `librosa.feature.spectral_rolloff`. A frame whose sum passes the threshold within rounding of
    a bin may come out one bin beside librosa's.

    Raises:
      ValueError: `roll_percent` is not between 0 and 1.
    """
    spectrogram = _checked(spectrogram)
    if not 0 < roll_percent < 1:
        raise ValueError(f"roll_percent is {roll_percent}; it must lie between 0 and 1")
    total = jnp.cumsum(spectrogram, axis=-1)
    reached = total >= roll_percent * total[..., -1:]
    return jnp.asarray(_frequencies(spectrogram, sample_rate))[jnp.argmax(reached, axis=-1)]


def spectral_flatness(
    spectrogram: ArrayLike, *, amin: float = 1e-10, power: float = 2.0
) -> jax.Array:
    """Geometric over arithmetic mean of a frame, `[..., F, K] -> [..., F]`, in (0, 1].

    `librosa.feature.spectral_flatness`.

    Args:
      amin: smaller values are raised to it. power: exponent applied to the magnitudes first.
    """
    spectrogram = _checked(spectrogram)
    filters.require_positive(amin=amin, power=power)
    values = jnp.maximum(_power(spectrogram, power), amin)
    return jnp.exp(jnp.mean(jnp.log(values), axis=-1)) / jnp.mean(values, axis=-1)


def zero_crossing_rate(
    waveform: ArrayLike,
    *,
    frame_length: int = 2048,
    hop_length: int = 512,
    center: bool = True,
    threshold: float = 1e-10,
) -> jax.Array:
    """Share of a frame's samples whose sign differs from the one before, `[..., T] -> [..., F]`.

    `librosa.feature.zero_crossing_rate`.

    Args:
      center: pads the ends by half a frame with the edge values.
      threshold: samples within it of 0 count as 0, which is positive.
    """
    filters.require_positive(frame_length=frame_length)
    waveform = framing.checked(waveform)
    framing.checked_framing(waveform, frame_length, hop_length, center, "constant")
    if not threshold >= 0:
        raise ValueError(f"threshold is {threshold}; it must be 0 or more")
    if center:
        waveform = jnp.pad(
            waveform, [(0, 0)] * (waveform.ndim - 1) + [(frame_length // 2,) * 2], mode="edge"
        )
    negative = waveform < -threshold
    crossings = negative[..., 1:] != negative[..., :-1]
    count = jnp.cumsum(crossings, axis=-1, dtype=jnp.int32)
    count = jnp.concatenate([jnp.zeros_like(count[..., :1]), count], axis=-1)
    starts = np.arange(1 + (waveform.shape[-1] - frame_length) // hop_length) * hop_length
    within = count[..., starts + frame_length - 1] - count[..., starts]
    return within.astype(jnp.float32) / frame_length


def rms(
    waveform: ArrayLike,
    *,
    frame_length: int = 2048,
    hop_length: int = 512,
    center: bool = True,
    pad_mode: str = "constant",
) -> jax.Array:
    """Root mean square of a frame, `[..., T] -> [..., F]` (`librosa.feature.rms`)."""
    filters.require_positive(frame_length=frame_length)
    waveform = framing.checked(waveform)
    cut = framing.checked_framing(waveform, frame_length, hop_length, center, pad_mode)
    return _power(jnp.mean(jnp.square(framing.frames(waveform, cut)), axis=-1), 0.5)


def delta(
    features: ArrayLike, *, width: int = 9, order: int = 1, mode: str = "interp"
) -> jax.Array:
    """Local slope along time, `[..., F, K] -> [..., F, K]` (`librosa.feature.delta`).

    A polynomial of degree `order` is fitted to every `width` frames (Savitzky-Golay); its
    `order`-th derivative is the result, so that `order=2` is the delta-delta.

    Args:
      mode: what stands beyond the ends: `interp` repeats the first and last fit; `nearest`,
        `mirror`, `constant` (zeros) and `wrap` extend the features.

    Raises:
      ValueError: `width` is not odd, 3 or more, above `order`, at most F with `interp`; `order`
        is not positive; `mode` is unknown.
    """
    features = _checked(features, "features")
    if width < 3 or width % 2 == 0:
        raise ValueError(f"width is {width}; it must be an odd number of frames, 3 or more")
    if not 0 < order < width:
        raise ValueError(f"order is {order}; it must be in 1..width-1 ({width - 1})")
    if mode != "interp" and mode not in DELTA_MODES:
        raise ValueError(f"mode is {mode!r}; it must be interp or one of {list(DELTA_MODES)}")
    if mode == "interp" and features.shape[-2] < width:
        raise ValueError(f"width is {width}; it must not exceed the {features.shape[-2]} frames")
    half = width // 2
    positions = np.arange(-half, half + 1.0)
    fit = np.linalg.pinv(np.vander(positions, order + 1, increasing=True))
    weights = (math.factorial(order) * fit[order]).astype(np.float32)
    ends = [(0, 0)] * (features.ndim - 2) + [(half, half), (0, 0)]
    if mode != "interp":
        features = jnp.pad(features, ends, mode=DELTA_MODES[mode])
    count = features.shape[-2] - width + 1
    slope = sum(weights[i] * features[..., i : i + count, :] for i in range(width))
    return jnp.pad(slope, ends, mode="edge") if mode == "interp" else slope


def chroma_stft(
    spectrogram: ArrayLike,
    *,
    sample_rate: float,
    n_chroma: int = 12,
    tuning: float | None = None,
    norm: str | float | None = "max",
    ctroct: float = 5.0,
    octwidth: float | None = 2.0,
    base_c: bool = True,
) -> jax.Array:
    """Energy in each pitch class, `[..., F, K] -> [..., F, n_chroma]`.

    `librosa.feature.chroma_stft(S=...)`.

    Args:
      spectrogram: power spectrogram.
      tuning: deviation from A440 in chroma bins; None estimates it for every clip.
      norm: a frame is divided by its `max`, its sum (1), its Euclidean norm (2), or not (None).
      ctroct, octwidth, base_c: as in `filters.chroma_filter_bank`.

    Raises:
      ValueError: an argument is out of its range.
    """
    spectrogram = _checked(spectrogram)
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}; it must be one of {NORMS}")
    options = {
        "sample_rate": sample_rate,
        "n_fft": 2 * (spectrogram.shape[-1] - 1),
        "n_chroma": n_chroma,
        "ctroct": ctroct,
        "octwidth": octwidth,
        "base_c": base_c,
    }
    if tuning is None:
        estimated = estimate_tuning(spectrogram, sample_rate=sample_rate, bins_per_octave=n_chroma)
        bank = filters.chroma_filter_bank(tuning=estimated, **options)
    else:
        bank = jnp.asarray(filters.chroma_filter_bank(tuning=tuning, **options))
    raw = jnp.einsum("...fk,...ck->...fc", spectrogram, bank, precision="highest")
    return raw if norm is None else _normalized(raw, norm)


def estimate_tuning(
    spectrogram: ArrayLike,
    *,
    sample_rate: float,
    resolution: float = 0.01,
    bins_per_octave: int = 12,
) -> jax.Array:
    """Deviation from A440 in bins, `[..., F, K] -> [...]`, in [-0.5, 0.5).

    `librosa.estimate_tuning(S=...)`: interpolated spectral peaks between 150 and 4000 Hz vote,
    those above the median peak, in steps of `resolution`; 0 where there are none. The winning
    step is a discontinuous function of the spectrogram.

    Raises:
      ValueError: `resolution` is not between 0 and 1.
    """
    spectrogram = _checked(spectrogram)
    filters.require_positive(sample_rate=sample_rate, bins_per_octave=bins_per_octave)
    if not 0 < resolution < 1:
        raise ValueError(f"resolution is {resolution}; it must lie between 0 and 1")
    return _winning_step(
        spectrogram,
        sample_rate=sample_rate,
        resolution=resolution,
        bins_per_octave=bins_per_octave,
    )


@functools.partial(jax.jit, static_argnames=("bins_per_octave", "resolution", "sample_rate"))
def _winning_step(spectrogram, *, sample_rate, resolution, bins_per_octave):
    steps = jnp.linspace(-0.5, 0.5, math.ceil(1 / resolution) + 1)
    frequencies = _frequencies(spectrogram, sample_rate)
    band = np.flatnonzero((frequencies >= 150) & (frequencies < min(4000, sample_rate / 2)))
    band = band[(band > 0) & (band < len(frequencies) - 1)]
    if band.size == 0:
        return jnp.zeros(spectrogram.shape[:-2])
    low, high = int(band[0]), int(band[-1]) + 1

    def one(clip):
        loud = jnp.where(clip > 0.1 * jnp.max(clip, axis=-1, keepdims=True), clip, 0)
        peak = (loud[:, low:high] > loud[:, low - 1 : high - 1]) & (
            loud[:, low:high] >= loud[:, low + 1 : high + 1]
        )
        below, here, above = (clip[:, low + i : high + i] for i in (-1, 0, 1))
        slope, bend = (above - below) / 2, above + below - 2 * here
        flat = jnp.abs(slope) >= jnp.abs(bend)
        shift = jnp.where(flat, 0.0, -slope / jnp.where(flat, 1.0, bend))
        pitch = (jnp.asarray(band, jnp.float32)[None] + shift) * frequencies[1]
        height = here + 0.5 * slope * shift
        voting = peak & (height >= jnp.nanmedian(jnp.where(peak, height, jnp.nan)))
        place = jnp.mod(bins_per_octave * jnp.log2(jnp.where(peak, pitch, 440.0) / 27.5), 1.0)
        place = jnp.where(place >= 0.5, place - 1, place)
        votes, _ = jnp.histogram(place.ravel(), steps, weights=voting.ravel().astype(jnp.float32))
        return jnp.where(jnp.any(voting), steps[jnp.argmax(votes)], 0.0)

    return jnp.vectorize(one, signature="(f,k)->()")(spectrogram)


def _checked(values: ArrayLike, name: str = "spectrogram") -> jax.Array:
    values = jnp.asarray(values)
    if values.ndim < 2:
        raise ValueError(f"{name} has shape {values.shape}; it must be [..., F, K]")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"{name} is {values.dtype}; it must be real and floating point")
    return values.astype(jnp.float32)


def _frequencies(spectrogram: jax.Array, sample_rate: float) -> np.ndarray:
    filters.require_positive(sample_rate=sample_rate)
    n_fft = 2 * (spectrogram.shape[-1] - 1)
    return filters.fft_frequencies(sample_rate=sample_rate, n_fft=n_fft).astype(np.float32)


def _normalized(values: jax.Array, norm: str | float) -> jax.Array:
    if norm == "max":
        size = jnp.max(jnp.abs(values), axis=-1, keepdims=True)
    elif norm == 1:
        size = jnp.sum(jnp.abs(values), axis=-1, keepdims=True)
    else:
        size = _power(jnp.sum(jnp.square(values), axis=-1, keepdims=True), 0.5)
    return values / jnp.where(size < np.finfo(np.float32).tiny, 1.0, size)


def _power(values: jax.Array, exponent: float) -> jax.Array:
    # A root has an infinite slope at 0: silence would turn gradients into NaN.
    silent = values == 0
    return jnp.where(silent, 0.0, jnp.where(silent, 1.0, values) ** exponent)
