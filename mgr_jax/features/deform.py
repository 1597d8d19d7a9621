"""Deformations: changes of a waveform that leave its genre as it is, by a strength with a unit.

    deform("lowpass", key, waveform, 4000.0, sample_rate=22050)  # [B, T] -> [B, T]

All are pure functions that keep shape and type. At strength 0 each returns its input. Every example
draws from `fold_in(key, row)`, as in `augment`, so that the draws do not depend on how the rows are
sharded. Evaluation applies given strengths (`robustness`), training random ones (`augmented`).

Music that gets longer is cut; music that gets shorter starts again, as short clips do
(`data.windows.repeat`). MP3 is no function of JAX: `data.lossy`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import scipy.fft
from jax.core import Tracer
from numpy.typing import ArrayLike

from mgr_jax.features import augment, filters
from mgr_jax.ops.frames import Framing, frames

# A waveform [T] and its strength -> a waveform [T]; `limit` is the largest strength, if traced.
_Apply = Callable[..., jax.Array]


class Deformation(NamedTuple):
    """One kind of deformation.

    Attributes:
      unit: of its strengths.
      strengths: those that are evaluated, in the order of the picture.
      low, high: range of its strengths.
      meaning: what the strength says, for reports.
    """

    unit: str
    strengths: tuple[float, ...]
    low: float
    high: float
    meaning: str


# In the order in which training applies them: what is played, the room, the recording.
DEFORMATIONS = {
    "crop": Deformation("%", (50, 75, 90), 0, 99, "cut away; the rest is repeated"),
    "shift": Deformation("s", (0.1, 1, 5), -3600, 3600, "later, around the end of the clip"),
    "tempo": Deformation("%", (-20, -10, 10, 20), -50, 100, "faster, at the same pitch"),
    "pitch": Deformation("semitones", (-3, -1, 1, 3), -12, 12, "higher, at the same tempo"),
    "eq": Deformation("dB", (3, 6, 12), 0, 40, "at most, up or down in each octave"),
    "reverb": Deformation("s", (0.3, 1, 3), 0, 20, "RT60 of the room"),
    "noise": Deformation("%", (1, 3, 10, 30), 0, 1000, "white, of the music's RMS"),
    "lowpass": Deformation("Hz", (8000, 4000, 2000, 1000), 0, 1e6, "highest frequency left"),
    "gain": Deformation("dB", (-20, -10, 10, 20), -120, 60, "louder, clipped at full scale"),
    "mp3": Deformation("kbit/s", (64, 32, 16), 0, 320, "one channel, constant rate"),
}
# `noise` of 10 % has a signal-to-noise ratio of 20 dB.
IN_JAX = tuple(name for name in DEFORMATIONS if name != "mp3")
# Half a window of the interpolation, in samples.
_TAPS = 24
# Order of the low-pass, forward and backward.
_ORDER = 4


def deform(
    name: str,
    key: jax.Array,
    x: ArrayLike,
    strength: ArrayLike,
    *,
    sample_rate: float,
    limit: float | None = None,
    rows: augment.Rows = None,
) -> jax.Array:
    """Return waveforms `[B, T]`, deformed.

    Args:
      name: one of `IN_JAX`.
      key: of the random draws of `crop`, `eq`, `reverb` and `noise`.
      x: waveforms `[B, T]`, full scale at +-1.
      strength: a number, or one for each `[B]`, in the unit of `DEFORMATIONS[name]`; 0 is none.
      sample_rate: in Hz.
      limit: largest |strength| of `pitch`, needed where `strength` is traced.
      rows: positions in the global batch `[B]`; None counts them from 0.

    Raises:
      ValueError: if an argument is of a wrong shape or out of range.
    """
    x = augment.checked_batch(x)
    if name not in IN_JAX:
        raise ValueError(f"name is {name!r}; it must be one of {', '.join(IN_JAX)}")
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}; it must be [B, T]")
    filters.require_positive(sample_rate=sample_rate)
    if not isinstance(strength, Tracer):
        values = jnp.atleast_1d(jnp.asarray(strength, jnp.float32))
        check(name, float(values.min()), sample_rate)
        check(name, float(values.max()), sample_rate)
        limit = float(jnp.abs(values).max()) if limit is None else limit
    if limit is None:
        raise ValueError("limit is missing; it bounds a traced strength")
    strengths = jnp.broadcast_to(jnp.asarray(strength, jnp.float32), x.shape[:1])
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    options: dict[str, Any] = {"limit": limit} if name == "pitch" else {}

    def one(key: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
        changed = _FUNCTIONS[name](key, x, strength, sample_rate, **options)
        return jnp.where(strength == 0, x, changed)

    return jax.vmap(one)(augment.row_keys(key, x, rows), wide, strengths).astype(x.dtype)


def check(name: str, strength: float, sample_rate: float) -> None:
    """Raise ValueError unless `strength` is in the range of the deformation."""
    kind = DEFORMATIONS[name]
    low, high = kind.low, kind.high
    if name == "lowpass":
        high = sample_rate / 2
    if not low <= strength <= high:
        raise ValueError(f"{name} is {strength:g} {kind.unit}; it must be {low:g} to {high:g}")


def augmented(
    key: jax.Array, x: ArrayLike, config: Any, *, sample_rate: float, rows: augment.Rows = None
) -> jax.Array:
    """Return waveforms `[B, T]` with random deformations, drawn for each example.

    Args:
      key: of all draws.
      x: waveforms `[B, T]`, full scale at +-1.
      config: the section `augment` of a config: limits of the strengths by the name of the
        deformation, 0 for none, and the `probability` of each. Strengths are uniform, those of
        `lowpass` on a log scale up to half of `sample_rate`; with either sign for `gain`, `pitch`,
        `tempo` and `shift`.
      sample_rate: in Hz.
      rows: positions in the global batch `[B]`; None counts them from 0.
    """
    x = augment.checked_batch(x)
    for number, name in enumerate(IN_JAX):
        limit = getattr(config, name)
        if not limit:
            continue
        # The deformation folds the rows into its key, so that the strengths need another one.
        own, key_strengths = jax.random.split(jax.random.fold_in(key, number))

        def draw(key: jax.Array, name: str = name, limit: float = limit) -> jax.Array:
            key_choice, key_strength = jax.random.split(key)
            chosen = jax.random.uniform(key_choice) < config.probability
            if name == "lowpass":
                ends = math.log(limit), math.log(sample_rate / 2)
                strength = jnp.exp(jax.random.uniform(key_strength, (), jnp.float32, *ends))
            else:
                low = -limit if DEFORMATIONS[name].low < 0 else 0.0
                strength = jax.random.uniform(key_strength, (), jnp.float32, low, limit)
            return jnp.where(chosen, strength, 0.0)

        strengths = jax.vmap(draw)(augment.row_keys(key_strengths, x, rows))
        x = deform(name, own, x, strengths, sample_rate=sample_rate, limit=limit, rows=rows)
    return x


def _gain(key: jax.Array, x: jax.Array, decibels: jax.Array, rate: float) -> jax.Array:
    # A file that exceeds full scale already is not clipped by a gain of nearly 0.
    full = jnp.maximum(1.0, jnp.abs(x).max())
    return jnp.clip(x * 10 ** (decibels / 20), -full, full)


def _eq(key: jax.Array, x: jax.Array, decibels: jax.Array, rate: float) -> jax.Array:
    """Filter by gains drawn for the octaves from 62.5 Hz, linear in between on a log scale."""
    count = max(1, 1 + int(math.log2(rate / 2 / 62.5)))
    gains = decibels * jax.random.uniform(key, (count,), jnp.float32, -1.0, 1.0)
    frequencies = jnp.maximum(jnp.fft.rfftfreq(x.size, 1 / rate), 1.0)
    curve = jnp.interp(jnp.log2(frequencies / 62.5), jnp.arange(count, dtype=jnp.float32), gains)
    return _filtered(x, 10 ** (curve / 20))


def _lowpass(key: jax.Array, x: jax.Array, hertz: jax.Array, rate: float) -> jax.Array:
    """Filter by a Butterworth of order 4, forward and backward: -6 dB at `hertz`."""
    angle = jnp.pi * jnp.fft.rfftfreq(x.size)
    cut = jnp.pi * jnp.clip(hertz / rate, 1e-6, 0.4999)
    return _filtered(x, 1 / (1 + (jnp.tan(angle) / jnp.tan(cut)) ** (2 * _ORDER)))


def _filtered(x: jax.Array, magnitude: jax.Array) -> jax.Array:
    """Return `x` [T] with the phase kept, circular over the example."""
    return jnp.fft.irfft(jnp.fft.rfft(x) * magnitude, n=x.size)


def _noise(key: jax.Array, x: jax.Array, percent: jax.Array, rate: float) -> jax.Array:
    white = jax.random.normal(key, x.shape)
    return x + white * (percent / 100 * _rms(x) / _rms(white))


def _reverb(key: jax.Array, x: jax.Array, seconds: jax.Array, rate: float) -> jax.Array:
    """Add as much energy by noise that decays by 60 dB in `seconds` (Moorer 1979), then level.

    James A. Moorer, "About this reverberation business", Computer Music Journal 3 (2).
    """
    time = jnp.arange(x.size) / rate
    tail = jax.random.normal(key, x.shape) * 10 ** (-3 * time / jnp.maximum(seconds, 1e-6))
    tail = (tail / jnp.sqrt(jnp.square(tail).sum())).at[0].set(1.0)
    size = scipy.fft.next_fast_len(2 * x.size, real=True)
    wet = jnp.fft.irfft(jnp.fft.rfft(x, size) * jnp.fft.rfft(tail, size), n=size)[: x.size]
    return wet * (_rms(x) / jnp.maximum(_rms(wet), 1e-12))


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def _tempo(key: jax.Array, x: jax.Array, percent: jax.Array, rate: float) -> jax.Array:
    return _stretched(x, 1 + percent / 100, x.size, rate)


def _pitch(
    key: jax.Array, x: jax.Array, semitones: jax.Array, rate: float, *, limit: float
) -> jax.Array:
    """Stretch time and resample, as `librosa.effects.pitch_shift` does."""
    ratio = 2 ** (semitones / 12)
    longest = math.ceil(x.size * 2 ** (limit / 12)) + 2 * _TAPS
    return _resampled(_stretched(x, 1 / ratio, longest, rate), ratio, x.size)


def _stretched(x: jax.Array, speed: jax.Array, length: int, rate: float) -> jax.Array:
    """Return `length` samples of `x` played at `speed` without a change of pitch.

    It is a phase vocoder (Flanagan and Golden 1966) as that of librosa, with frames of about 93 ms.
    """
    n_fft = 2 ** max(4, round(math.log2(0.093 * rate)))
    hop = n_fft // 4
    window = jnp.asarray(filters.window("hann", n_fft), jnp.float32)[None]
    framing = Framing(n_fft, hop, True, "constant")
    spectra = jnp.fft.rfft(frames(x, framing) * window)
    count = 2 + length // hop
    steps = jnp.arange(count)
    position = steps * speed
    below = jnp.floor(position).astype(jnp.int32)
    share = (position - below)[:, None]
    first, second = spectra[below % len(spectra)], spectra[(below + 1) % len(spectra)]
    magnitude = (1 - share) * jnp.abs(first) + share * jnp.abs(second)
    # The phase advances by what it does between the two frames. A bin k of frequency k * rate /
    # n_fft advances by k quarter turns, which are counted in integers, since float32 would lose
    # the phase after some seconds.
    bins = jnp.arange(spectra.shape[1])[None]
    advance = jnp.angle(second) - jnp.angle(first) - (bins % 4) * (jnp.pi / 2)
    deviation = advance - 2 * jnp.pi * jnp.round(advance / (2 * jnp.pi))
    turned = jnp.cumsum(deviation, axis=0) - deviation
    phase = jnp.angle(spectra[:1]) + (steps[:, None] * bins % 4) * (jnp.pi / 2) + turned
    pieces = jnp.fft.irfft(magnitude * jnp.exp(1j * phase), n=n_fft) * window
    total = _overlapped(pieces, hop)
    weight = _overlapped(jnp.broadcast_to(jnp.square(window), pieces.shape), hop)
    start = n_fft // 2
    return (total / jnp.maximum(weight, 1e-6))[start : start + length]


def _overlapped(pieces: jax.Array, hop: int) -> jax.Array:
    """Return the sum of frames [F, n_fft], each `hop` samples after the one before."""
    count, n_fft = pieces.shape
    parts = pieces.reshape(count, n_fft // hop, hop)
    rows = count + n_fft // hop - 1
    padded = [jnp.pad(parts[:, i], ((i, rows - count - i), (0, 0))) for i in range(parts.shape[1])]
    return sum(padded[1:], padded[0]).reshape(-1)


def _resampled(x: jax.Array, ratio: jax.Array, length: int) -> jax.Array:
    """Return `length` samples of `x` at the positions 0, ratio, 2 ratio, ...

    They are sums of sinc functions under a Hann window, below the lower of the two Nyquist
    frequencies.
    """
    # In two steps, since float32 has no room for the position and a fraction of a sample.
    block = 1024
    index = jnp.arange(length)
    whole = jnp.floor(block * ratio).astype(jnp.int32)
    rest = (index // block) * (block * ratio - whole) + (index % block) * ratio
    below = jnp.floor(rest).astype(jnp.int32)
    fraction = rest - below
    below = below + (index // block) * whole
    cut = jnp.minimum(1.0, 1 / ratio)

    def add(tap: jax.Array, total: jax.Array) -> jax.Array:
        offset = fraction - (tap - _TAPS + 1)
        weight = cut * jnp.sinc(cut * offset) * jnp.cos(jnp.pi / 2 * offset / _TAPS) ** 2
        source = below + tap - _TAPS + 1
        inside = (source >= 0) & (source < x.size)
        return total + jnp.where(inside, weight * x[jnp.clip(source, 0, x.size - 1)], 0.0)

    return jax.lax.fori_loop(0, 2 * _TAPS, add, jnp.zeros(length, x.dtype))


def _crop(key: jax.Array, x: jax.Array, percent: jax.Array, rate: float) -> jax.Array:
    kept = jnp.maximum(1, jnp.round(x.size * (1 - percent / 100))).astype(jnp.int32)
    start = jax.random.randint(key, (), 0, x.size - kept + 1)
    return x[start + jnp.arange(x.size) % kept]


def _shift(key: jax.Array, x: jax.Array, seconds: jax.Array, rate: float) -> jax.Array:
    return jnp.roll(x, jnp.round(seconds * rate).astype(jnp.int32))


_FUNCTIONS: dict[str, _Apply] = {
    "crop": _crop,
    "shift": _shift,
    "tempo": _tempo,
    "pitch": _pitch,
    "eq": _eq,
    "reverb": _reverb,
    "noise": _noise,
    "lowpass": _lowpass,
    "gain": _gain,
}
