"""The functions of the front end beside librosa's, with every option that both have."""

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import librosa
import numpy as np
from scipy.signal import windows

from mgr_jax.features import chroma, decibels, descriptors, filters, spectral

SAMPLE_RATE = 22050
RELATIVE, DECIBELS = "relative", "dB"

FRAMES = (
    {},
    {"hop_length": 256},
    {"hop_length": 441},
    {"n_fft": 1024, "hop_length": 1024},
    {"n_fft": 501, "hop_length": 200},
    {"center": False},
    {"pad_mode": "reflect"},
    {"win_length": 800},
    {"win_length": 801, "window": "hamming"},
    {"window": "boxcar"},
    {"win_length": 800, "window": windows.kaiser(800, 8.0)},
)
BANK = ({"n_mels": 40}, {"fmin": 50.0, "fmax": 8000.0}, {"htk": True}, {"norm": None})
MFCC = (
    {},
    {"n_mfcc": 14, "hop_length": 256},
    {"dct_type": 3},
    {"norm": None},
    {"lifter": 22.0},
    {"mel_norm": None},
    {"n_mels": 40, "fmax": 8000.0, "htk": True},
    {"n_fft": 256, "hop_length": 256, "n_mels": 40, "n_mfcc": 14},
)
DB = ({}, {"ref": 0.5}, {"ref": "max"}, {"amin": 1e-6}, {"top_db": 40.0}, {"top_db": None})
DELTA = (
    {},
    {"width": 5},
    {"order": 2},
    {"mode": "nearest"},
    {"mode": "mirror"},
    {"mode": "constant"},
    {"mode": "wrap", "order": 2},
)
# Of a magnitude spectrogram.
SHAPES = {
    "spectral_centroid": ({},),
    "spectral_bandwidth": ({}, {"p": 1.0}, {"p": 3.0}, {"norm": False}),
    "spectral_rolloff": ({}, {"roll_percent": 0.5}, {"roll_percent": 0.99}),
}
FLATNESS = ({}, {"amin": 1e-6}, {"power": 1.0})
TUNING = ({}, {"resolution": 0.05}, {"bins_per_octave": 24})
CHROMA = (
    {"tuning": 0.0},
    {"tuning": 0.2},
    {"tuning": 0.0, "norm": 1},
    {"tuning": 0.0, "norm": 2},
    {"tuning": 0.0, "norm": None},
    {"tuning": 0.0, "n_chroma": 24},
    {"tuning": 0.0, "ctroct": 4.0, "octwidth": 1.0},
    {"tuning": 0.0, "octwidth": None},
    {"tuning": 0.0, "base_c": False},
    {"tuning": None},
)
_WAVE_FRAMES = ({}, {"frame_length": 1024, "hop_length": 300}, {"center": False})
WAVE = {
    "rms": (*_WAVE_FRAMES, {"pad_mode": "reflect"}),
    "zero_crossing_rate": (*_WAVE_FRAMES, {"threshold": 0.01}),
}


class Case(NamedTuple):
    """One function with one set of options.

    `ours` maps a batch `[B, T]` to `[B, ...]`, `reference` a clip `[T]` to the same without B.
    """

    function: str
    librosa: str
    options: dict
    unit: str
    ours: Callable
    reference: Callable

    @property
    def name(self) -> str:
        shown = (
            f"{key}=array[{len(value)}]" if isinstance(value, np.ndarray) else f"{key}={value}"
            for key, value in self.options.items()
        )
        return f"{self.function}({', '.join(shown)})"


def cases() -> Iterator[Case]:
    """Yield every case."""
    yield from _cases("stft", "stft", FRAMES, spectral.stft)
    yield from _cases(
        "mel_spectrogram",
        "feature.melspectrogram",
        (*FRAMES, *BANK, {"power": 1.0}),
        spectral.mel_spectrogram,
        with_rate=True,
    )
    powers, name = ({}, {"power": 1.0}, {"power": 3.0}), "abs(stft) ** power"
    yield from _cases("spectrogram", name, powers, spectral.spectrogram, _magnitude)
    yield from _cases("mel_filter_bank", "filters.mel", BANK, _bank, _librosa_bank, with_rate=True)
    yield from _decibels()
    yield from _cases("mfcc", "feature.mfcc", MFCC, spectral.mfcc, with_rate=True)
    yield from _descriptors()


def _decibels() -> Iterator[Case]:
    for name, power in (("power_to_db", 2.0), ("amplitude_to_db", 1.0)):
        # Both sides read the same spectrogram, so that the decibels alone are compared.
        read = functools.partial(_magnitude, power=power)
        ours = _of(getattr(decibels, name), lambda batch, f=read: np.stack([f(y).T for y in batch]))
        yield from _cases(name, name, DB, ours, _of(getattr(librosa, name), read), DECIBELS)
    yield from _cases(
        "power_to_db(mel_spectrogram)",
        "power_to_db(melspectrogram)",
        DB[:-1],  # Without top_db this would compare rounding far below the loudest value.
        _of(decibels.power_to_db, lambda x: spectral.mel_spectrogram(x, sample_rate=SAMPLE_RATE)),
        _of(librosa.power_to_db, lambda y: librosa.feature.melspectrogram(y=y, sr=SAMPLE_RATE)),
        DECIBELS,
    )
    for name in ("db_to_power", "db_to_amplitude"):
        ours, theirs = (
            _of(getattr(module, name), lambda y: 40 * y) for module in (decibels, librosa)
        )
        yield from _cases(name, name, ({}, {"ref": 2.0}), ours, theirs)


def _descriptors() -> Iterator[Case]:
    magnitude = functools.partial(spectral.spectrogram, power=1.0)
    delta = _of(descriptors.delta, magnitude)
    reference = _of(librosa.feature.delta, functools.partial(_magnitude, power=1.0))
    yield from _cases("delta", "feature.delta", DELTA, delta, reference)
    for name, choices in SHAPES.items():
        ours = _of(getattr(descriptors, name), magnitude)
        yield from _cases(name, f"feature.{name}", choices, ours, with_rate=True)
    flatness = _of(descriptors.spectral_flatness, magnitude)
    yield from _cases("spectral_flatness", "feature.spectral_flatness", FLATNESS, flatness)
    stft = _of(chroma.chroma_stft, spectral.spectrogram)
    yield from _cases("chroma_stft", "feature.chroma_stft", CHROMA, stft, with_rate=True)
    tuning, name = _of(chroma.estimate_tuning, spectral.spectrogram), "estimate_tuning"
    yield from _cases(name, name, TUNING, tuning, _librosa_tuning, with_rate=True)
    for name, choices in WAVE.items():
        yield from _cases(name, f"feature.{name}", choices, getattr(descriptors, name))


def _cases(
    function: str,
    librosa_name: str,
    choices: Sequence[dict],
    ours: Callable,
    theirs: Callable | None = None,
    unit: str = RELATIVE,
    with_rate: bool = False,
) -> Iterator[Case]:
    """Yield a case for each of the `choices` of options.

    `theirs`, by default librosa's function of that name, is called as `theirs(y=clip, ...)` and
    gives [K, F], of which a single row becomes [F].
    """
    peer: Callable = theirs or operator.attrgetter(librosa_name)(librosa)

    def reference(y, options):
        values = np.asarray(peer(y=y, **options)).T
        return values[..., 0] if values.shape[-1:] == (1,) else values

    for options in choices:
        rate = {"sample_rate": SAMPLE_RATE} if with_rate else {}
        compute = functools.partial(ours, **rate, **options)
        translated = options | ({"sr": SAMPLE_RATE} if with_rate else {})
        if translated.get("ref") == "max":
            translated["ref"] = np.max
        yield Case(
            function,
            librosa_name,
            options,
            unit,
            # Decibels are those of a spectrogram by librosa, which cannot be traced.
            jax.jit(compute) if unit == RELATIVE else compute,
            functools.partial(reference, options=translated),
        )


def _of(function: Callable, prepare: Callable) -> Callable:
    """Return `function` of what `prepare` makes of a clip or a batch `y`, with its options."""
    return lambda y, **options: function(prepare(y), **options)


def _magnitude(y, power=2.0):
    return np.abs(librosa.stft(y)) ** power


def _bank(batch, **options):
    return np.stack([filters.mel_filter_bank(n_fft=2048, **options)] * len(batch))


def _librosa_bank(y, **options):
    del y
    return librosa.filters.mel(n_fft=2048, **options).T


def _librosa_tuning(y, **options):
    return librosa.estimate_tuning(S=_magnitude(y), **options)
