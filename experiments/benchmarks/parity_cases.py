"""The functions of the front end beside librosa's, with every option that both have."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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
TUNING = ({}, {"resolution": 0.05}, {"bins_per_octave": 24})
WAVE = {
    "rms": (
        {},
        {"frame_length": 1024, "hop_length": 300},
        {"center": False},
        {"pad_mode": "reflect"},
    ),
    "zero_crossing_rate": (
        {},
        {"frame_length": 1024, "hop_length": 300},
        {"center": False},
        {"threshold": 0.01},
    ),
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
    for options in FRAMES:
        yield _case("stft", "stft", options, spectral.stft, librosa.stft)
        yield _case(
            "mel_spectrogram",
            "feature.melspectrogram",
            options,
            spectral.mel_spectrogram,
            librosa.feature.melspectrogram,
            sample_rate=SAMPLE_RATE,
        )
    for options in ({}, {"power": 1.0}, {"power": 3.0}):
        yield _case("spectrogram", "abs(stft) ** power", options, spectral.spectrogram, _magnitude)
    for options in BANK:
        yield _case(
            "mel_filter_bank",
            "filters.mel",
            options,
            lambda batch, **o: np.stack([filters.mel_filter_bank(**o)] * len(batch)),
            lambda y, **o: librosa.filters.mel(**o).T,
            sample_rate=SAMPLE_RATE,
            n_fft=2048,
        )
    for options in (*BANK, {"power": 1.0}):
        yield _case(
            "mel_spectrogram",
            "feature.melspectrogram",
            options,
            spectral.mel_spectrogram,
            librosa.feature.melspectrogram,
            sample_rate=SAMPLE_RATE,
        )
    for options in DB:
        yield from _decibels(options)
    for name in ("db_to_power", "db_to_amplitude"):
        for options in ({}, {"ref": 2.0}):
            yield _case(name, name, options, _of(decibels, name), _of(librosa, name))
    for options in MFCC:
        yield _case(
            "mfcc",
            "feature.mfcc",
            options,
            spectral.mfcc,
            librosa.feature.mfcc,
            sample_rate=SAMPLE_RATE,
        )
    for options in DELTA:
        yield _case("delta", "feature.delta", options, _delta, _librosa_delta)
    yield from _descriptors()


def _descriptors() -> Iterator[Case]:
    for name, choices in SHAPES.items():
        for options in choices:
            yield _case(
                name,
                f"feature.{name}",
                options,
                _after_spectrogram(getattr(descriptors, name), power=1.0),
                getattr(librosa.feature, name),
                sample_rate=SAMPLE_RATE,
            )
    for options in FLATNESS:
        yield _case(
            "spectral_flatness",
            "feature.spectral_flatness",
            options,
            _after_spectrogram(descriptors.spectral_flatness, power=1.0),
            librosa.feature.spectral_flatness,
        )
    for options in CHROMA:
        yield _case(
            "chroma_stft",
            "feature.chroma_stft",
            options,
            _after_spectrogram(chroma.chroma_stft, power=2.0),
            librosa.feature.chroma_stft,
            sample_rate=SAMPLE_RATE,
        )
    for options in TUNING:
        yield _case(
            "estimate_tuning",
            "estimate_tuning",
            options,
            _after_spectrogram(chroma.estimate_tuning, power=2.0),
            lambda y, **o: librosa.estimate_tuning(S=_magnitude(y), **o),
            sample_rate=SAMPLE_RATE,
        )
    for name, choices in WAVE.items():
        for options in choices:
            yield _case(
                name,
                f"feature.{name}",
                options,
                getattr(descriptors, name),
                getattr(librosa.feature, name),
            )


def _case(function, librosa_name, options, ours, theirs, **always) -> Case:
    """Return a case; `theirs(y=clip, ...)` gives [K, F], of which we give a single row as [F]."""
    translated = {
        "sr" if key == "sample_rate" else key: value for key, value in {**always, **options}.items()
    }

    def reference(y):
        values = np.asarray(theirs(y=y, **translated)).T
        return values[..., 0] if values.shape[-1:] == (1,) else values

    return Case(
        function,
        librosa_name,
        options,
        RELATIVE,
        jax.jit(functools.partial(ours, **always, **options)),
        reference,
    )


def _decibels(options) -> Iterator[Case]:
    theirs: dict[str, Any] = {
        key: np.max if value == "max" else value for key, value in options.items()
    }
    for name, power in (("power_to_db", 2.0), ("amplitude_to_db", 1.0)):
        ours, reference = getattr(decibels, name), getattr(librosa, name)
        # Both sides read the same spectrogram, so that the decibels alone are compared.
        yield Case(
            name,
            name,
            options,
            DECIBELS,
            lambda batch, f=ours, p=power: f(
                np.stack([_magnitude(y, power=p).T for y in batch]), **options
            ),
            lambda y, f=reference, p=power: f(_magnitude(y, power=p), **theirs).T,
        )
    # Without top_db this would compare rounding far below the loudest value.
    if options.get("top_db", 80) is not None:
        yield Case(
            "power_to_db(mel_spectrogram)",
            "power_to_db(melspectrogram)",
            options,
            DECIBELS,
            lambda batch: decibels.power_to_db(
                spectral.mel_spectrogram(batch, sample_rate=SAMPLE_RATE), **options
            ),
            lambda y: (
                librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=SAMPLE_RATE), **theirs).T
            ),
        )


def _magnitude(y, power=2.0):
    return np.abs(librosa.stft(y)) ** power


def _of(module, name):
    function = getattr(module, name)

    def call(y, **options):
        return function(40 * y, **options)

    return call


def _after_spectrogram(function, *, power):
    return lambda batch, **options: function(spectral.spectrogram(batch, power=power), **options)


def _delta(batch, **options):
    return descriptors.delta(spectral.spectrogram(batch, power=1.0), **options)


def _librosa_delta(y, **options):
    return librosa.feature.delta(_magnitude(y, power=1.0), **options)
